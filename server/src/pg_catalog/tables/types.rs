//! `pg_type`: PostgreSQL's built-in types, and the row and array types of tables.

use std::{collections::HashMap, sync::LazyLock};

use super::Source;
use crate::pg_catalog::rows::{Cell, Rows, int};

const DATA: &str = include_str!("../data/pg_type.tsv");

/// What `pg_attribute` repeats of a type.
#[derive(Clone, Copy)]
pub(in crate::pg_catalog) struct TypeFacts {
    pub(in crate::pg_catalog) name: &'static str,
    pub(in crate::pg_catalog) length: i16,
    pub(in crate::pg_catalog) by_value: bool,
    /// Of an array type, else 0.
    pub(in crate::pg_catalog) element: u32,
    pub(in crate::pg_catalog) is_array: bool,
    category: char,
    is_preferred: bool,
    /// OID of the array type over it, 0 without one.
    array: u32,
    pub(in crate::pg_catalog) align: &'static str,
    pub(in crate::pg_catalog) storage: &'static str,
    pub(in crate::pg_catalog) collation: u32,
}

/// Places of columns in `pg_type`.
mod place {
    pub(super) const NAME: usize = 1;
    pub(super) const LENGTH: usize = 4;
    pub(super) const BY_VALUE: usize = 5;
    pub(super) const CATEGORY: usize = 7;
    pub(super) const PREFERRED: usize = 8;
    pub(super) const ELEMENT: usize = 13;
    pub(super) const ALIGN: usize = 22;
    pub(super) const STORAGE: usize = 23;
    pub(super) const ARRAY: usize = 14;
    pub(super) const COLLATION: usize = 28;
}

static FACTS: LazyLock<HashMap<u32, TypeFacts>> = LazyLock::new(|| {
    DATA.lines()
        .filter_map(|line| {
            let fields: Vec<&'static str> = line.split('\t').collect();
            let facts = TypeFacts {
                name: fields.get(place::NAME)?,
                length: fields.get(place::LENGTH)?.parse().ok()?,
                by_value: *fields.get(place::BY_VALUE)? == "t",
                element: fields.get(place::ELEMENT)?.parse().ok()?,
                // int2vector and oidvector are arrays of a kind, but print under their names.
                // The category of record[] is that of pseudo-types.
                is_array: (*fields.get(place::CATEGORY)? == "A"
                    || *fields.get(place::NAME)? == "_record")
                    && *fields.get(place::STORAGE)? != "p",
                category: fields.get(place::CATEGORY)?.chars().next()?,
                is_preferred: *fields.get(place::PREFERRED)? == "t",
                array: fields.get(place::ARRAY)?.parse().ok()?,
                align: fields.get(place::ALIGN)?,
                storage: fields.get(place::STORAGE)?,
                collation: fields.get(place::COLLATION)?.parse().ok()?,
            };
            Some((fields[0].parse().ok()?, facts))
        })
        .collect()
});

/// A type nobody knows looks like a composite one.
const UNKNOWN: TypeFacts = TypeFacts {
    name: "???",
    length: -1,
    by_value: false,
    element: 0,
    is_array: false,
    category: 'C',
    is_preferred: false,
    array: 0,
    align: "d",
    storage: "x",
    collation: 0,
};

pub(in crate::pg_catalog) fn type_facts(oid: u32) -> TypeFacts {
    FACTS.get(&oid).copied().unwrap_or(UNKNOWN)
}

/// `pg_type.typcategory`.
pub(in crate::pg_catalog) fn type_category(oid: u32) -> char {
    type_facts(oid).category
}

/// `pg_type.typispreferred`: what its category's other types become where it is possible.
pub(in crate::pg_catalog) fn type_is_preferred(oid: u32) -> bool {
    type_facts(oid).is_preferred
}

/// Name of a built-in type and, of an array type, the OID of its elements' (else 0).
pub(in crate::pg_catalog) fn builtin_type(oid: u32) -> Option<(&'static str, u32)> {
    let facts = FACTS.get(&oid)?;
    Some((facts.name, if facts.is_array { facts.element } else { 0 }))
}

/// OID of the array type over a built-in type.
pub(in crate::pg_catalog) fn builtin_array_oid(oid: u32) -> Option<u32> {
    FACTS.get(&oid).map(|facts| facts.array).filter(|array| *array != 0)
}

/// OID of a built-in type by its name in `pg_type`.
pub(in crate::pg_catalog) fn builtin_type_oid(name: &str) -> Option<u32> {
    FACTS.iter().find(|(_, facts)| facts.name == name).map(|(oid, _)| *oid)
}

/// Default B-tree operator classes by the type they are for.
static BTREE_CLASSES: LazyLock<HashMap<u32, u32>> = LazyLock::new(|| {
    /// Places of columns in `pg_opclass`.
    const INPUT: usize = 6;
    const DEFAULT: usize = 7;
    include_str!("../data/pg_opclass.tsv")
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            let is_default = *fields.get(DEFAULT)? == "t";
            is_default.then_some((fields[INPUT].parse().ok()?, fields[0].parse().ok()?))
        })
        .collect()
});

/// OID of the default B-tree operator class of a type; 0 without one.
pub(super) fn btree_operator_class(type_oid: u32) -> u32 {
    // varchar sorts by the class of text.
    let type_oid = if type_oid == 1043 { 25 } else { type_oid };
    BTREE_CLASSES.get(&type_oid).copied().unwrap_or(0)
}

/// Functions of row types and of arrays over them, by OID in `pg_proc`.
const RECORD_FUNCTIONS: [u32; 4] = [2290, 2291, 2402, 2403];
const ARRAY_FUNCTIONS: [u32; 4] = [750, 751, 2400, 2401];
const ARRAY_ANALYZE: u32 = 3816;
const ARRAY_SUBSCRIPT: u32 = 6179;

pub(super) fn pg_type(source: &Source, rows: &mut Rows) {
    rows.push_data(DATA);
    for (_, table) in source.tables() {
        push_table_type(
            rows,
            &TableType {
                oid: table.row_type_oid,
                name: table.name.clone(),
                schema_oid: table.schema_oid,
                owner: table.owner,
                relation: table.oid,
                element: 0,
                array: table.array_type_oid,
            },
        );
        push_table_type(
            rows,
            &TableType {
                oid: table.array_type_oid,
                name: format!("_{}", table.name),
                schema_oid: table.schema_oid,
                owner: table.owner,
                relation: 0,
                element: table.row_type_oid,
                array: 0,
            },
        );
    }
}

/// The row type of a table, or the array type over it.
struct TableType {
    oid: u32,
    name: String,
    schema_oid: u32,
    owner: u32,
    relation: u32,
    element: u32,
    array: u32,
}

fn push_table_type(rows: &mut Rows, of: &TableType) {
    let is_array = of.element != 0;
    let [input, output, receive, send] = if is_array { ARRAY_FUNCTIONS } else { RECORD_FUNCTIONS };
    let for_array = |oid: u32| Cell::Oid(if is_array { oid } else { 0 });
    rows.push([
        ("oid", of.oid.into()),
        ("typname", of.name.as_str().into()),
        ("typnamespace", of.schema_oid.into()),
        ("typowner", of.owner.into()),
        ("typlen", int(-1)),
        ("typbyval", false.into()),
        ("typtype", if is_array { "b" } else { "c" }.into()),
        ("typcategory", if is_array { "A" } else { "C" }.into()),
        ("typispreferred", false.into()),
        ("typisdefined", true.into()),
        ("typdelim", ",".into()),
        ("typrelid", of.relation.into()),
        ("typsubscript", for_array(ARRAY_SUBSCRIPT)),
        ("typelem", of.element.into()),
        ("typarray", of.array.into()),
        ("typinput", Cell::Oid(input)),
        ("typoutput", Cell::Oid(output)),
        ("typreceive", Cell::Oid(receive)),
        ("typsend", Cell::Oid(send)),
        ("typmodin", Cell::Oid(0)),
        ("typmodout", Cell::Oid(0)),
        ("typanalyze", for_array(ARRAY_ANALYZE)),
        ("typalign", "d".into()),
        ("typstorage", "x".into()),
        ("typnotnull", false.into()),
        ("typbasetype", Cell::Oid(0)),
        ("typtypmod", int(-1)),
        ("typndims", int(0)),
        ("typcollation", Cell::Oid(0)),
    ]);
}
