//! Sets of characters.

/// A class with a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    Alnum,
    Alpha,
    Ascii,
    Blank,
    Cntrl,
    Digit,
    Graph,
    Lower,
    Print,
    Punct,
    Space,
    Upper,
    Word,
    Xdigit,
}

impl Class {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "alnum" => Self::Alnum,
            "alpha" => Self::Alpha,
            "ascii" => Self::Ascii,
            "blank" => Self::Blank,
            "cntrl" => Self::Cntrl,
            "digit" => Self::Digit,
            "graph" => Self::Graph,
            "lower" => Self::Lower,
            "print" => Self::Print,
            "punct" => Self::Punct,
            "space" => Self::Space,
            "upper" => Self::Upper,
            "word" => Self::Word,
            "xdigit" => Self::Xdigit,
            _ => return None,
        })
    }

    pub(super) fn has(self, c: char) -> bool {
        match self {
            Self::Alnum => c.is_alphanumeric(),
            Self::Alpha => c.is_alphabetic(),
            Self::Ascii => c.is_ascii(),
            Self::Blank => matches!(c, ' ' | '\t'),
            Self::Cntrl => c.is_control(),
            Self::Digit => c.is_ascii_digit(),
            Self::Graph => !c.is_control() && !c.is_whitespace(),
            Self::Lower => c.is_lowercase(),
            Self::Print => !c.is_control(),
            Self::Punct => c.is_ascii_punctuation(),
            Self::Space => c.is_whitespace(),
            Self::Upper => c.is_uppercase(),
            Self::Word => c.is_alphanumeric() || c == '_',
            Self::Xdigit => c.is_ascii_hexdigit(),
        }
    }

    /// The class in the other engine's notation, inside of brackets.
    pub(super) fn translated(self) -> &'static str {
        match self {
            Self::Alnum => r"\p{Alphabetic}\p{N}",
            Self::Alpha => r"\p{Alphabetic}",
            Self::Ascii => r"\x00-\x7f",
            Self::Blank => r" \t",
            Self::Cntrl => r"\p{Cc}",
            Self::Digit => "0-9",
            Self::Graph => r"[^\p{Cc}\p{White_Space}]",
            Self::Lower => r"\p{Lowercase}",
            Self::Print => r"\P{Cc}",
            Self::Punct => r"!-/:-@\[-`\{-~",
            Self::Space => r"\p{White_Space}",
            Self::Upper => r"\p{Uppercase}",
            Self::Word => r"\p{Alphabetic}\p{N}_",
            Self::Xdigit => "0-9A-Fa-f",
        }
    }
}

/// What one character may be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Set {
    /// First and last characters.
    pub(super) ranges: Vec<(char, char)>,
    /// Classes, and whether it is what is not in them.
    pub(super) classes: Vec<(Class, bool)>,
    pub(super) negated: bool,
    /// Not a line's end, whatever else is said.
    pub(super) within_line: bool,
    pub(super) ignore_case: bool,
}

impl Set {
    pub(super) fn of(c: char, ignore_case: bool) -> Self {
        Self { ranges: vec![(c, c)], ignore_case, ..Self::default() }
    }

    pub(super) fn class(class: Class, negated: bool) -> Self {
        Self { classes: vec![(class, negated)], ..Self::default() }
    }

    /// Every character.
    pub(super) fn any(within_line: bool) -> Self {
        Self { negated: true, within_line, ..Self::default() }
    }

    fn lists(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c))
            || self.classes.iter().any(|(class, negated)| class.has(c) != *negated)
    }

    pub(super) fn has(&self, c: char) -> bool {
        if self.within_line && c == '\n' {
            return false;
        }
        let listed = self.lists(c)
            || self.ignore_case
                && (self.lists(one(c.to_lowercase(), c)) || self.lists(one(c.to_uppercase(), c)));
        listed != self.negated
    }

    /// The ASCII characters as bits, and whether there may be others.
    pub(super) fn outline(&self) -> (u128, bool) {
        let bits =
            (0..128_u8).filter(|b| self.has(char::from(*b))).fold(0, |bits, b| bits | 1 << b);
        let beyond = self.negated
            || self.ignore_case
            || !self.classes.is_empty()
            || self.ranges.iter().any(|(_, last)| !last.is_ascii());
        (bits, beyond)
    }

    /// The set in the other engine's notation.
    pub(super) fn translated(&self) -> String {
        if self.negated && self.ranges.is_empty() && self.classes.is_empty() {
            return if self.within_line { r"[^\n]" } else { r"[\s\S]" }.to_owned();
        }
        let mut inside = String::new();
        for (first, last) in &self.ranges {
            inside.push_str(&format!(
                "\\x{{{:x}}}-\\x{{{:x}}}",
                u32::from(*first),
                u32::from(*last)
            ));
        }
        for (class, negated) in &self.classes {
            match negated {
                true => inside.push_str(&format!("[^{}]", class.translated())),
                false => inside.push_str(class.translated()),
            }
        }
        let sign = if self.negated { "^" } else { "" };
        let case = if self.ignore_case { "i" } else { "-i" };
        match self.within_line {
            true => format!("(?{case}:[[{sign}{inside}]--\\n])"),
            false => format!("(?{case}:[{sign}{inside}])"),
        }
    }
}

/// The one character of a changed case; where there are several, the character itself.
fn one(mut changed: impl Iterator<Item = char>, c: char) -> char {
    match (changed.next(), changed.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}
