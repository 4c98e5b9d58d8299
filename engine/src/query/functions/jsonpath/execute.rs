//! What a jsonpath gives of a document.
//!
//! `found`: where results go; `None` if only whether there is one matters.

use bytes::Bytes;

use super::{
    moment::{Moment, Uncomparable},
    numbers::{self, number_of},
};
use crate::{
    error::{SqlError, sqlstate},
    query::functions::{decimal::Decimal, given_up},
    types::{
        TimeZone,
        json::on_stack,
        jsonb::{self, Jsonb, View, same_number},
        jsonpath::{ANY_DEPTH, Binary, JsonPath, Method, Path, Step},
    },
};

/// A value on the way.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Json(Bytes),
    Moment(Moment),
}

impl Item {
    pub(super) fn number(value: &Decimal) -> Self {
        Self::Json(jsonb::number(&value.to_string()).into())
    }

    fn bool(value: Option<bool>) -> Self {
        Self::Json(value.map_or_else(jsonb::null, jsonb::bool_value).into())
    }

    /// None for a date or time.
    fn json(&self) -> Option<Jsonb<'_>> {
        match self {
            Self::Json(bytes) => Some(Jsonb::new(bytes)),
            Self::Moment(_) => None,
        }
    }

    fn view(&self) -> Option<View<'_>> {
        self.json().map(Jsonb::view)
    }

    fn is_array(&self) -> bool {
        matches!(self.view(), Some(View::Array(_)))
    }

    /// A part of it.
    fn part(&self, part: Jsonb<'_>) -> Self {
        match self {
            Self::Json(bytes) => Self::Json(bytes.slice_ref(part.bytes())),
            other => other.clone(),
        }
    }

    /// As a value of jsonb.
    pub(super) fn into_jsonb(self) -> Vec<u8> {
        match self {
            Self::Json(bytes) => bytes.to_vec(),
            Self::Moment(moment) => jsonb::string(&moment.to_string()),
        }
    }
}

/// Whether something was found. An error is what `silent` and conditions pass over.
pub(super) type Outcome = Result<bool, Failure>;

#[derive(Debug)]
pub(super) enum Failure {
    /// One that conditions take as unknown and `silent` passes over.
    Soft(SqlError),
    Hard(SqlError),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Hard(error)
    }
}

fn soft<T>(sqlstate: &'static str, message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Soft(SqlError::new(sqlstate, message)))
}

/// What `.keyvalue()` counts places from.
#[derive(Clone)]
struct Base {
    object: Option<Bytes>,
    id: i64,
}

pub(super) struct Execution<'e> {
    path: &'e JsonPath,
    vars: Option<&'e Bytes>,
    /// What zones are converted with; `None` where that is not allowed.
    time_zone: Option<TimeZone>,
    root: Item,
    current: Item,
    base: Base,
    next_id: i64,
    /// Of the array whose subscript is computed.
    array_length: Option<usize>,
    ignores_structure: bool,
}

type Found<'f> = Option<&'f mut Vec<Item>>;

impl<'e> Execution<'e> {
    /// # Errors
    /// 22023 for variables that are no object.
    pub(super) fn new(
        path: &'e JsonPath,
        document: Bytes,
        vars: Option<&'e Bytes>,
        time_zone: Option<TimeZone>,
    ) -> Result<Self, SqlError> {
        if let Some(vars) = vars
            && !matches!(Jsonb::new(vars).view(), View::Object(_))
        {
            let message = "\"vars\" argument is not an object";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).detail(
                "Jsonpath parameters should be encoded as key-value pairs of \"vars\" object.",
            ));
        }
        let root = Item::Json(document);
        Ok(Self {
            path,
            vars,
            time_zone,
            current: root.clone(),
            root,
            base: Base { object: None, id: 0 },
            next_id: if vars.is_some() { 2 } else { 1 },
            array_length: None,
            ignores_structure: !path.strict,
        })
    }

    /// All results.
    pub(super) fn query(&mut self, found: &mut Vec<Item>) -> Result<(), Failure> {
        let root = self.root.clone();
        self.steps(&self.path.path, &root, Some(found), true).map(drop)
    }

    /// Whether there is a result.
    pub(super) fn exists(&mut self) -> Outcome {
        let root = self.root.clone();
        if !self.path.strict {
            return self.steps(&self.path.path, &root, None, true);
        }
        // Only the whole list shows that there is no error.
        let mut found = Vec::new();
        self.steps(&self.path.path, &root, Some(&mut found), true)?;
        Ok(!found.is_empty())
    }

    fn lax(&self) -> bool {
        !self.path.strict
    }

    fn structural(&self, sqlstate: &'static str, message: impl Into<String>) -> Outcome {
        if self.ignores_structure { Ok(false) } else { soft(sqlstate, message) }
    }

    /// The steps behind one that gave `item`.
    fn go_on(&mut self, rest: &'e [Step], item: &Item, found: Found<'_>) -> Outcome {
        if !rest.is_empty() {
            return self.steps(rest, item, found, self.lax());
        }
        if let Some(found) = found {
            found.push(item.clone());
        }
        Ok(true)
    }

    /// `unwrap`: an array that the first step cannot be applied to gives its elements.
    fn steps(&mut self, steps: &'e [Step], item: &Item, found: Found<'_>, unwrap: bool) -> Outcome {
        given_up::check()?;
        on_stack(|| self.step(steps, item, found, unwrap && self.lax()))
    }

    fn step(&mut self, steps: &'e [Step], item: &Item, found: Found<'_>, unwrap: bool) -> Outcome {
        let Some((step, rest)) = steps.split_first() else { return Ok(false) };
        let unwraps = match step {
            Step::Key(_) | Step::AnyKey | Step::Filter(_) | Step::Datetime(_) => true,
            Step::Method(method) => !matches!(method, Method::Type | Method::Size),
            _ => false,
        };
        if unwraps && unwrap && item.is_array() {
            return self.elements_of(item, Some(steps), found, false);
        }
        match step {
            step if step.is_predicate() => {
                let value = self.condition(step, item)?;
                if rest.is_empty() && found.is_none() {
                    return Ok(true);
                }
                self.go_on(rest, &Item::bool(value), found)
            }
            Step::Key(name) => self.key(name, rest, item, found),
            Step::Root => {
                let root = self.root.clone();
                let object = match &root {
                    Item::Json(bytes) => Some(bytes.clone()),
                    Item::Moment(_) => None,
                };
                let before = std::mem::replace(&mut self.base, Base { object, id: 0 });
                let result = self.go_on(rest, &root, found);
                self.base = before;
                result
            }
            Step::Current => {
                let current = self.current.clone();
                self.go_on(rest, &current, found)
            }
            Step::AnyElement if item.is_array() => {
                self.elements_of(item, Some(rest), found, self.lax())
            }
            Step::AnyElement if self.lax() => self.go_on(rest, item, found),
            Step::AnyElement => self.structural(
                sqlstate::SQL_JSON_ARRAY_NOT_FOUND,
                "jsonpath wildcard array accessor can only be applied to an array",
            ),
            Step::Elements(elements) => self.elements(elements, rest, item, found),
            Step::Last => {
                let last = self.array_length.unwrap_or(0) as i64 - 1;
                self.go_on(rest, &Item::number(&Decimal::new(last, 0)), found)
            }
            Step::AnyKey => match item.view() {
                Some(View::Object(_)) => {
                    let levels = Levels { first: 1, last: 1, lenient: false, unwrap: self.lax() };
                    self.below(item, Some(rest), found, 1, levels)
                }
                _ => self.structural(
                    sqlstate::SQL_JSON_OBJECT_NOT_FOUND,
                    "jsonpath wildcard member accessor can only be applied to an object",
                ),
            },
            Step::Any { first, last } => self.any(*first, *last, rest, item, found),
            Step::Filter(condition) => {
                let before = std::mem::replace(&mut self.current, item.clone());
                let holds = self.condition_of(condition, item);
                self.current = before;
                if holds? == Some(true) { self.go_on(rest, item, found) } else { Ok(false) }
            }
            Step::Binary(operator, left, right) => {
                let value = self.arithmetic(*operator, left, right, item)?;
                self.go_on(rest, &Item::number(&value), found)
            }
            Step::Plus(operand) => self.signed(operand, false, rest, item, found),
            Step::Minus(operand) => self.signed(operand, true, rest, item, found),
            Step::Method(method) => self.method(*method, rest, item, found),
            Step::Datetime(template) => {
                let Some(View::String(text)) = item.view() else {
                    return soft(
                        sqlstate::INVALID_ARGUMENT_FOR_JSON_DATETIME,
                        "jsonpath item method .datetime() can only be applied to a string",
                    );
                };
                let moment = Moment::read(text, template.as_deref()).map_err(|error| {
                    match error.sqlstate == sqlstate::FEATURE_NOT_SUPPORTED {
                        true => Failure::Hard(error),
                        false => Failure::Soft(error),
                    }
                })?;
                self.go_on(rest, &Item::Moment(moment), found)
            }
            literal => self.literal(literal, rest, found),
        }
    }

    fn literal(&mut self, step: &Step, rest: &'e [Step], found: Found<'_>) -> Outcome {
        // Whether a variable is there matters even if its value does not.
        if rest.is_empty() && found.is_none() && !matches!(step, Step::Variable(_)) {
            return Ok(true);
        }
        let value = match step {
            Step::Bool(value) => jsonb::bool_value(*value),
            Step::Number(text) => jsonb::number(text),
            Step::String(text) => jsonb::string(text),
            Step::Variable(name) => {
                let found_in = |vars: &'e Bytes| Some((vars, Jsonb::new(vars).field(name)?));
                let Some((vars, value)) = self.vars.and_then(found_in) else {
                    let message = format!("could not find jsonpath variable \"{name}\"");
                    return Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, message).into());
                };
                let value = Item::Json(vars.slice_ref(value.bytes()));
                let base = Base { object: Some(vars.clone()), id: 1 };
                let before = std::mem::replace(&mut self.base, base);
                let result = self.go_on(rest, &value, found);
                self.base = before;
                return result;
            }
            _ => jsonb::null(),
        };
        self.go_on(rest, &Item::Json(value.into()), found)
    }

    fn key(&mut self, name: &str, rest: &'e [Step], item: &Item, found: Found<'_>) -> Outcome {
        match item.view() {
            Some(View::Object(object)) => match object.get(name) {
                Some(value) => self.go_on(rest, &item.part(value), found),
                None => self.structural(
                    sqlstate::SQL_JSON_MEMBER_NOT_FOUND,
                    format!("JSON object does not contain key \"{name}\""),
                ),
            },
            _ => self.structural(
                sqlstate::SQL_JSON_MEMBER_NOT_FOUND,
                "jsonpath member accessor can only be applied to an object",
            ),
        }
    }

    /// The steps applied to each element.
    fn elements_of(
        &mut self,
        item: &Item,
        steps: Option<&'e [Step]>,
        found: Found<'_>,
        unwrap: bool,
    ) -> Outcome {
        let levels = Levels { first: 1, last: 1, lenient: false, unwrap };
        self.below(item, steps, found, 1, levels)
    }

    /// The steps applied to what is in an array or object, level by level.
    fn below(
        &mut self,
        item: &Item,
        steps: Option<&'e [Step]>,
        mut found: Found<'_>,
        level: u32,
        levels: Levels,
    ) -> Outcome {
        if level > levels.last {
            return Ok(false);
        }
        let parts: Vec<Item> = match item.view() {
            Some(View::Array(items)) => items.iter().map(|part| item.part(part)).collect(),
            Some(View::Object(fields)) => fields.iter().map(|(_, part)| item.part(part)).collect(),
            _ => return Ok(false),
        };
        let steps = steps.unwrap_or_default();
        let mut any = false;
        for part in &parts {
            given_up::check()?;
            let scalar = part.json().is_none_or(Jsonb::is_scalar);
            let leaves = levels.first == ANY_DEPTH && levels.last == ANY_DEPTH;
            if level >= levels.first || leaves && scalar {
                let hit = if steps.is_empty() {
                    if let Some(found) = found.as_deref_mut() {
                        found.push(part.clone());
                    }
                    true
                } else {
                    let before = self.ignores_structure;
                    self.ignores_structure |= levels.lenient;
                    let hit = self.steps(steps, part, found.as_deref_mut(), levels.unwrap);
                    self.ignores_structure = before;
                    hit?
                };
                any |= hit;
                if hit && found.is_none() {
                    return Ok(true);
                }
            }
            if level < levels.last && !scalar {
                let hit = on_stack(|| {
                    self.below(part, Some(steps), found.as_deref_mut(), level + 1, levels)
                })?;
                any |= hit;
                if hit && found.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(any)
    }

    fn any(
        &mut self,
        first: u32,
        last: u32,
        rest: &'e [Step],
        item: &Item,
        mut found: Found<'_>,
    ) -> Outcome {
        let mut any = false;
        if first == 0 {
            let before = std::mem::replace(&mut self.ignores_structure, true);
            let hit = self.go_on(rest, item, found.as_deref_mut());
            self.ignores_structure = before;
            any = hit?;
            if any && found.is_none() {
                return Ok(true);
            }
        }
        let levels = Levels { first, last, lenient: true, unwrap: self.lax() };
        Ok(self.below(item, Some(rest), found, 1, levels)? || any)
    }

    fn elements(
        &mut self,
        elements: &'e [(Path, Option<Path>)],
        rest: &'e [Step],
        item: &Item,
        mut found: Found<'_>,
    ) -> Outcome {
        let array = match item.view() {
            Some(View::Array(array)) => Some(array),
            _ if self.lax() => None,
            _ => {
                return self.structural(
                    sqlstate::SQL_JSON_ARRAY_NOT_FOUND,
                    "jsonpath array accessor can only be applied to an array",
                );
            }
        };
        let length = array.map_or(1, |array| array.len());
        let mut any = false;
        for (from, to) in elements {
            let before = self.array_length.replace(length);
            let first = self.subscript(from, item);
            let last = match to {
                Some(to) => self.subscript(to, item),
                None => first.as_ref().map_or(Ok(0), |first| Ok(*first)),
            };
            self.array_length = before;
            let (first, last) = (first?, last?);
            let outside = first < 0 || first > last || last >= length as i64;
            if outside && !self.ignores_structure {
                return soft(
                    sqlstate::INVALID_SQL_JSON_SUBSCRIPT,
                    "jsonpath array subscript is out of bounds",
                );
            }
            for index in first.max(0)..=last.min(length as i64 - 1) {
                let part = match array {
                    Some(array) => item.part(array.get(index as usize)),
                    None => item.clone(),
                };
                let hit = self.go_on(rest, &part, found.as_deref_mut())?;
                any |= hit;
                if hit && found.is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(any)
    }

    fn subscript(&mut self, path: &'e Path, item: &Item) -> Result<i64, Failure> {
        let mut found = Vec::new();
        self.steps(path, item, Some(&mut found), true)?;
        let number = match found.as_slice() {
            [only] => number_of(only)?,
            _ => None,
        };
        let Some(number) = number else {
            return soft(
                sqlstate::INVALID_SQL_JSON_SUBSCRIPT,
                "jsonpath array subscript is not a single numeric value",
            );
        };
        let index = number.truncate(0).to_i128().and_then(|n| i32::try_from(n).ok());
        match index {
            Some(index) => Ok(i64::from(index)),
            None => soft(
                sqlstate::INVALID_SQL_JSON_SUBSCRIPT,
                "jsonpath array subscript is out of integer range",
            ),
        }
    }

    /// What a path gives, with the elements of arrays instead of them.
    fn sequence(
        &mut self,
        path: &'e Path,
        item: &Item,
        unwrap: bool,
    ) -> Result<Vec<Item>, Failure> {
        let mut found = Vec::new();
        self.steps(path, item, Some(&mut found), true)?;
        if !unwrap || !self.lax() {
            return Ok(found);
        }
        let mut unwrapped = Vec::with_capacity(found.len());
        for value in found {
            match value.view() {
                Some(View::Array(items)) => {
                    unwrapped.extend(items.iter().map(|part| value.part(part)));
                }
                _ => unwrapped.push(value),
            }
        }
        Ok(unwrapped)
    }

    fn arithmetic(
        &mut self,
        operator: Binary,
        left: &'e Path,
        right: &'e Path,
        item: &Item,
    ) -> Result<Decimal, Failure> {
        let left = self.sequence(left, item, true)?;
        let right = self.sequence(right, item, true)?;
        let single = |side: &str, values: &[Item]| match values {
            [only] => number_of(only)?.map_or_else(|| not_single(side, operator), Ok),
            _ => not_single(side, operator),
        };
        let (left, right) = (single("left", &left)?, single("right", &right)?);
        numbers::compute(operator, &left, &right).map_err(Failure::Soft)
    }

    fn signed(
        &mut self,
        operand: &'e Path,
        minus: bool,
        rest: &'e [Step],
        item: &Item,
        mut found: Found<'_>,
    ) -> Outcome {
        let mut any = false;
        for value in self.sequence(operand, item, true)? {
            let Some(number) = number_of(&value)? else {
                if found.is_none() && rest.is_empty() {
                    continue;
                }
                let sign = if minus { "-" } else { "+" };
                return soft(
                    sqlstate::SQL_JSON_NUMBER_NOT_FOUND,
                    format!("operand of unary jsonpath operator {sign} is not a numeric value"),
                );
            };
            let number = if minus { number.negate() } else { number };
            any |= self.go_on(rest, &Item::number(&number), found.as_deref_mut())?;
            if any && found.is_none() {
                return Ok(true);
            }
        }
        Ok(any)
    }

    fn method(
        &mut self,
        method: Method,
        rest: &'e [Step],
        item: &Item,
        found: Found<'_>,
    ) -> Outcome {
        let name = method.name();
        let result = match method {
            Method::Type => {
                let name = match item {
                    Item::Json(bytes) => Jsonb::new(bytes).type_name(),
                    Item::Moment(moment) => moment.type_name(),
                };
                Item::Json(jsonb::string(name).into())
            }
            Method::Size => match item.view() {
                Some(View::Array(items)) => Item::number(&Decimal::new(items.len() as i64, 0)),
                _ if self.lax() => Item::number(&Decimal::new(1, 0)),
                _ => {
                    return self.structural(
                        sqlstate::SQL_JSON_ARRAY_NOT_FOUND,
                        format!("jsonpath item method .{name}() can only be applied to an array"),
                    );
                }
            },
            Method::Double => numbers::double(item).map_err(Failure::Soft)?,
            Method::KeyValue => return self.key_values(rest, item, found),
            Method::Abs | Method::Floor | Method::Ceiling => {
                let Some(number) = number_of(item)? else {
                    return soft(
                        sqlstate::NON_NUMERIC_SQL_JSON_ITEM,
                        format!(
                            "jsonpath item method .{name}() can only be applied to a numeric value"
                        ),
                    );
                };
                Item::number(&match method {
                    Method::Abs => number.abs(),
                    Method::Floor => number.floor(),
                    _ => number.ceil(),
                })
            }
        };
        self.go_on(rest, &result, found)
    }

    /// `.keyvalue()`: an object of each field.
    fn key_values(&mut self, rest: &'e [Step], item: &Item, mut found: Found<'_>) -> Outcome {
        let Some(View::Object(object)) = item.view() else {
            return soft(
                sqlstate::SQL_JSON_OBJECT_NOT_FOUND,
                "jsonpath item method .keyvalue() can only be applied to an object",
            );
        };
        let place = match (&self.base.object, item) {
            (Some(base), Item::Json(bytes)) => super::place::of_part(base, bytes),
            _ => 0,
        };
        let id = place + self.base.id * 10_000_000_000;
        let mut any = false;
        for (name, value) in object.iter() {
            let mut pair = jsonb::ObjectBuilder::default();
            pair.push("key", jsonb::string(name));
            pair.push("value", value.bytes());
            pair.push("id", jsonb::number(&id.to_string()));
            let pair: Bytes = pair.finish()?.into();
            let base = Base { object: Some(pair.clone()), id: self.next_id };
            self.next_id += 1;
            let before = std::mem::replace(&mut self.base, base);
            let hit = self.go_on(rest, &Item::Json(pair), found.as_deref_mut());
            self.base = before;
            any |= hit?;
            if any && found.is_none() {
                return Ok(true);
            }
        }
        Ok(any)
    }

    fn condition_of(&mut self, path: &'e Path, item: &Item) -> Result<Option<bool>, Failure> {
        match path.first() {
            Some(step) => on_stack(|| self.condition(step, item)),
            None => Ok(None),
        }
    }

    /// A condition: `None` is unknown.
    fn condition(&mut self, step: &'e Step, item: &Item) -> Result<Option<bool>, Failure> {
        Ok(match step {
            Step::Binary(Binary::And, left, right) => match self.condition_of(left, item)? {
                Some(false) => Some(false),
                left => match self.condition_of(right, item)? {
                    Some(true) => left,
                    right => right,
                },
            },
            Step::Binary(Binary::Or, left, right) => match self.condition_of(left, item)? {
                Some(true) => Some(true),
                left => match self.condition_of(right, item)? {
                    Some(false) => left,
                    right => right,
                },
            },
            Step::Not(inner) => self.condition_of(inner, item)?.map(|value| !value),
            Step::IsUnknown(inner) => Some(self.condition_of(inner, item)?.is_none()),
            Step::Exists(path) => {
                let strict = self.path.strict;
                let mut found = Vec::new();
                let result = match strict {
                    true => {
                        self.steps(path, item, Some(&mut found), true).map(|_| !found.is_empty())
                    }
                    false => self.steps(path, item, None, true),
                };
                unless_soft(result)?
            }
            Step::Binary(operator, left, right) => {
                let unwraps_right = *operator != Binary::StartsWith;
                let Some(left) = unless_soft(self.sequence(left, item, true))? else {
                    return Ok(None);
                };
                let Some(right) = unless_soft(self.sequence(right, item, unwraps_right))? else {
                    return Ok(None);
                };
                let zone = self.time_zone;
                let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (a, b)));
                self.any_of(pairs.map(|(a, b)| compare(*operator, a, b, zone)))?
            }
            Step::LikeRegex { value, pattern, flags } => {
                let Some(values) = unless_soft(self.sequence(value, item, true))? else {
                    return Ok(None);
                };
                let regex = super::compile_regex(pattern, *flags)?;
                self.any_of(values.iter().map(|value| {
                    Ok(match value.view() {
                        Some(View::String(text)) => Some(regex.is_match(text)?),
                        _ => None,
                    })
                }))?
            }
            _ => None,
        })
    }

    /// Whether one of these is true. In strict mode an unknown one makes all unknown.
    fn any_of(
        &self,
        results: impl Iterator<Item = Result<Option<bool>, SqlError>>,
    ) -> Result<Option<bool>, SqlError> {
        let (mut unknown, mut found) = (false, false);
        for result in results {
            given_up::check()?;
            match result? {
                None if !self.lax() => return Ok(None),
                None => unknown = true,
                Some(true) if self.lax() => return Ok(Some(true)),
                Some(true) => found = true,
                Some(false) => {}
            }
        }
        Ok(if found {
            Some(true)
        } else if unknown {
            None
        } else {
            Some(false)
        })
    }
}

/// How far below a value steps are applied.
#[derive(Clone, Copy)]
struct Levels {
    first: u32,
    last: u32,
    /// Structural errors do not count.
    lenient: bool,
    unwrap: bool,
}

fn unless_soft<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Soft(_)) => Ok(None),
        Err(hard) => Err(hard),
    }
}

fn not_single<T>(side: &str, operator: Binary) -> Result<T, Failure> {
    let symbol = operator.symbol();
    soft(
        sqlstate::SINGLETON_SQL_JSON_ITEM_REQUIRED,
        format!("{side} operand of jsonpath operator {symbol} is not a single numeric value"),
    )
}

fn compare(
    operator: Binary,
    left: &Item,
    right: &Item,
    zone: Option<TimeZone>,
) -> Result<Option<bool>, SqlError> {
    let order = match (left, right) {
        (Item::Moment(a), Item::Moment(b)) => match a.compare(b, zone) {
            Ok(order) => order,
            Err(Uncomparable::Types) => return Ok(None),
            Err(Uncomparable::NeedsZone(error)) => return Err(error),
        },
        (Item::Moment(_), other) | (other, Item::Moment(_)) => {
            let null = matches!(other.view(), Some(View::Null));
            return Ok(null.then_some(operator == Binary::NotEqual));
        }
        (Item::Json(a), Item::Json(b)) => match (Jsonb::new(a).view(), Jsonb::new(b).view()) {
            (View::String(a), View::String(b)) if operator == Binary::StartsWith => {
                return Ok(Some(a.starts_with(b)));
            }
            _ if operator == Binary::StartsWith => return Ok(None),
            (View::Null, View::Null) => std::cmp::Ordering::Equal,
            (View::Null, _) | (_, View::Null) => return Ok(Some(operator == Binary::NotEqual)),
            (View::Bool(a), View::Bool(b)) => a.cmp(&b),
            (View::Number(a), View::Number(b)) if same_number(a, b) => std::cmp::Ordering::Equal,
            (View::Number(a), View::Number(b)) => numbers::read(a)?.compare(&numbers::read(b)?),
            (View::String(a), View::String(b)) => a.cmp(b),
            _ => return Ok(None),
        },
    };
    Ok(Some(match operator {
        Binary::Equal => order.is_eq(),
        Binary::NotEqual => order.is_ne(),
        Binary::Less => order.is_lt(),
        Binary::LessOrEqual => order.is_le(),
        Binary::Greater => order.is_gt(),
        _ => order.is_ge(),
    }))
}
