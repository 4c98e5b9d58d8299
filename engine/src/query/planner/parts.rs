//! What INSERT and UPDATE assign: columns, and parts of columns such as `a[1]`, `a[2:3]`,
//! `j['name'][0]` and `row.field`.

use datafusion::{
    logical_expr::Expr,
    sql::sqlparser::ast::{self, AssignmentTarget},
};

use super::{
    Planner, ResolvedColumn, ResolvedTable,
    bound::{Bound, type_name},
    coerce::CastContext,
    dml::is_default,
    nulls::first_not_null,
    scope::{Env, Scope},
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::{array::assign, scalar},
        parser::{PART, fold_identifier, parse_expression},
    },
    types::PgType,
};

/// What is assigned.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its place in the table.
    pub(super) column: usize,
    /// The part of it; none for the whole column.
    steps: Vec<ast::Subscript>,
    /// Or the field of it, by its place and those of the fields in it.
    fields: Vec<usize>,
    name: ast::ObjectName,
}

impl Target {
    pub(super) fn is_whole(&self) -> bool {
        self.steps.is_empty() && self.fields.is_empty()
    }

    fn is_slice(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, ast::Subscript::Slice { .. }))
    }

    /// The type of what is assigned to the part of a column of type `whole`.
    pub(super) fn takes(&self, whole: &PgType) -> PgType {
        let field = |ty: &PgType, place: &usize| Some(ty.record()?.fields.get(*place)?.ty.clone());
        if let Some((first, rest)) = self.fields.split_first()
            && let Some(of) = field(whole, first)
        {
            return rest
                .iter()
                .try_fold(of, |ty, place| field(&ty, place))
                .unwrap_or(whole.clone());
        }
        match whole {
            PgType::Array(of) if !self.is_whole() && !self.is_slice() => of.as_ref().clone(),
            whole => whole.clone(),
        }
    }
}

/// A statement without positions: what was parsed apart from it has positions of its own.
fn without_position(mut error: SqlError) -> SqlError {
    error.position = None;
    error
}

impl Planner<'_> {
    pub(super) fn insert_targets(
        &self,
        insert: &ast::Insert,
        table: &ResolvedTable,
    ) -> Result<Vec<Target>, SqlError> {
        if insert.columns.is_empty() {
            let whole = |column| Target {
                column,
                steps: Vec::new(),
                fields: Vec::new(),
                name: ast::ObjectName(Vec::new()),
            };
            return Ok((0..table.columns.len()).map(whole).collect());
        }
        let mut targets: Vec<Target> = Vec::with_capacity(insert.columns.len());
        for name in &insert.columns {
            let target = self.assigned(table, name)?;
            let clash = |other: &Target| {
                other.column == target.column && (other.is_whole() || target.is_whole())
            };
            if targets.iter().any(clash) {
                let message = format!(
                    "column \"{}\" specified more than once",
                    table.columns[target.column].name
                );
                return Err(self.at_name(SqlError::new(sqlstate::DUPLICATE_COLUMN, message), name));
            }
            targets.push(target);
        }
        Ok(targets)
    }

    /// The error with the place of a name.
    pub(super) fn at_name(&self, error: SqlError, name: &ast::ObjectName) -> SqlError {
        match name.0.first() {
            Some(ast::ObjectNamePart::Identifier(ident)) => self.at(error, ident),
            _ => error,
        }
    }

    /// The column, or part of one, that a name in SET or INSERT means.
    fn assigned(&self, table: &ResolvedTable, name: &ast::ObjectName) -> Result<Target, SqlError> {
        let (ident, steps, path) = match name.0.as_slice() {
            [ast::ObjectNamePart::Identifier(ident)] => (ident, Vec::new(), &[][..]),
            [ast::ObjectNamePart::Identifier(ident), ast::ObjectNamePart::Identifier(part)]
                if part.value.starts_with(PART) =>
            {
                (ident, steps(part)?, &[][..])
            }
            [ast::ObjectNamePart::Identifier(ident), path @ ..] => (ident, Vec::new(), path),
            _ => return Err(SqlError::not_supported(format!("assignment to {name}"))),
        };
        let wanted = fold_identifier(ident);
        let column = table.columns.iter().position(|c| c.name == wanted).ok_or_else(|| {
            let message =
                format!("column \"{wanted}\" of relation \"{}\" does not exist", table.name);
            self.at(SqlError::new(sqlstate::UNDEFINED_COLUMN, message), ident)
        })?;
        let ty = &table.columns[column].pg_type;
        let fields = assigned_fields(&wanted, ty, path).map_err(|e| self.at(e, ident))?;
        let target = Target { column, steps, fields, name: name.clone() };
        if !target.fields.is_empty() {
            return Ok(target);
        }
        let error = match ty {
            _ if target.is_whole() => return Ok(target),
            PgType::Array(_) if target.steps.len() == 1 => return Ok(target),
            PgType::Array(_) => SqlError::not_supported("arrays of more dimensions"),
            PgType::Jsonb if target.is_slice() => SqlError::new(
                sqlstate::DATATYPE_MISMATCH,
                "jsonb subscript does not support slices",
            ),
            PgType::Jsonb => return Ok(target),
            other => SqlError::new(
                sqlstate::DATATYPE_MISMATCH,
                format!(
                    "cannot subscript type {} because it does not support subscripting",
                    type_name(other)
                ),
            ),
        };
        Err(self.at_name(error, name))
    }

    /// Casts what is assigned to a target.
    pub(super) fn assign_to(
        &mut self,
        table: &ResolvedTable,
        target: &Target,
        value: Bound,
    ) -> Result<Bound, SqlError> {
        let column = &table.columns[target.column];
        if target.is_whole() {
            return self.assign(value, &column.name, &column.pg_type, false);
        }
        let (from, to) = (type_name(&value.ty), target.takes(&column.pg_type));
        self.coerce(value, &to, CastContext::Assignment).map_err(|error| {
            if error.sqlstate != sqlstate::CANNOT_COERCE {
                return error;
            }
            if let Some(ast::ObjectNamePart::Identifier(field)) =
                target.name.0.last().filter(|_| !target.fields.is_empty())
            {
                let message = format!(
                    "subfield \"{}\" is of type {} but expression is of type {from}",
                    fold_identifier(field),
                    type_name(&to)
                );
                let error = SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
                    .hint("You will need to rewrite or cast the expression.");
                return self.at_name(error, &target.name);
            }
            let message = format!(
                "subscripted assignment to \"{}\" requires type {} but expression is of type {from}",
                column.name,
                type_name(&to)
            );
            let error = SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
                .hint("You will need to rewrite or cast the expression.");
            self.at_name(error, &target.name)
        })
    }

    pub(super) fn default_of_target(
        &mut self,
        table: &ResolvedTable,
        target: &Target,
    ) -> Result<Bound, SqlError> {
        if target.is_whole() {
            return self.default_of(table, target.column);
        }
        let what = if target.fields.is_empty() { "an array element" } else { "a subfield" };
        let message = format!("cannot set {what} to DEFAULT");
        let error = SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message);
        Err(self.at_name(error, &target.name))
    }

    /// A column of INSERT, of which `old` was given so far, with one more part.
    pub(super) fn with_part_of_new_row(
        &mut self,
        table: &ResolvedTable,
        target: &Target,
        old: Option<Expr>,
        value: Expr,
    ) -> Result<Expr, SqlError> {
        let column = &table.columns[target.column];
        let old = match old {
            Some(old) => old,
            None => Bound::null(column.pg_type.clone())?.expr,
        };
        let value = Bound::new(value, target.takes(&column.pg_type));
        let scope = Scope::default();
        let env = Env::new(&scope, None, "VALUES");
        self.with_part(column, target, old, value, &env)
    }

    /// The column's value `old` with a new part.
    pub(super) fn with_part(
        &mut self,
        column: &ResolvedColumn,
        target: &Target,
        old: Expr,
        value: Bound,
        env: &Env<'_>,
    ) -> Result<Expr, SqlError> {
        if !target.fields.is_empty() {
            let old = Bound::new(old, column.pg_type.clone());
            return Ok(self.with_field(&old, &target.fields, value)?.expr);
        }
        match (&column.pg_type, target.steps.as_slice()) {
            (PgType::Array(of), [ast::Subscript::Index { index }]) => {
                let index = self.array_index(index, env)?;
                Ok(scalar::call(&assign::set_element(of), vec![old, index, value.expr]))
            }
            (
                PgType::Array(of),
                [ast::Subscript::Slice { lower_bound, upper_bound, stride: None }],
            ) => {
                let given = (lower_bound.is_some(), upper_bound.is_some());
                let mut end = |bound: &Option<ast::Expr>| match bound {
                    Some(bound) => self.array_index(bound, env),
                    None => Ok(Bound::int4(0).expr),
                };
                let (lower, upper) = (end(lower_bound)?, end(upper_bound)?);
                let udf = assign::set_slice(of, given);
                Ok(scalar::call(&udf, vec![old, lower, upper, value.expr]))
            }
            (PgType::Jsonb, steps) => {
                let old = Bound::new(old, PgType::Jsonb);
                self.with_json_part(old, steps, value, env)
            }
            (ty, steps) => {
                Err(SqlError::internal(format!("assignment to {steps:?} of {}", ty.sql_name())))
            }
        }
    }

    fn with_json_part(
        &mut self,
        old: Bound,
        steps: &[ast::Subscript],
        value: Bound,
        env: &Env<'_>,
    ) -> Result<Expr, SqlError> {
        let mut path = Vec::with_capacity(steps.len());
        let mut in_array = false;
        for (level, step) in steps.iter().enumerate() {
            let ast::Subscript::Index { index } = step else {
                return Err(SqlError::internal("a slice of jsonb"));
            };
            let (step, is_number) = self.json_step(index, env)?;
            in_array |= level == 0 && is_number;
            path.push(step);
        }
        let path = self.array_of(path, &PgType::Text)?;
        let empty = self.constant_of(if in_array { "[]" } else { "{}" }, &PgType::Jsonb, true)?;
        let null = self.constant_of("null", &PgType::Jsonb, true)?;
        let or = |expr: Expr, default| first_not_null(vec![expr, Expr::Literal(default, None)]);
        let old = Bound::new(or(old.expr, empty), PgType::Jsonb);
        let value = Bound::new(or(value.expr, null), PgType::Jsonb);
        Ok(self.call_builtin("jsonb_set_part", vec![old, path, value])?.expr)
    }

    /// One item of SET, which may assign several columns.
    pub(super) fn assignment(
        &mut self,
        assignment: &ast::Assignment,
        table: &ResolvedTable,
        env: &Env<'_>,
    ) -> Result<Vec<(Target, Bound)>, SqlError> {
        let value = |planner: &mut Self, target: Target, expr: &ast::Expr| {
            if is_default(expr) {
                let default = planner.default_of_target(table, &target);
                return default.map(|bound| (target, bound));
            }
            let bound = planner.expr(expr, env)?;
            let bound =
                planner.assign_to(table, &target, bound).map_err(|e| planner.locate(e, expr))?;
            Ok((target, bound))
        };
        match &assignment.target {
            AssignmentTarget::ColumnName(name) => {
                let target = self.assigned(table, name)?;
                Ok(vec![value(self, target, &assignment.value)?])
            }
            AssignmentTarget::Tuple(names) => {
                if let ast::Expr::Subquery(query) = &assignment.value {
                    return self.assign_row_of(names, query, table, env);
                }
                let fields = match &assignment.value {
                    ast::Expr::Tuple(fields) => fields.as_slice(),
                    ast::Expr::Nested(single) => std::slice::from_ref(single.as_ref()),
                    other => return Err(self.refuse(other, "this source of several columns")),
                };
                if fields.len() != names.len() {
                    return Err(SqlError::new(
                        sqlstate::SYNTAX_ERROR,
                        "number of columns does not match number of values",
                    ));
                }
                let mut assigned = Vec::new();
                for (name, expr) in names.iter().zip(fields) {
                    let target = self.assigned(table, name)?;
                    assigned.push(value(self, target, expr)?);
                }
                Ok(assigned)
            }
        }
    }

    /// `SET (a, b) = (SELECT …)`.
    fn assign_row_of(
        &mut self,
        names: &[ast::ObjectName],
        query: &ast::Query,
        table: &ResolvedTable,
        env: &Env<'_>,
    ) -> Result<Vec<(Target, Bound)>, SqlError> {
        let values = self.row_subquery(query, env)?;
        if values.len() != names.len() {
            return Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                "number of columns does not match number of values",
            ));
        }
        let mut assigned = Vec::with_capacity(names.len());
        for (name, value) in names.iter().zip(values) {
            let target = self.assigned(table, name)?;
            let value = self.assign_to(table, &target, value)?;
            assigned.push((target, value));
        }
        Ok(assigned)
    }
}

/// The places of a field of a column, and of fields in it, that are named one after the other.
///
/// # Errors
/// 42804, 42703.
fn assigned_fields(
    column: &str,
    ty: &PgType,
    path: &[ast::ObjectNamePart],
) -> Result<Vec<usize>, SqlError> {
    let mut fields = Vec::with_capacity(path.len());
    let mut here = ty.clone();
    for part in path {
        let ast::ObjectNamePart::Identifier(ident) = part else {
            return Err(SqlError::not_supported(format!("assignment to {part}")));
        };
        let name = fold_identifier(ident);
        if ident.value.starts_with(PART) {
            return Err(SqlError::not_supported("assignment to a part of a field"));
        }
        let refused = |sqlstate, why: String| {
            let message = format!("cannot assign to field \"{name}\" of column \"{column}\" {why}");
            Err(SqlError::new(sqlstate, message))
        };
        let Some(record) = here.record().cloned() else {
            let why = format!("because its type {} is not a composite type", type_name(&here));
            return refused(sqlstate::DATATYPE_MISMATCH, why);
        };
        let Some(place) = record.field_index(&name) else {
            let why = format!("because there is no such column in data type {}", record.name);
            return refused(sqlstate::UNDEFINED_COLUMN, why);
        };
        fields.push(place);
        here = record.fields[place].ty.clone();
    }
    Ok(fields)
}

/// The subscripts that a name stands for. Their positions are those of the statement, because the
/// text is read in the place where it stands there.
fn steps(part: &ast::Ident) -> Result<Vec<ast::Subscript>, SqlError> {
    let subscripts = part.value.trim_start_matches(PART);
    let start = part.span.start;
    let line = usize::try_from(start.line).unwrap_or(1).max(1);
    let column = usize::try_from(start.column).unwrap_or(1);
    // The brackets need something to stand behind.
    let before = match column {
        0 | 1 => "x".to_owned(),
        column => format!("{}{}x", "\n".repeat(line - 1), " ".repeat(column - 2)),
    };
    let expr = parse_expression(&format!("{before}{subscripts}")).map_err(without_position)?;
    let ast::Expr::CompoundFieldAccess { access_chain, .. } = expr else {
        return Err(SqlError::internal(format!("subscripts {subscripts}")));
    };
    let mut steps = Vec::with_capacity(access_chain.len());
    for access in access_chain {
        match access {
            ast::AccessExpr::Subscript(step) => steps.push(step),
            ast::AccessExpr::Dot(field) => {
                return Err(SqlError::not_supported(format!("assignment to field {field}")));
            }
        }
    }
    Ok(steps)
}
