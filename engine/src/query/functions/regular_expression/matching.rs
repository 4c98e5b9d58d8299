//! Matches at a place.

use super::{
    Groups,
    parse::{Assertion, Node, Repeat},
    set::{Class, Set},
};
use crate::{error::SqlError, query::functions::given_up, types::json::on_stack};

/// Places in a text, in order, without doubles.
type Places = Vec<usize>;

/// The match that starts at a place, if there is one.
pub(super) fn at(
    root: &Node,
    groups: usize,
    text: &str,
    start: usize,
) -> Result<Option<Groups>, SqlError> {
    let mut matcher =
        Matcher { text, groups: vec![None; groups + 1], refers_back: root.refers_back() };
    let mut ends = matcher.ends(root, &[start])?;
    if root.greedy().unwrap_or(true) {
        ends.reverse();
    }
    for end in ends {
        matcher.groups.fill(None);
        if matcher.take_apart(root, start, end)? {
            matcher.groups[0] = Some((start, end));
            return Ok(Some(matcher.groups));
        }
    }
    Ok(None)
}

struct Matcher<'t> {
    text: &'t str,
    groups: Groups,
    /// Whether a way to take a match apart may turn out to be none: only back references make it so.
    refers_back: bool,
}

fn sorted(mut places: Places) -> Places {
    places.sort_unstable();
    places.dedup();
    places
}

impl Matcher<'_> {
    fn after(&self, place: usize) -> Option<char> {
        self.text[place..].chars().next()
    }

    fn before(&self, place: usize) -> Option<char> {
        self.text[..place].chars().next_back()
    }

    /// Where a part can end that starts at one of the places. A back reference is taken to match
    /// anything: what is there is looked at when the match is taken apart.
    fn ends(&self, node: &Node, starts: &[usize]) -> Result<Places, SqlError> {
        self.reach(node, starts, true)
    }

    /// Where a part can start that ends at one of the places.
    fn starts(&self, node: &Node, ends: &[usize]) -> Result<Places, SqlError> {
        self.reach(node, ends, false)
    }

    fn reach(&self, node: &Node, from: &[usize], forward: bool) -> Result<Places, SqlError> {
        if from.is_empty() {
            return Ok(Places::new());
        }
        Ok(match node {
            Node::Empty => from.to_vec(),
            Node::Set(set) => {
                from.iter().filter_map(|place| self.step(set, *place, forward)).collect()
            }
            Node::Sequence(parts) => {
                let mut places = from.to_vec();
                for n in 0..parts.len() {
                    let part = if forward { &parts[n] } else { &parts[parts.len() - 1 - n] };
                    places = self.reach(part, &places, forward)?;
                }
                places
            }
            Node::Either(branches) => {
                let mut places = Places::new();
                for branch in branches {
                    places.extend(self.reach(branch, from, forward)?);
                }
                sorted(places)
            }
            Node::Group(_, inner) => self.reach(inner, from, forward)?,
            Node::Repeat(repeat) => self.repeated(repeat, 0, from, forward)?,
            Node::Back { .. } => {
                let (first, last) = match forward {
                    true => (from[0], self.text.len()),
                    false => (0, from[from.len() - 1]),
                };
                (first..=last).filter(|place| self.text.is_char_boundary(*place)).collect()
            }
            Node::Assertion(assertion) => {
                let mut places = Places::with_capacity(from.len());
                for place in from {
                    if self.holds(assertion, *place)? {
                        places.push(*place);
                    }
                }
                places
            }
        })
    }

    fn step(&self, set: &Set, place: usize, forward: bool) -> Option<usize> {
        if forward {
            self.after(place).filter(|c| set.has(*c)).map(|c| place + c.len_utf8())
        } else {
            self.before(place).filter(|c| set.has(*c)).map(|c| place - c.len_utf8())
        }
    }

    /// Places that the rest of the repetitions reach, when `done` of them are made.
    fn repeated(
        &self,
        repeat: &Repeat,
        done: u32,
        from: &[usize],
        forward: bool,
    ) -> Result<Places, SqlError> {
        if let (Node::Set(set), [place], 0) = (&repeat.of, from, done) {
            return self.run(set, repeat, *place, forward);
        }
        let mut places = from.to_vec();
        let mut count = done;
        while count < repeat.least {
            let next = self.reach(&repeat.of, &places, forward)?;
            count += 1;
            // What only stays where it is does so as often as wanted.
            if next == places {
                count = count.max(repeat.least);
            }
            places = next;
        }
        let mut all = places.clone();
        let mut seen: hashbrown::HashSet<usize> = places.iter().copied().collect();
        while !places.is_empty() && repeat.most.is_none_or(|most| count < most) {
            given_up::check()?;
            places = self.reach(&repeat.of, &places, forward)?;
            places.retain(|place| seen.insert(*place));
            all.extend(&places);
            count += 1;
        }
        Ok(sorted(all))
    }

    /// Places in a row of characters of a set.
    fn run(
        &self,
        set: &Set,
        repeat: &Repeat,
        from: usize,
        forward: bool,
    ) -> Result<Places, SqlError> {
        let (mut places, mut place, mut count) = (Places::new(), from, 0);
        loop {
            if count >= repeat.least {
                places.push(place);
            }
            if repeat.most == Some(count) {
                break;
            }
            let Some(next) = self.step(set, place, forward) else { break };
            (place, count) = (next, count + 1);
            if count % 1024 == 0 {
                given_up::check()?;
            }
        }
        if !forward {
            places.reverse();
        }
        Ok(places)
    }

    fn holds(&self, assertion: &Assertion, place: usize) -> Result<bool, SqlError> {
        let is_word = |c: Option<char>| c.is_some_and(|c| Class::Word.has(c));
        let (before, after) = (self.before(place), self.after(place));
        Ok(match assertion {
            Assertion::TextStart => before.is_none(),
            Assertion::TextEnd => after.is_none(),
            Assertion::LineStart => before.is_none_or(|c| c == '\n'),
            Assertion::LineEnd => after.is_none_or(|c| c == '\n'),
            Assertion::WordStart => !is_word(before) && is_word(after),
            Assertion::WordEnd => is_word(before) && !is_word(after),
            Assertion::WordEdge(wanted) => (is_word(before) != is_word(after)) == *wanted,
            Assertion::Look { ahead, wanted, at } => {
                let found = !self.reach(at, &[place], *ahead)?.is_empty();
                found == *wanted
            }
        })
    }

    /// Finds the groups of a part that starts and ends at given places. `false`: a back reference
    /// does not match.
    fn take_apart(&mut self, node: &Node, start: usize, end: usize) -> Result<bool, SqlError> {
        if !node.has_groups() {
            return Ok(true);
        }
        match node {
            Node::Empty | Node::Set(_) | Node::Assertion(_) => Ok(true),
            Node::Group(number, inner) => {
                let apart = self.take_apart(inner, start, end)?;
                if apart {
                    self.groups[*number] = Some((start, end));
                }
                Ok(apart)
            }
            Node::Back { group, ignore_case } => {
                Ok(self.refers(*group, *ignore_case, None, start, end))
            }
            Node::Sequence(parts) => self.sequence(parts, start, end),
            Node::Either(branches) => {
                for branch in branches {
                    if self.ends(branch, &[start])?.binary_search(&end).is_ok()
                        && self.take_apart(branch, start, end)?
                    {
                        return Ok(true);
                    }
                    self.forget(branch);
                }
                Ok(false)
            }
            Node::Repeat(repeat) => self.repetitions(repeat, start, end),
        }
    }

    fn sequence(&mut self, parts: &[Node], start: usize, end: usize) -> Result<bool, SqlError> {
        // Where the rest can start that begins with each part.
        let mut meets = vec![vec![end]];
        for part in parts[1..].iter().rev() {
            let next = self.starts(part, meets.last().expect("the end is there"))?;
            meets.push(next);
        }
        meets.reverse();
        self.sequence_from(parts, &meets, 0, start, end)
    }

    fn sequence_from(
        &mut self,
        parts: &[Node],
        meets: &[Places],
        first: usize,
        start: usize,
        end: usize,
    ) -> Result<bool, SqlError> {
        let (mut at, mut start) = (first, start);
        while at + 1 < parts.len() {
            given_up::check()?;
            let middles = self.choices(&parts[at], start, &meets[at])?;
            if !self.refers_back {
                let Some(middle) = middles.first() else { return Ok(false) };
                self.take_apart(&parts[at], start, *middle)?;
                (at, start) = (at + 1, *middle);
                continue;
            }
            for middle in middles {
                let found = on_stack(|| {
                    Ok::<_, SqlError>(
                        self.take_apart(&parts[at], start, middle)?
                            && self.sequence_from(parts, meets, at + 1, middle, end)?,
                    )
                })?;
                if found {
                    return Ok(true);
                }
                parts[at..].iter().for_each(|part| self.forget(part));
            }
            return Ok(false);
        }
        self.take_apart(&parts[at], start, end)
    }

    /// Where a part may end so that what follows can start there, the preferred place first.
    fn choices(&self, part: &Node, start: usize, meets: &Places) -> Result<Places, SqlError> {
        let mut places = self.ends(part, &[start])?;
        places.retain(|place| meets.binary_search(place).is_ok());
        if part.greedy().unwrap_or(true) {
            places.reverse();
        }
        Ok(places)
    }

    /// Rounds of a repetition: each as long or short as it prefers. An empty text is a round, too,
    /// if it can be, unless it need not be and the part prefers what is short.
    fn repetitions(&mut self, repeat: &Repeat, start: usize, end: usize) -> Result<bool, SqlError> {
        if let Node::Back { group, ignore_case } = repeat.of {
            return Ok(self.refers(group, ignore_case, Some(repeat), start, end));
        }
        let none_is_enough = repeat.least == 0 && start == end;
        if none_is_enough && repeat.of.greedy() == Some(false)
            || self.rounds(repeat, 0, start, end)?
        {
            return Ok(true);
        }
        self.forget(&repeat.of);
        Ok(none_is_enough)
    }

    /// The rest of the rounds, of which `done` are made; one more at least.
    fn rounds(
        &mut self,
        repeat: &Repeat,
        done: u32,
        start: usize,
        end: usize,
    ) -> Result<bool, SqlError> {
        let (mut done, mut start) = (done, start);
        // Where the rest can start, once any number of rounds may follow.
        let mut any_number: Option<Places> = None;
        while repeat.most.is_none_or(|most| done < most) {
            given_up::check()?;
            done += 1;
            let open = repeat.most.is_none() && repeat.least <= done;
            let meets = match any_number.take().filter(|_| open) {
                Some(meets) => meets,
                None => self.repeated(&left(repeat, done), 0, &[end], false)?,
            };
            let mut pieces = self.choices(&repeat.of, start, &meets)?;
            let lacking = repeat.least.max(1).saturating_sub(done) as usize;
            pieces.retain(|place| self.makes_a_round(start, *place, end, lacking));
            any_number = open.then_some(meets);
            self.forget(&repeat.of);
            if !self.refers_back {
                let Some(piece) = pieces.first() else { return Ok(false) };
                self.take_apart(&repeat.of, start, *piece)?;
                if *piece == end {
                    return Ok(true);
                }
                start = *piece;
                continue;
            }
            for piece in pieces {
                let found = on_stack(|| {
                    Ok::<_, SqlError>(
                        self.take_apart(&repeat.of, start, piece)?
                            && (piece == end || self.rounds(repeat, done, piece, end)?),
                    )
                })?;
                if found {
                    return Ok(true);
                }
                self.forget(&repeat.of);
            }
            return Ok(false);
        }
        Ok(false)
    }

    /// Whether a round may end at a place: at the end of all if none lacks any more, and where it
    /// begins only if what is left has no more characters than rounds lack.
    fn makes_a_round(&self, start: usize, place: usize, end: usize, lacking: usize) -> bool {
        if place == end {
            return lacking == 0;
        }
        place > start || lacking > 0 && self.text[place..end].chars().nth(lacking).is_none()
    }

    /// Whether a text is what a group matched, once or so many times.
    fn refers(
        &self,
        group: usize,
        ignore_case: bool,
        repeat: Option<&Repeat>,
        start: usize,
        end: usize,
    ) -> bool {
        let Some((from, to)) = self.groups[group] else { return false };
        let (wanted, found) = (&self.text[from..to], &self.text[start..end]);
        let (least, most) = repeat.map_or((1, Some(1)), |repeat| (repeat.least, repeat.most));
        if wanted.is_empty() || found.is_empty() {
            return found.is_empty() && (wanted.is_empty() || least == 0);
        }
        let folded = |text: &str| match ignore_case {
            true => text.to_lowercase(),
            false => text.to_owned(),
        };
        let (wanted, found) = (folded(wanted), folded(found));
        let times = found.len() / wanted.len();
        let enough = times >= least as usize && most.is_none_or(|most| times <= most as usize);
        enough && found == wanted.repeat(times)
    }

    /// Groups of a part that did not match after all.
    fn forget(&mut self, node: &Node) {
        match node {
            Node::Empty | Node::Set(_) | Node::Back { .. } | Node::Assertion(_) => {}
            Node::Sequence(parts) | Node::Either(parts) => {
                parts.iter().for_each(|part| self.forget(part));
            }
            Node::Group(number, inner) => {
                self.groups[*number] = None;
                self.forget(inner);
            }
            Node::Repeat(repeat) => self.forget(&repeat.of),
        }
    }
}

/// A repetition of which so many are made.
fn left(repeat: &Repeat, done: u32) -> Repeat {
    Repeat {
        of: repeat.of.clone(),
        least: repeat.least.saturating_sub(done),
        most: repeat.most.map(|most| most.saturating_sub(done)),
        ..*repeat
    }
}
