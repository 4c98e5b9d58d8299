//! Types, casts, operators and functions as PostgreSQL's catalog lists them, and how it chooses
//! among those of one name.
//!
//! `data/signatures/`: `operators.tsv` (name, left, right, result), `functions.tsv` (name, kind,
//! result, `s` for a set, variadic element, number of defaults, arguments, names, modes, all types)
//! and `casts.tsv` (source, target, context, method), all of PostgreSQL 15 whose types are known
//! here, whether the functions are or not.

use std::{collections::HashMap, sync::LazyLock};

use super::tree::Conversion;

pub(super) const BOOL: u32 = 16;
pub(super) const INT8: u32 = 20;
pub(super) const INT4: u32 = 23;
pub(super) const TEXT: u32 = 25;
pub(super) const UNKNOWN: u32 = 705;
pub(super) const NUMERIC: u32 = 1700;
pub(super) const RECORD: u32 = 2249;
pub(super) const INTERVAL: u32 = 1186;
pub(super) const ANY: u32 = 2276;
const ANY_ARRAY: u32 = 2277;
const ANY_ELEMENT: u32 = 2283;
const ANY_NON_ARRAY: u32 = 2776;
const ANY_ENUM: u32 = 3500;
const COMMON: u32 = 5077;
const COMMON_ARRAY: u32 = 5078;
const COMMON_NON_ARRAY: u32 = 5079;

/// A function, aggregate or window function.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    /// `f`, `a` or `w`.
    pub(super) kind: char,
    pub(super) result: u32,
    pub(super) returns_set: bool,
    /// The element type of a last argument that takes any number of values; 0 without one.
    variadic: u32,
    defaults: usize,
    pub(super) args: Vec<u32>,
    pub(super) names: Vec<&'static str>,
    /// Name and type of each output column, where there are several.
    pub(super) columns: Vec<(&'static str, u32)>,
}

#[derive(Debug)]
struct OperatorSignature {
    left: u32,
    right: u32,
    result: u32,
}

struct CastFacts {
    context: char,
    by: Conversion,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Signature>>> = LazyLock::new(|| {
    let mut all: HashMap<_, Vec<Signature>> = HashMap::new();
    for line in include_str!("../data/signatures/functions.tsv").lines() {
        if let Some(signature) = signature(line) {
            all.entry(signature.name).or_default().push(signature);
        }
    }
    all
});

fn signature(line: &'static str) -> Option<Signature> {
    let fields: Vec<&'static str> = line.split('\t').collect();
    let [name, kind, result, set, variadic, defaults, args, names, modes, all] = fields[..] else {
        return None;
    };
    let oids = |list: &'static str| -> Vec<u32> {
        list.split(' ').filter_map(|oid| oid.parse().ok()).collect()
    };
    let names: Vec<&'static str> = names.split(',').filter(|_| !names.is_empty()).collect();
    let modes: Vec<char> = modes.split(',').filter_map(|mode| mode.chars().next()).collect();
    let all = oids(all);
    let outputs = modes.iter().zip(&all).zip(&names).filter(|((mode, _), _)| **mode != 'i');
    let columns = outputs.filter(|((mode, _), _)| **mode != 'v');
    Some(Signature {
        name,
        kind: kind.chars().next()?,
        result: result.parse().ok()?,
        returns_set: set == "s",
        variadic: variadic.parse().ok()?,
        defaults: defaults.parse().ok()?,
        args: oids(args),
        columns: columns.map(|((_, ty), name)| (*name, *ty)).collect(),
        names,
    })
}

static OPERATORS: LazyLock<HashMap<&'static str, Vec<OperatorSignature>>> = LazyLock::new(|| {
    let mut all: HashMap<_, Vec<OperatorSignature>> = HashMap::new();
    for line in include_str!("../data/signatures/operators.tsv").lines() {
        let mut fields = line.split('\t');
        let name = fields.next().unwrap_or_default();
        let mut oid = || fields.next().and_then(|oid| oid.parse().ok()).unwrap_or_default();
        let (left, right, result) = (oid(), oid(), oid());
        all.entry(name).or_default().push(OperatorSignature { left, right, result });
    }
    all
});

static CASTS: LazyLock<HashMap<(u32, u32), CastFacts>> = LazyLock::new(|| {
    let cast = |line: &'static str| {
        let mut fields = line.split('\t');
        let places = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let context = fields.next()?.chars().next()?;
        let by = if fields.next()? == "f" { Conversion::Function } else { Conversion::Relabel };
        Some((places, CastFacts { context, by }))
    };
    include_str!("../data/signatures/casts.tsv").lines().filter_map(cast).collect()
});

pub(super) use crate::pg_catalog::tables::types::{
    builtin_array_oid as array_of, builtin_type_oid, type_category as category,
    type_is_preferred as is_preferred,
};

/// Of an array type: the type of its elements.
pub(super) fn element(oid: u32) -> Option<u32> {
    let (_, element) = crate::pg_catalog::tables::types::builtin_type(oid)?;
    match oid {
        22 => Some(21),
        30 => Some(26),
        _ => (element != 0).then_some(element),
    }
}

/// Whether values of the type may be cut or rounded to a modifier.
pub(super) fn has_length(oid: u32) -> bool {
    matches!(oid, 1042 | 1043 | 1083 | 1114 | 1184 | 1186 | 1266 | 1560 | 1562 | 1700)
}

fn is_polymorphic(oid: u32) -> bool {
    matches!(
        oid,
        ANY_ARRAY
            | ANY_ELEMENT
            | ANY_NON_ARRAY
            | ANY_ENUM
            | COMMON
            | COMMON_ARRAY
            | COMMON_NON_ARRAY
    )
}

/// How one type becomes another, where `context` allows it: `i`mplicitly, by `a`ssignment or
/// `e`xplicitly.
pub(super) fn conversion(from: u32, to: u32, context: char) -> Option<Conversion> {
    let strength = |context: char| match context {
        'i' => 0,
        'a' => 1,
        _ => 2,
    };
    if from == to {
        return Some(Conversion::Relabel);
    }
    if let Some(cast) = CASTS.get(&(from, to)) {
        return (strength(cast.context) <= strength(context)).then_some(cast.by);
    }
    // Vectors of the system tables are arrays only for those who read them.
    let is_vector = |oid: u32| matches!(oid, 22 | 30);
    if is_vector(to) {
        return None;
    }
    if let (Some(from), Some(to)) = (element(from), element(to)) {
        return conversion(from, to, context).map(|_| Conversion::Function);
    }
    if to == RECORD {
        return None;
    }
    // Through text: to text by assignment, from text explicitly.
    let text = |oid: u32| category(oid) == 'S';
    let through_text = (text(to) && context != 'i') || (text(from) && context == 'e');
    through_text.then_some(Conversion::Relabel)
}

fn coerces(from: u32, to: u32) -> bool {
    if from == to || to == ANY || from == UNKNOWN {
        return true;
    }
    if is_polymorphic(to) {
        return true;
    }
    if matches!((from, to), (_, RECORD)) {
        // Rows of tables.
        return category(from) == 'C' || category(from) == 'X';
    }
    conversion(from, to, 'i').is_some()
}

/// What the polymorphic arguments of a call are; `None`: they do not fit each other.
fn polymorphic(declared: &[u32], actual: &[u32]) -> Option<(Option<u32>, Option<u32>)> {
    let (mut exact, mut common): (Option<u32>, Vec<u32>) = (None, Vec::new());
    for (declared, actual) in declared.iter().zip(actual) {
        if *actual == UNKNOWN {
            continue;
        }
        let is_array = matches!(*declared, ANY_ARRAY | COMMON_ARRAY);
        if matches!(*declared, ANY_NON_ARRAY | COMMON_NON_ARRAY) && element(*actual).is_some() {
            return None;
        }
        if *declared == ANY_ENUM {
            return None;
        }
        let item = if is_array { element(*actual)? } else { *actual };
        match *declared {
            ANY_ARRAY | ANY_ELEMENT | ANY_NON_ARRAY => {
                if exact.is_some_and(|exact| exact != item) {
                    return None;
                }
                exact = Some(item);
            }
            COMMON | COMMON_ARRAY | COMMON_NON_ARRAY => common.push(item),
            _ => {}
        }
    }
    let common = if common.is_empty() { None } else { Some(common_type(&common)?) };
    Some((exact, common))
}

/// A declared type with the polymorphic ones decided.
fn decided(declared: u32, (exact, common): (Option<u32>, Option<u32>)) -> u32 {
    let text = |of: Option<u32>| of.unwrap_or(TEXT);
    match declared {
        ANY_ELEMENT | ANY_NON_ARRAY | ANY_ENUM => text(exact),
        ANY_ARRAY => array_of(text(exact)).unwrap_or(declared),
        COMMON | COMMON_NON_ARRAY => text(common),
        COMMON_ARRAY => array_of(text(common)).unwrap_or(declared),
        other => other,
    }
}

/// The type that CASE, UNION and kin give to several; `None`: they have none in common.
pub(super) fn common_type(types: &[u32]) -> Option<u32> {
    let mut known = types.iter().copied().filter(|ty| *ty != UNKNOWN);
    let Some(mut best) = known.next() else { return Some(TEXT) };
    for ty in known {
        if ty == best {
            continue;
        }
        if category(ty) != category(best) {
            return None;
        }
        let (to, from) = (coerces(best, ty), coerces(ty, best));
        if !is_preferred(best) && to && !from {
            best = ty;
        } else if !from {
            return None;
        }
    }
    Some(best)
}

/// A candidate for a call: what it takes, one type for each argument.
struct Candidate<T> {
    args: Vec<u32>,
    of: T,
}

/// The best of several candidates that all take the arguments.
fn best<T: Copy>(mut candidates: Vec<Candidate<T>>, actual: &[u32]) -> Option<Candidate<T>> {
    let keep = |candidates: &mut Vec<Candidate<T>>, score: &dyn Fn(&[u32]) -> usize| {
        let most = candidates.iter().map(|c| score(&c.args)).max().unwrap_or(0);
        candidates.retain(|c| score(&c.args) == most);
    };
    let known = |score: &dyn Fn(u32, u32) -> bool, args: &[u32]| {
        let pairs = args.iter().zip(actual);
        pairs.filter(|(d, a)| **a != UNKNOWN && score(**d, **a)).count()
    };
    keep(&mut candidates, &|args| known(&|d, a| d == a, args));
    if candidates.len() > 1 {
        keep(&mut candidates, &|args| {
            known(&|d, a| d == a || (category(d) == category(a) && is_preferred(d)), args)
        });
    }
    if candidates.len() == 1 {
        return candidates.pop();
    }
    for (at, _) in actual.iter().enumerate().filter(|(_, ty)| **ty == UNKNOWN) {
        let categories: Vec<char> = candidates.iter().map(|c| category(c.args[at])).collect();
        let wanted = match categories.contains(&'S') {
            true => 'S',
            false if categories.iter().all(|c| *c == categories[0]) => categories[0],
            false => continue,
        };
        let has_preferred =
            candidates.iter().any(|c| category(c.args[at]) == wanted && is_preferred(c.args[at]));
        let fits = |c: &Candidate<T>| {
            category(c.args[at]) == wanted && (!has_preferred || is_preferred(c.args[at]))
        };
        if candidates.iter().any(fits) {
            candidates.retain(fits);
        }
    }
    if candidates.len() == 1 {
        return candidates.pop();
    }
    // All known arguments of one type: the unknown ones are of it, too.
    let mut types = actual.iter().copied().filter(|ty| *ty != UNKNOWN);
    let first = types.next()?;
    if types.any(|ty| ty != first) {
        return None;
    }
    candidates.retain(|c| c.args.iter().all(|declared| coerces(first, *declared)));
    if candidates.len() == 1 { candidates.pop() } else { None }
}

/// An operator that was chosen: the types it takes and gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Chosen {
    pub(super) args: Vec<u32>,
    pub(super) result: u32,
}

/// The operator that a name means between two types.
pub(super) fn binary_operator(name: &str, left: u32, right: u32) -> Option<Chosen> {
    let all = OPERATORS.get(name)?;
    let of = |l: u32, r: u32| all.iter().find(|o| o.left == l && o.right == r);
    let exact = match (left, right) {
        (UNKNOWN, UNKNOWN) => None,
        (UNKNOWN, known) => of(known, known),
        (known, UNKNOWN) => of(known, known),
        _ => None,
    };
    let actual = [left, right];
    let found =
        exact.or_else(|| of(left, right)).map(|o| Candidate { args: vec![o.left, o.right], of: o });
    let found = found.or_else(|| {
        let candidates = all.iter().filter(|o| o.left != 0);
        let candidates = candidates.map(|o| Candidate { args: vec![o.left, o.right], of: o });
        best(taking(candidates, &actual), &actual)
    })?;
    let kinds = polymorphic(&found.args, &actual)?;
    let args = found.args.iter().map(|arg| decided(*arg, kinds)).collect();
    Some(Chosen { args, result: decided(found.of.result, kinds) })
}

pub(super) fn prefix_operator(name: &str, right: u32) -> Option<Chosen> {
    let all = OPERATORS.get(name)?;
    let candidates = all.iter().filter(|o| o.left == 0);
    let candidates = candidates.map(|o| Candidate { args: vec![o.right], of: o });
    let found = best(taking(candidates, &[right]), &[right])?;
    Some(Chosen { result: found.of.result, args: found.args })
}

fn taking<T>(candidates: impl Iterator<Item = Candidate<T>>, actual: &[u32]) -> Vec<Candidate<T>> {
    candidates
        .filter(|c| {
            c.args.len() == actual.len()
                && c.args.iter().zip(actual).all(|(declared, actual)| coerces(*actual, *declared))
                && polymorphic(&c.args, actual).is_some()
        })
        .collect()
}

/// A function that was chosen.
pub(super) struct ChosenFunction {
    pub(super) signature: &'static Signature,
    /// What it takes, one type for each argument given.
    pub(super) args: Vec<u32>,
    pub(super) result: u32,
}

/// Whether there is a function of this name at all.
pub(super) fn functions_named(name: &str) -> &'static [Signature] {
    FUNCTIONS.get(name).map_or(&[], Vec::as_slice)
}

/// The function that a name means over these arguments. `variadic`: the last one is an array of
/// what goes to its last parameter.
pub(super) fn function(name: &str, actual: &[u32], variadic: bool) -> Option<ChosenFunction> {
    let candidate = |signature: &'static Signature| {
        let mut args = signature.args.clone();
        if signature.variadic != 0 && !variadic && actual.len() + 1 >= args.len() {
            // As many as there are, each of the element's type.
            args.pop();
            args.resize(actual.len(), signature.variadic);
        } else if actual.len() < args.len() && actual.len() + signature.defaults >= args.len() {
            args.truncate(actual.len());
        }
        Candidate { args, of: signature }
    };
    let candidates = || functions_named(name).iter().map(candidate);
    let exact = candidates().find(|c| c.args == actual);
    let found = match exact {
        Some(exact) => exact,
        None => {
            let mut all = taking(candidates(), actual);
            if all.len() == 1 { all.pop()? } else { best(all, actual)? }
        }
    };
    let kinds = polymorphic(&found.args, actual)?;
    let args = found.args.iter().map(|arg| decided(*arg, kinds)).collect();
    let result = decided(found.of.result, kinds);
    Some(ChosenFunction { signature: found.of, args, result })
}
