//! What is said of an expression beside it: the letters of `regexp_match(text, pattern, 'ni')`.

use crate::error::{SqlError, sqlstate};

/// Which language a pattern is written in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Syntax {
    #[default]
    Advanced,
    Extended,
    Basic,
    /// The pattern is what is looked for.
    Literal,
}

/// How a pattern is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Options {
    pub syntax: Syntax,
    pub ignore_case: bool,
    /// White space and comments do not count.
    pub expanded: bool,
    /// `.` and `[^…]` do not match a line's end.
    pub within_lines: bool,
    /// `^` and `$` match at lines.
    pub line_anchors: bool,
}

impl Options {
    /// Takes a letter; `false` for one that means nothing.
    pub(super) fn take(&mut self, letter: char) -> bool {
        match letter {
            'b' => self.syntax = Syntax::Basic,
            'c' => self.ignore_case = false,
            'e' => self.syntax = Syntax::Extended,
            'i' => self.ignore_case = true,
            'm' | 'n' => (self.within_lines, self.line_anchors) = (true, true),
            'p' => (self.within_lines, self.line_anchors) = (true, false),
            'q' => self.syntax = Syntax::Literal,
            's' => (self.within_lines, self.line_anchors) = (false, false),
            't' => self.expanded = false,
            'w' => (self.within_lines, self.line_anchors) = (false, true),
            'x' => self.expanded = true,
            _ => return false,
        }
        true
    }

    /// The letters of a call, and whether `g` is one of them.
    ///
    /// # Errors
    /// 22023 for a letter that means nothing.
    pub fn from_letters(letters: &str) -> Result<(Self, bool), SqlError> {
        let (mut options, mut global) = (Self::default(), false);
        for letter in letters.chars() {
            if letter == 'g' {
                global = true;
            } else if letter == 'e' {
                // PostgreSQL clears the bit of `e` together with that of `a`: what is left is `b`.
                options.syntax = Syntax::Basic;
            } else if !options.take(letter) {
                let message = format!("invalid regular expression option: \"{letter}\"");
                return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        }
        Ok((options, global))
    }
}
