//! Functions over `json` and `jsonb`.

use std::borrow::Cow;

use super::{
    Builtin, Out,
    Type::{Bool, Int4, Json, Jsonb as Jb, Jsonbs, Jsons, Text, Texts},
    Value, builtin,
};
use crate::{
    error::{SqlError, sqlstate},
    types::{
        json::{self, Tree, Value as Tv, on_stack, quote},
        jsonb::{self, Jsonb, PathEdit, View},
    },
};

pub(super) static TABLE: &[Builtin] = &[
    // Parts.
    builtin("jsonb_object_field", &[Jb, Text], Jb, |a, _| Ok(part(field(a)))),
    builtin("jsonb_object_field_text", &[Jb, Text], Text, |a, _| Ok(part_text(field(a)))),
    builtin("jsonb_array_element", &[Jb, Int4], Jb, |a, _| Ok(part(element(a)))),
    builtin("jsonb_array_element_text", &[Jb, Int4], Text, |a, _| Ok(part_text(element(a)))),
    builtin("jsonb_extract_path", &[Jb, Texts], Jb, |a, _| Ok(part(path(a)))),
    builtin("jsonb_extract_path_text", &[Jb, Texts], Text, |a, _| Ok(part_text(path(a)))),
    builtin("json_object_field", &[Json, Text], Json, |a, _| json_part(a, json_field, false)),
    builtin("json_object_field_text", &[Json, Text], Text, |a, _| json_part(a, json_field, true)),
    builtin("json_array_element", &[Json, Int4], Json, |a, _| json_part(a, json_element, false)),
    builtin("json_array_element_text", &[Json, Int4], Text, |a, _| {
        json_part(a, json_element, true)
    }),
    builtin("json_extract_path", &[Json, Texts], Json, |a, _| json_part(a, json_path, false)),
    builtin("json_extract_path_text", &[Json, Texts], Text, |a, _| json_part(a, json_path, true)),
    // Questions.
    builtin("jsonb_contains", &[Jb, Jb], Bool, |a, _| {
        Ok(Out::Bool(jsonb::contains(a[0].jsonb(), a[1].jsonb())))
    }),
    builtin("jsonb_contained", &[Jb, Jb], Bool, |a, _| {
        Ok(Out::Bool(jsonb::contains(a[1].jsonb(), a[0].jsonb())))
    }),
    builtin("jsonb_exists", &[Jb, Text], Bool, |a, _| {
        Ok(Out::Bool(jsonb::exists(a[0].jsonb(), a[1].text())))
    }),
    builtin("jsonb_exists_any", &[Jb, Texts], Bool, |a, _| {
        Ok(Out::Bool(names(&a[1]).any(|name| jsonb::exists(a[0].jsonb(), name))))
    }),
    builtin("jsonb_exists_all", &[Jb, Texts], Bool, |a, _| {
        Ok(Out::Bool(names(&a[1]).all(|name| jsonb::exists(a[0].jsonb(), name))))
    }),
    builtin("jsonb_typeof", &[Jb], Text, |a, _| Ok(Out::Text(a[0].jsonb().type_name().into()))),
    builtin("json_typeof", &[Json], Text, |a, _| {
        Ok(Out::Text(json_type(&json::parse(a[0].text())?).into()))
    }),
    builtin("jsonb_array_length", &[Jb], Int4, |a, _| match a[0].jsonb().view() {
        View::Array(array) => Ok(Out::Int(array.len() as i64)),
        View::Object(_) => Err(invalid("cannot get array length of a non-array")),
        _ => Err(invalid("cannot get array length of a scalar")),
    }),
    builtin("json_array_length", &[Json], Int4, |a, _| match json::parse(a[0].text())?.value {
        Tv::Array(items) => Ok(Out::Int(items.len() as i64)),
        Tv::Object(_) => Err(invalid("cannot get array length of a non-array")),
        _ => Err(invalid("cannot get array length of a scalar")),
    }),
    // Changes.
    builtin("jsonb_concat", &[Jb, Jb], Jb, |a, _| {
        jsonb::concat(a[0].jsonb(), a[1].jsonb()).map(Out::Bytes)
    }),
    builtin("jsonb_delete", &[Jb, Text], Jb, |a, _| {
        jsonb::delete_names(a[0].jsonb(), &[a[1].text()]).map(Out::Bytes)
    }),
    builtin("jsonb_delete", &[Jb, Int4], Jb, |a, _| {
        jsonb::delete_element(a[0].jsonb(), a[1].int()).map(Out::Bytes)
    }),
    builtin("jsonb_delete", &[Jb, Texts], Jb, |a, _| {
        jsonb::delete_names(a[0].jsonb(), &names(&a[1]).collect::<Vec<_>>()).map(Out::Bytes)
    }),
    builtin("jsonb_delete_path", &[Jb, Texts], Jb, |a, _| {
        jsonb::edit_path(a[0].jsonb(), a[1].texts(), PathEdit::Delete, &[]).map(Out::Bytes)
    }),
    builtin("jsonb_set", &[Jb, Texts, Jb], Jb, |a, _| set(a, true)),
    builtin("jsonb_set", &[Jb, Texts, Jb, Bool], Jb, |a, _| set(a, a[3].boolean())),
    builtin("jsonb_refuse_null", &[Jb], Jb, |_, _| {
        let message = "JSON value must not be null";
        Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message)
            .detail("Exception was raised because null_value_treatment is \"raise_exception\".")
            .hint(
                "To avoid, either change the null_value_treatment argument or ensure that an SQL \
                 NULL is not passed.",
            ))
    }),
    builtin("jsonb_set_part", &[Jb, Texts, Jb], Jb, |a, _| set_part(a)),
    builtin("jsonb_insert", &[Jb, Texts, Jb], Jb, |a, _| insert(a, PathEdit::InsertBefore)),
    builtin("jsonb_insert", &[Jb, Texts, Jb, Bool], Jb, |a, _| {
        insert(a, if a[3].boolean() { PathEdit::InsertAfter } else { PathEdit::InsertBefore })
    }),
    builtin("jsonb_strip_nulls", &[Jb], Jb, |a, _| {
        jsonb::strip_nulls(a[0].jsonb()).map(Out::Bytes)
    }),
    builtin("json_strip_nulls", &[Json], Json, |a, _| {
        let mut out = Vec::new();
        strip_nulls(&json::parse(a[0].text())?, &mut out);
        Ok(text(out))
    }),
    builtin("jsonb_pretty", &[Jb], Text, |a, _| {
        let mut out = Vec::new();
        jsonb::write_pretty(a[0].jsonb(), &mut out);
        Ok(text(out))
    }),
    builtin("json_object", &[Texts], Json, |a, _| json_object(&pairs(a[0].texts())?)),
    builtin("json_object", &[Texts, Texts], Json, |a, _| {
        json_object(&zipped(a[0].texts(), a[1].texts())?)
    }),
    builtin("jsonb_object", &[Texts], Jb, |a, _| jsonb_object(&pairs(a[0].texts())?)),
    builtin("jsonb_object", &[Texts, Texts], Jb, |a, _| {
        jsonb_object(&zipped(a[0].texts(), a[1].texts())?)
    }),
    // Sets, as arrays.
    builtin("json_array_elements", &[Json], Jsons, |a, _| {
        Ok(Out::Texts(elements(a, "json_array_elements", |t| Some(t.text.to_owned()))?))
    }),
    builtin("json_array_elements_text", &[Json], Texts, |a, _| {
        Ok(Out::Texts(elements(a, "json_array_elements_text", |t| tree_text(&t))?))
    }),
    builtin("jsonb_array_elements", &[Jb], Jsonbs, |a, _| {
        let items = jsonb_elements(a)?;
        Ok(Out::Blobs(items.iter().map(|item| item.bytes().to_vec()).collect()))
    }),
    builtin("jsonb_array_elements_text", &[Jb], Texts, |a, _| {
        Ok(Out::Texts(jsonb_elements(a)?.iter().map(value_text).collect()))
    }),
    builtin("json_object_keys", &[Json], Texts, |a, _| match json::parse(a[0].text())?.value {
        Tv::Object(fields) => {
            Ok(Out::Texts(fields.into_iter().map(|(name, _)| Some(name.into_owned())).collect()))
        }
        Tv::Array(_) => Err(invalid("cannot call json_object_keys on an array")),
        _ => Err(invalid("cannot call json_object_keys on a scalar")),
    }),
    builtin("jsonb_object_keys", &[Jb], Texts, |a, _| match a[0].jsonb().view() {
        View::Object(o) => {
            Ok(Out::Texts(o.iter().map(|(name, _)| Some(name.to_owned())).collect()))
        }
        View::Array(_) => Err(invalid("cannot call jsonb_object_keys on an array")),
        _ => Err(invalid("cannot call jsonb_object_keys on a scalar")),
    }),
    builtin("json_each_key", &[Json], Texts, |a, _| {
        Ok(Out::Texts(fields(a)?.into_iter().map(|(name, _)| Some(name.into_owned())).collect()))
    }),
    builtin("json_each_value", &[Json], Jsons, |a, _| {
        Ok(Out::Texts(fields(a)?.into_iter().map(|(_, t)| Some(t.text.to_owned())).collect()))
    }),
    builtin("json_each_value_text", &[Json], Texts, |a, _| {
        Ok(Out::Texts(fields(a)?.into_iter().map(|(_, t)| tree_text(&t)).collect()))
    }),
    builtin("jsonb_each_key", &[Jb], Texts, |a, _| {
        Ok(Out::Texts(jsonb_fields(a, "jsonb_each")?.map(|(name, _)| Some(name.into())).collect()))
    }),
    builtin("jsonb_each_value", &[Jb], Jsonbs, |a, _| {
        let values = jsonb_fields(a, "jsonb_each")?.map(|(_, value)| value.bytes().to_vec());
        Ok(Out::Blobs(values.collect()))
    }),
    builtin("jsonb_each_value_text", &[Jb], Texts, |a, _| {
        Ok(Out::Texts(jsonb_fields(a, "jsonb_each_text")?.map(|(_, v)| value_text(v)).collect()))
    }),
];

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn text(out: Vec<u8>) -> Out {
    Out::Text(String::from_utf8(out).unwrap_or_default())
}

fn part(found: Option<Jsonb<'_>>) -> Out {
    found.map_or(Out::Null, |value| Out::Bytes(value.bytes().to_vec()))
}

fn part_text(found: Option<Jsonb<'_>>) -> Out {
    found.and_then(value_text).map_or(Out::Null, Out::Text)
}

/// As `->>` gives it: strings without quotes, NULL for null.
fn value_text(value: Jsonb<'_>) -> Option<String> {
    match value.view() {
        View::Null => None,
        View::String(text) => Some(text.to_owned()),
        _ => {
            let mut out = Vec::new();
            jsonb::write(value, &mut out);
            String::from_utf8(out).ok()
        }
    }
}

fn field<'a>(a: &[Value<'a>]) -> Option<Jsonb<'a>> {
    a[0].jsonb().field(a[1].text())
}

fn element<'a>(a: &[Value<'a>]) -> Option<Jsonb<'a>> {
    let value = a[0].jsonb();
    // A scalar at the top is an array of itself here.
    if value.is_scalar() {
        return matches!(a[1].int(), 0 | -1).then_some(value);
    }
    value.element(a[1].int())
}

fn path<'a>(a: &[Value<'a>]) -> Option<Jsonb<'a>> {
    a[1].texts().iter().try_fold(a[0].jsonb(), |value, step| value.step((*step)?))
}

fn names<'v, 'a>(value: &'v Value<'a>) -> impl Iterator<Item = &'a str> + use<'v, 'a> {
    value.texts().iter().filter_map(|name| *name)
}

fn set(a: &[Value<'_>], create: bool) -> Result<Out, SqlError> {
    let edit = if create { PathEdit::Set } else { PathEdit::Replace };
    jsonb::edit_path(a[0].jsonb(), a[1].texts(), edit, a[2].jsonb().bytes()).map(Out::Bytes)
}

/// What an assignment to a part of a column makes of the column.
fn set_part(a: &[Value<'_>]) -> Result<Out, SqlError> {
    let path: Option<Vec<&str>> = a[1].texts().iter().copied().collect();
    let Some(path) = path else {
        let message = "jsonb subscript in assignment must not be null";
        return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
    };
    jsonb::set_part(a[0].jsonb(), &path, a[2].jsonb().bytes()).map(Out::Bytes)
}

fn insert(a: &[Value<'_>], edit: PathEdit) -> Result<Out, SqlError> {
    jsonb::edit_path(a[0].jsonb(), a[1].texts(), edit, a[2].jsonb().bytes()).map(Out::Bytes)
}

/// Finds a part of JSON text by the arguments after it.
type Find = for<'t> fn(Tree<'t>, &[Value<'_>]) -> Option<Tree<'t>>;

fn json_part(a: &[Value<'_>], find: Find, as_text: bool) -> Result<Out, SqlError> {
    let tree = json::parse(a[0].text())?;
    let Some(found) = find(tree, a) else { return Ok(Out::Null) };
    let text = if as_text { tree_text(&found) } else { Some(found.text.to_owned()) };
    Ok(text.map_or(Out::Null, Out::Text))
}

fn tree_text(tree: &Tree<'_>) -> Option<String> {
    match &tree.value {
        Tv::Null => None,
        Tv::String(text) => Some(text.clone().into_owned()),
        _ => Some(tree.text.to_owned()),
    }
}

fn json_type(tree: &Tree<'_>) -> &'static str {
    match tree.value {
        Tv::Null => "null",
        Tv::Bool(_) => "boolean",
        Tv::Number(_) => "number",
        Tv::String(_) => "string",
        Tv::Array(_) => "array",
        Tv::Object(_) => "object",
    }
}

/// The last field of a name.
fn named<'t>(tree: Tree<'t>, name: &str) -> Option<Tree<'t>> {
    match tree.value {
        Tv::Object(fields) => {
            fields.into_iter().rev().find(|(field, _)| field == name).map(|(_, tree)| tree)
        }
        _ => None,
    }
}

fn numbered(tree: Tree<'_>, index: i64) -> Option<Tree<'_>> {
    let Tv::Array(items) = tree.value else { return None };
    let index = if index < 0 { items.len() as i64 + index } else { index };
    items.into_iter().nth(usize::try_from(index).ok()?)
}

fn json_field<'t>(tree: Tree<'t>, a: &[Value<'_>]) -> Option<Tree<'t>> {
    named(tree, a[1].text())
}

fn json_element<'t>(tree: Tree<'t>, a: &[Value<'_>]) -> Option<Tree<'t>> {
    numbered(tree, a[1].int())
}

fn json_path<'t>(tree: Tree<'t>, a: &[Value<'_>]) -> Option<Tree<'t>> {
    a[1].texts().iter().try_fold(tree, |tree, step| match tree.value {
        Tv::Array(_) => numbered(tree, jsonb::parse_index((*step)?)?),
        _ => named(tree, (*step)?),
    })
}

fn strip_nulls(tree: &Tree<'_>, out: &mut Vec<u8>) {
    match &tree.value {
        Tv::Array(items) => on_stack(|| {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                strip_nulls(item, out);
            }
            out.push(b']');
        }),
        Tv::Object(fields) => on_stack(|| {
            out.push(b'{');
            let mut first = true;
            for (name, value) in fields.iter().filter(|(_, v)| !matches!(v.value, Tv::Null)) {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                quote(name, out);
                out.push(b':');
                strip_nulls(value, out);
            }
            out.push(b'}');
        }),
        Tv::String(text) => quote(text, out),
        _ => out.extend_from_slice(tree.text.as_bytes()),
    }
}

type Pair<'a> = (&'a str, Option<&'a str>);

fn key(name: Option<&str>) -> Result<&str, SqlError> {
    name.ok_or_else(|| {
        let message = "null value not allowed for object key";
        SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message)
    })
}

/// Names and values in turn.
fn pairs<'a>(texts: &[Option<&'a str>]) -> Result<Vec<Pair<'a>>, SqlError> {
    if !texts.len().is_multiple_of(2) {
        let message = "array must have even number of elements";
        return Err(SqlError::new(sqlstate::ARRAY_ELEMENT_ERROR, message));
    }
    texts.chunks_exact(2).map(|pair| Ok((key(pair[0])?, pair[1]))).collect()
}

fn zipped<'a>(
    names: &[Option<&'a str>],
    values: &[Option<&'a str>],
) -> Result<Vec<Pair<'a>>, SqlError> {
    if names.len() != values.len() {
        let message = "mismatched array dimensions";
        return Err(SqlError::new(sqlstate::ARRAY_ELEMENT_ERROR, message));
    }
    names.iter().zip(values).map(|(name, value)| Ok((key(*name)?, *value))).collect()
}

fn json_object(pairs: &[Pair<'_>]) -> Result<Out, SqlError> {
    let mut out = vec![b'{'];
    for (n, (name, value)) in pairs.iter().enumerate() {
        if n > 0 {
            out.extend_from_slice(b", ");
        }
        quote(name, &mut out);
        out.extend_from_slice(b" : ");
        match value {
            Some(value) => quote(value, &mut out),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    Ok(text(out))
}

fn jsonb_object(pairs: &[Pair<'_>]) -> Result<Out, SqlError> {
    let mut object = jsonb::ObjectBuilder::default();
    for (name, value) in pairs {
        object.push(*name, value.map_or_else(jsonb::null, jsonb::string));
    }
    object.finish().map(Out::Bytes)
}

fn elements(
    a: &[Value<'_>],
    name: &str,
    element: impl Fn(Tree<'_>) -> Option<String>,
) -> Result<Vec<Option<String>>, SqlError> {
    match json::parse(a[0].text())?.value {
        Tv::Array(items) => Ok(items.into_iter().map(element).collect()),
        Tv::Object(_) => Err(invalid(format!("cannot call {name} on a non-array"))),
        _ => Err(invalid(format!("cannot call {name} on a scalar"))),
    }
}

fn jsonb_elements<'a>(a: &[Value<'a>]) -> Result<jsonb::Array<'a>, SqlError> {
    match a[0].jsonb().view() {
        View::Array(items) => Ok(items),
        View::Object(_) => Err(invalid("cannot extract elements from an object")),
        _ => Err(invalid("cannot extract elements from a scalar")),
    }
}

fn fields<'t>(a: &[Value<'t>]) -> Result<Vec<(Cow<'t, str>, Tree<'t>)>, SqlError> {
    match json::parse(a[0].text())?.value {
        Tv::Object(fields) => Ok(fields),
        Tv::Array(_) => Err(invalid("cannot deconstruct an array as an object")),
        _ => Err(invalid("cannot deconstruct a scalar")),
    }
}

fn jsonb_fields<'a>(
    a: &[Value<'a>],
    name: &str,
) -> Result<impl Iterator<Item = (&'a str, Jsonb<'a>)> + use<'a>, SqlError> {
    match a[0].jsonb().view() {
        View::Object(object) => Ok(object.iter()),
        _ => Err(invalid(format!("cannot call {name} on a non-object"))),
    }
}
