//! Key sets, one by one and against an exact model.

use std::collections::BTreeMap;

use super::*;
use crate::{commit::message::KeyGroup, sim::Rng};

fn set(table: TableId, keys: &[&str], mark: Mark, base: u64) -> KeySet {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    // Groups of two, so that several are looked through.
    let group = |keys: &[&str]| KeyGroup::of(keys.iter().map(|key| key.as_bytes()));
    let groups = keys.chunks(2).filter_map(group).collect();
    KeySet { table, index: IndexId::KEY, mark, base: at(base), groups }
}

fn brings(sets: impl IntoIterator<Item = KeySet>) -> CommitRequest {
    CommitRequest { key_sets: sets.into_iter().collect(), ..CommitRequest::default() }
}

fn added(keys: &[&str], base: u64) -> CommitRequest {
    brings([set(T, keys, Mark::Added, base)])
}

fn met(table: TableId, index: u64) -> Result<(), Verdict> {
    Err(Verdict::Met { table, at: at(index) })
}

/// A key between the fences of these that their filters turn away.
fn absent(set: &KeySet, first: &str) -> String {
    let keys = (0..).map(|n| format!("{first} {n}"));
    let mut absent = keys.filter(|key| !set.may_contain(key.as_bytes()));
    absent.next().expect("filters turn most keys away")
}

#[test]
fn a_set_meets_what_changed_since_its_base() {
    let mut resolver = resolver();
    record(&mut resolver, &changed("k", 0), at(1));
    record(&mut resolver, &changed("m", 1), at(2));
    record(&mut resolver, &request([write(U, "k", Mark::Added, 0)]), at(3));
    let keys = ["a", "k", "m", "z"];
    assert_eq!(resolver.verdict(&added(&keys, 0)), met(T, 2), "the newest");
    assert_eq!(resolver.verdict(&added(&keys, 1)), met(T, 2));
    assert_eq!(resolver.verdict(&added(&keys, 2)), Ok(()));
    assert_eq!(resolver.verdict(&added(&["a", "k"], 0)), met(T, 1));
    assert_eq!(resolver.verdict(&added(&["a", "b", "x", "z"], 0)), Ok(()), "no group has them");
    let other_index = KeySet { index: IndexId(1), ..set(T, &keys, Mark::Added, 0) };
    assert_eq!(resolver.verdict(&brings([other_index])), Ok(()));
    let two = brings([set(T, &["k"], Mark::Added, 1), set(U, &["k"], Mark::Changed, 2)]);
    assert_eq!(resolver.verdict(&two), met(U, 3), "each with its own base");
    record(&mut resolver, &changed("k", 3), at(4));
    assert_eq!(resolver.verdict(&added(&["a", "k"], 2)), met(T, 4), "the key's last change counts");
}

#[test]
fn whatever_else_is_in_the_way_is_said_first() {
    let mut resolver = resolver();
    record(&mut resolver, &changed("k", 0), at(1));
    record(&mut resolver, &changed("m", 0), at(2));
    let both = CommitRequest {
        key_sets: vec![set(T, &["m"], Mark::Added, 0)],
        ..request([write(T, "k", Mark::Changed, 0)])
    };
    assert_eq!(resolver.verdict(&both), conflict(T, 1));
    let key_sets = vec![set(T, &["m"], Mark::Added, 0)];
    let asserted = CommitRequest { key_sets, ..asserts(T, Scope::Table, 0) };
    assert_eq!(resolver.verdict(&asserted), conflict(T, 2));
    let future = brings([set(T, &["m"], Mark::Added, 3)]);
    assert_eq!(resolver.verdict(&future), Err(Verdict::ImpossibleBase(at(3))));
}

#[test]
fn a_remembered_set_turns_away_its_keys_and_few_others() {
    let mut resolver = resolver();
    let keys = ["b", "k", "m", "y"];
    record(&mut resolver, &added(&keys, 0), at(1));
    assert_eq!(resolver.keys(), 0);
    for key in keys {
        assert_eq!(resolver.verdict(&changed(key, 0)), conflict(T, 1), "{key}");
        assert_eq!(resolver.verdict(&changed(key, 1)), Ok(()));
    }
    assert_eq!(resolver.conflicting_key(&changed("k", 0)), Some(Bytes::from_static(b"k")));
    assert_eq!(resolver.verdict(&changed("a", 0)), Ok(()), "below");
    assert_eq!(resolver.verdict(&changed("l", 0)), Ok(()), "between two groups");
    let inside = absent(&set(T, &keys, Mark::Added, 0), "c");
    assert_eq!(resolver.verdict(&changed(&inside, 0)), Ok(()), "{inside}");
    assert_eq!(resolver.verdict(&request([write(U, "k", Mark::Changed, 0)])), Ok(()));
    // A key that was written again is known by itself.
    record(&mut resolver, &changed("k", 1), at(2));
    assert_eq!(resolver.verdict(&changed("k", 1)), conflict(T, 2));
}

#[test]
fn sets_that_overlap_meet() {
    let mut resolver = resolver();
    record(&mut resolver, &added(&["b", "f", "p", "t"], 0), at(1));
    assert_eq!(resolver.verdict(&added(&["c", "d"], 0)), met(T, 1), "filters do not compare");
    assert_eq!(resolver.verdict(&added(&["g", "h"], 0)), Ok(()), "between two groups");
    assert_eq!(resolver.verdict(&added(&["t", "z"], 0)), met(T, 1), "fences are keys");
    assert_eq!(resolver.verdict(&added(&["c", "d"], 1)), Ok(()));
    record(&mut resolver, &added(&["c", "d"], 1), at(2));
    assert_eq!(resolver.verdict(&added(&["a", "c"], 0)), met(T, 2), "the newest");
}

#[test]
fn assertions_see_sets() {
    let mut resolver = resolver();
    record(&mut resolver, &brings([set(T, &["p", "q"], Mark::Changed, 0)]), at(1));
    let (any, presence) = (key_scope("p", Watch::Any), key_scope("p", Watch::Presence));
    assert_eq!(resolver.verdict(&asserts(T, any.clone(), 0)), conflict(T, 1));
    assert_eq!(resolver.verdict(&asserts(T, any, 1)), Ok(()));
    assert_eq!(resolver.verdict(&asserts(T, presence.clone(), 0)), Ok(()));
    assert_eq!(resolver.verdict(&asserts(T, Scope::Table, 0)), conflict(T, 1));
    for (index, mark) in [(2, Mark::Removed), (3, Mark::Added)] {
        record(&mut resolver, &brings([set(T, &["p", "q"], mark, 1)]), at(index));
        assert_eq!(resolver.verdict(&asserts(T, presence.clone(), 1)), conflict(T, index));
    }
}

#[test]
fn more_changes_than_are_looked_at_have_met_the_set() {
    let mut resolver = Resolver::new(at(0), 64 << 20, 7);
    let count = u64::try_from(BULK_KEYS).expect("few") + 1;
    for index in 1..=count {
        record(&mut resolver, &changed(&format!("{index}"), 0), at(index));
    }
    assert_eq!(resolver.verdict(&added(&["a", "b"], 1)), Ok(()), "as many as are looked at");
    assert!(matches!(resolver.verdict(&added(&["a", "b"], 0)), Err(Verdict::Met { .. })));
    assert_eq!(resolver.verdict(&brings([set(U, &["1"], Mark::Added, 0)])), Ok(()));
}

#[test]
fn sets_are_forgotten_with_the_keys_of_their_time() {
    let bytes_max = 256 << 10;
    let mut resolver = Resolver::new(at(0), bytes_max, 7);
    let keys: Vec<String> = (0..1_000).map(|n| format!("set {n:05}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut one = set(U, &["x"], Mark::Added, 0);
    one.groups = KeyGroup::of(keys.iter().map(|key| key.as_bytes())).into_iter().collect();
    for index in 1..=20_000 {
        match index % 100 {
            0 => record(&mut resolver, &brings([one.clone()]), at(index)),
            _ => record(&mut resolver, &changed(&format!("{index}"), 0), at(index)),
        }
        assert!(resolver.bytes() <= bytes_max, "{}", resolver.bytes());
    }
    let floor = resolver.floor().index.0;
    assert!(floor > 10_000 && floor < 19_900, "{floor}");
    let oldest = resolver.sets.order.front().expect("some are left").0;
    assert!(oldest > resolver.floor, "what is older than the floor is forgotten");
    let in_set = |base| request([write(U, "set 00007", Mark::Changed, base)]);
    assert_eq!(resolver.verdict(&in_set(floor)), conflict(U, 20_000));
    assert_eq!(resolver.verdict(&request([write(U, "y", Mark::Changed, 1)])), Err(Verdict::TooOld));
    assert_eq!(resolver.verdict(&added(&["a", "b"], 1)), Err(Verdict::TooOld));
    let counted: usize = resolver.sets.counted();
    assert_eq!(resolver.sets.bytes(), counted, "the books do not drift");
}

#[test]
fn a_set_beyond_its_share_is_known_by_its_fences() {
    let mut resolver = Resolver::new(at(0), 64 << 10, 7);
    record(&mut resolver, &changed("other", 0), at(1));
    let keys: Vec<String> = (0..20_000).map(|n| format!("{n:05}")).collect();
    let groups = KeyGroup::of(keys.iter().map(|key| key.as_bytes())).into_iter().collect();
    let large = KeySet { groups, ..set(T, &["x"], Mark::Added, 1) };
    assert!(large.memory_bytes() > 16 << 10);
    record(&mut resolver, &brings([large]), at(2));
    assert_eq!(resolver.keys(), 1, "it drives nothing else out");
    let between = (0..100).map(|n| format!("00007 {n}"));
    for key in between {
        assert_eq!(resolver.verdict(&changed(&key, 1)), conflict(T, 2), "{key}");
    }
    assert_eq!(resolver.verdict(&changed("z", 1)), Ok(()));
}

/// What really happened.
#[derive(Default)]
struct Exact {
    /// When each key was written and how, oldest first.
    keys: BTreeMap<(TableId, String), Vec<(u64, Mark)>>,
}

impl Exact {
    fn changed_since(&self, table: TableId, key: &str, base: u64, watch: Watch) -> bool {
        let changes = self.keys.get(&(table, key.to_owned()));
        changes
            .into_iter()
            .flatten()
            .any(|(at, mark)| *at > base && (watch == Watch::Any || *mark != Mark::Changed))
    }

    fn table_changed_since(&self, table: TableId, base: u64) -> bool {
        let of_table = self.keys.iter().filter(|((of, _), _)| *of == table);
        of_table.flat_map(|(_, changes)| changes).any(|(at, _)| *at > base)
    }
}

struct Drawn {
    request: CommitRequest,
    /// Table, key, how, base.
    keys: Vec<(TableId, String, Mark, u64)>,
    conflicts: bool,
    has_sets: bool,
}

fn draw(rng: &mut Rng, exact: &Exact, newest: u64) -> Drawn {
    let marks = [Mark::Added, Mark::Removed, Mark::Changed];
    let mut drawn = Drawn {
        request: CommitRequest::default(),
        keys: Vec::new(),
        conflicts: false,
        has_sets: false,
    };
    let mut names = Vec::new();
    for _ in 0..1 + rng.index(2) {
        let table = [T, U][rng.index(2)];
        let (mark, base) = (marks[rng.index(3)], newest.saturating_sub(rng.below(40)));
        let is_set = rng.chance(1, 3);
        let count = 1 + rng.index(if is_set { 12 } else { 3 });
        let mut keys: Vec<String> = (0..count).map(|_| format!("{:03}", rng.below(400))).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in &keys {
            drawn.conflicts |= exact.changed_since(table, key, base, Watch::Any);
        }
        if is_set {
            let borrowed: Vec<&str> = keys.iter().map(String::as_str).collect();
            drawn.request.key_sets.push(set(table, &borrowed, mark, base));
            drawn.has_sets = true;
        } else {
            names.extend(keys.iter().map(|key| write(table, key, mark, base)));
        }
        drawn.keys.extend(keys.into_iter().map(|key| (table, key, mark, base)));
    }
    drawn.request.writes = names.into_iter().collect();
    if rng.chance(1, 4) {
        let (table, base) = ([T, U][rng.index(2)], newest.saturating_sub(rng.below(20)));
        let key = format!("{:03}", rng.below(400));
        let watch = [Watch::Any, Watch::Presence][rng.index(2)];
        let (scope, conflicts) = match rng.chance(1, 8) {
            true => (Scope::Table, exact.table_changed_since(table, base)),
            false => (key_scope(&key, watch), exact.changed_since(table, &key, base, watch)),
        };
        drawn.conflicts |= conflicts;
        drawn.request.assertions.push(Assertion { table, scope, base: at(base) });
    }
    drawn
}

#[test]
fn no_conflict_is_missed_whatever_is_named_and_forgotten() {
    let (mut committed, mut perhaps, mut too_old) = (0, 0, 0);
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let bytes_max = [2 << 10, 8 << 10, 1 << 20][rng.index(3)];
        let mut resolver = Resolver::new(at(0), bytes_max, seed);
        let mut exact = Exact::default();
        for newest in 0..400 {
            let drawn = draw(&mut rng, &exact, newest);
            let verdict = resolver.verdict(&drawn.request);
            match &verdict {
                Ok(()) => assert!(!drawn.conflicts, "seed {seed} at {newest}: {:?}", drawn.keys),
                Err(Verdict::TooOld) => too_old += 1,
                Err(Verdict::Met { .. }) => {
                    assert!(drawn.has_sets);
                    perhaps += u32::from(!drawn.conflicts);
                }
                Err(Verdict::Conflict { .. }) => perhaps += u32::from(!drawn.conflicts),
                Err(Verdict::ImpossibleBase(base)) => panic!("{base} was"),
            }
            // Some position passes, whoever wins.
            resolver.advance(at(newest + 1));
            if verdict.is_ok() {
                committed += 1;
                resolver.record(&drawn.request, at(newest + 1));
                for (table, key, mark, _) in drawn.keys {
                    exact.keys.entry((table, key)).or_default().push((newest + 1, mark));
                }
            }
            assert!(resolver.bytes() <= bytes_max);
        }
    }
    // It is neither all refused nor is nothing refused that need not be.
    assert!(committed > 1_000, "{committed}");
    assert!(perhaps > 10 && too_old > 10, "{perhaps}, {too_old}");
}
