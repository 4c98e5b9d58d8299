//! Sizes of tables: bytes as they lie in memory.

use std::sync::Arc;

use glaredb_catalog::{Catalog, Relation};
use glaredb_engine::{
    error::{SqlError, sqlstate},
    types::PgType,
};

use super::system_function::{Functions, Value};
use crate::pg_catalog::{StorageFigures, TableFigures};

/// Which part of a table.
#[derive(Clone, Copy)]
enum Part {
    Rows,
    Indexes,
    All,
}

pub(super) fn add(functions: &mut Functions, figures: &Arc<dyn StorageFigures>) {
    use PgType::{Bool, Int4, Int8, Name, Oid, Regclass, Text};
    let sizes = [
        ("pg_relation_size", &[Regclass][..], Part::Rows),
        ("pg_relation_size", &[Regclass, Text], Part::Rows),
        ("pg_table_size", &[Regclass], Part::Rows),
        ("pg_indexes_size", &[Regclass], Part::Indexes),
        ("pg_total_relation_size", &[Regclass], Part::All),
    ];
    for (name, arguments, part) in sizes {
        let figures = Arc::clone(figures);
        functions.strict(name, arguments, Int8, move |call| {
            // The other forks of a relation are PostgreSQL's own.
            if call.text(1).is_some_and(|fork| fork != "main") {
                return Some(Value::Int(0));
            }
            relation_bytes(&call.context.catalog, &*figures, call.oid(0)?, part).map(Value::Int)
        });
    }
    // One database, which lies in one tablespace.
    for (name, by) in
        [("pg_database_size", Name), ("pg_database_size", Oid), ("pg_tablespace_size", Oid)]
    {
        let figures = Arc::clone(figures);
        functions.strict(name, &[by], Int8, move |call| {
            let tables = call.context.catalog.tables();
            let bytes: u64 = tables
                .filter_map(|table| figures.table(table.storage))
                .map(|figures| figures.row_bytes + figures.index_bytes)
                .sum();
            Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX))
        });
    }
    functions.strict("pg_size_pretty", &[Int8], Text, |call| {
        call.int(0).map(|bytes| pretty(bytes.into()))
    });
    functions.strict("pg_size_pretty", &[PgType::Numeric(None)], Text, |call| {
        call.text(0).and_then(pretty_numeric)
    });
    functions.fallible("pg_size_bytes", &[Text], Int8, |call| {
        size_bytes(call.text(0).unwrap_or_default()).map(Value::Int)
    });
    // How indexes are used is not counted: null, not zero.
    functions.strict("pg_stat_get_numscans", &[Oid], Int8, |_| Value::Null);
    functions.strict("pg_relation_filenode", &[Regclass], Oid, |call| {
        match call.context.catalog.relation_by_oid(call.oid(0)?)? {
            Relation::Table(table) => Some(Value::Oid(table.storage.0)),
            Relation::KeyIndex(table) => table.primary_key.as_ref().map(|key| Value::Oid(key.oid)),
        }
    });
    functions.strict("pg_relation_is_publishable", &[Regclass], Bool, |call| {
        call.oid(0).map(|oid| call.context.catalog.table_by_oid(oid).is_some())
    });
    functions.strict("pg_relation_is_updatable", &[Regclass, Bool], Int4, |call| {
        // Bits of the commands: UPDATE 4, INSERT 8, DELETE 16.
        let is_table =
            call.oid(0).is_some_and(|oid| call.context.catalog.table_by_oid(oid).is_some());
        Value::Int(if is_table { 28 } else { 0 })
    });
}

fn relation_bytes(
    catalog: &Catalog,
    figures: &dyn StorageFigures,
    oid: u32,
    part: Part,
) -> Option<i64> {
    let (table, part) = match catalog.relation_by_oid(oid) {
        Some(Relation::Table(table)) => (table, part),
        // An index is all index.
        Some(Relation::KeyIndex(table)) => {
            (table, if matches!(part, Part::Indexes) { return Some(0) } else { Part::Indexes })
        }
        // System tables are computed: they take no room. What does not exist has no size.
        None => return crate::pg_catalog::relation_name(catalog, oid).map(|_| 0),
    };
    let TableFigures { row_bytes, index_bytes, .. } =
        figures.table(table.storage).unwrap_or_default();
    let bytes = match part {
        Part::Rows => row_bytes,
        Part::Indexes => index_bytes,
        Part::All => row_bytes + index_bytes,
    };
    Some(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// A bare numeric, which keeps its fraction only as bytes. `None`: it is no number.
fn pretty_numeric(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let bytes: i128 = whole.parse().ok()?;
    let small = bytes.abs() < 10 * 1024;
    Some(if small && !fraction.is_empty() { format!("{text} bytes") } else { pretty(bytes) })
}

/// `pg_size_bytes`: a number and perhaps a unit.
fn size_bytes(text: &str) -> Result<i64, SqlError> {
    let invalid = || {
        let message = format!("invalid size: \"{text}\"");
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
    };
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let mut end = trimmed.len() - trimmed.trim_start_matches(['+', '-']).len().min(trimmed.len());
    if end > 1 {
        return Err(invalid());
    }
    let digits = |at: usize| {
        let rest = &trimmed[at..];
        rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len()
    };
    let mut any = digits(end);
    end += any;
    if trimmed[end..].starts_with('.') {
        let more = digits(end + 1);
        any += more;
        end += 1 + more;
    }
    if any == 0 {
        return Err(invalid());
    }
    let exponent = trimmed[end..].strip_prefix(['e', 'E']);
    if let Some(rest) = exponent {
        let sign = usize::from(rest.starts_with(['+', '-']));
        let more = digits(end + 1 + sign);
        if more > 0 {
            end += 1 + sign + more;
        }
    }
    let (number, unit) = (&trimmed[..end], trimmed[end..].trim());
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "bytes" => 1.0,
        "kb" => 1024.0,
        "mb" => 1024.0_f64.powi(2),
        "gb" => 1024.0_f64.powi(3),
        "tb" => 1024.0_f64.powi(4),
        "pb" => 1024.0_f64.powi(5),
        _ => {
            return Err(invalid()
                .detail(format!("Invalid size unit: \"{unit}\"."))
                .hint("Valid units are \"bytes\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\"."));
        }
    };
    // Whole numbers exactly; others as precisely as doubles are.
    let exact = number.parse::<i128>().ok().and_then(|n| n.checked_mul(factor as i128));
    let bytes = match exact {
        Some(bytes) => bytes,
        None => (number.parse::<f64>().map_err(|_| invalid())? * factor).round() as i128,
    };
    i64::try_from(bytes)
        .map_err(|_| SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range"))
}

/// As PostgreSQL: in the largest unit of which there are at least ten, rounded half away from zero.
fn pretty(bytes: i128) -> String {
    const LIMIT: i128 = 10 * 1024;
    let mut size = bytes;
    if size.abs() < LIMIT {
        return format!("{size} bytes");
    }
    // One bit more than the unit, for rounding.
    size /= 1 << 9;
    for unit in ["kB", "MB", "GB", "TB"] {
        if size.abs() < 2 * LIMIT - 1 {
            return format!("{} {unit}", half_rounded(size));
        }
        size /= 1 << 10;
    }
    format!("{} PB", half_rounded(size))
}

fn half_rounded(size: i128) -> i128 {
    (size + size.signum()) / 2
}
