//! Rows as values: `ROW(…)`, rows of tables and subqueries, their fields, and casts between their types.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use datafusion::{
    common::Column,
    logical_expr::{Case, Expr, LogicalPlan, Operator, Projection, lit},
    scalar::ScalarValue,
    sql::sqlparser::ast::{self, Visit, Visitor},
};

use super::{
    Planner,
    arrays::equality_needed,
    bound::{Bound, same_base, type_name},
    coerce::CastContext,
    from::Relation,
    scope::{Env, Scope, ScopeColumn, ScopeTable, outer_reference},
    table_lists::unnest_beside,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        errors::sql_error,
        functions::{record, scalar, subquery::row_field},
        parser::fold_identifier,
        statement::StatementKind,
        type_names,
    },
    types::{PgType, RecordType, record::RecordField},
};

/// A list of one value, which may be NULL.
fn array_of_one(value: &Bound) -> Expr {
    datafusion::functions_nested::expr_fn::make_array(vec![value.expr.clone()])
}

/// Collects the names that stand alone in expressions.
struct BareNames(HashSet<String>);

impl Visitor for BareNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Identifier(ident) => _ = self.0.insert(fold_identifier(ident)),
            ast::Expr::QualifiedWildcard(name, _) => self.star(name),
            ast::Expr::Function(ast::Function {
                args: ast::FunctionArguments::List(list), ..
            }) => {
                for arg in &list.args {
                    if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::QualifiedWildcard(
                        name,
                    )) = arg
                    {
                        self.star(name);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl BareNames {
    fn star(&mut self, name: &ast::ObjectName) {
        let last = name.0.last().and_then(|part| part.as_ident());
        self.0.extend(last.map(fold_identifier));
    }
}

impl Planner<'_> {
    /// What an outer join fills up with NULLs, with a column that says where there is a row, if a table
    /// of it may be asked for its rows as values.
    pub(super) fn with_presence(
        &mut self,
        (plan, mut scope): Relation,
    ) -> Result<Relation, SqlError> {
        if self.bare_names.is_none() {
            let mut names = BareNames(HashSet::new());
            let (with, body) = match self.statement.map(|statement| &statement.kind) {
                Some(StatementKind::Query(query)) => (None, query.visit(&mut names)),
                Some(StatementKind::Insert(dml)) => {
                    (dml.with.as_ref(), dml.change.visit(&mut names))
                }
                Some(StatementKind::Update(dml)) => {
                    (dml.with.as_ref(), dml.change.visit(&mut names))
                }
                Some(StatementKind::Delete(dml)) => {
                    (dml.with.as_ref(), dml.change.visit(&mut names))
                }
                _ => (None, ControlFlow::Continue(())),
            };
            let _ = body;
            if let Some(with) = with {
                let _ = with.visit(&mut names);
            }
            self.bare_names = Some(names.0);
        }
        let names = self.bare_names.as_ref();
        let asked = |table: &ScopeTable| {
            table.present.is_none() && names.is_some_and(|names| names.contains(&table.alias))
        };
        if !scope.tables.iter().any(asked) {
            return Ok((plan, scope));
        }
        let asked: Vec<bool> = scope.tables.iter().map(asked).collect();
        let name = self.fresh_name("__present");
        let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.push(lit(true).alias(&name));
        let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
        for (table, asked) in scope.tables.iter_mut().zip(asked) {
            if asked {
                table.present = Some(Column::from_name(&name));
            }
        }
        Ok((LogicalPlan::Projection(projection), scope))
    }

    /// A function in FROM that gives rows, or one row: as a table of their fields.
    pub(super) fn rows_relation(
        &mut self,
        (left, left_scope): Relation,
        rows: Bound,
        column: &Column,
        alias: Option<&ast::TableAlias>,
        function: &str,
        ordinality: bool,
    ) -> Result<Relation, SqlError> {
        let (of, list) = match &rows.ty {
            PgType::Array(of) => (of.as_ref().clone(), rows.expr.clone()),
            row => (row.clone(), array_of_one(&rows)),
        };
        let Some(record) = of.record().cloned() else {
            return Err(SqlError::internal(format!("{function} gives no rows")));
        };
        let qualifier = column.relation.clone();
        let ordinal =
            ordinality.then(|| Column::new(qualifier.clone(), self.fresh_name("ordinality")));
        let before = left.schema().columns();
        let plan = unnest_beside(left, vec![(list, column.clone())], ordinal.as_ref())?;
        let row = Bound::new(Expr::Column(column.clone()), of);
        let mut exprs: Vec<Expr> = before.into_iter().map(Expr::Column).collect();
        let mut columns = Vec::with_capacity(record.fields.len() + 1);
        let mut new_column = |name: String, ty: PgType, column: Column| {
            columns.push(ScopeColumn {
                name,
                ty,
                column,
                origin: (0, 0),
                keeps_modifier: true,
                merged: false,
                hidden: false,
            });
        };
        for (name, field) in self.fields_of(&row)? {
            let unique = self.fresh_name(&name);
            exprs.push(field.expr.alias_qualified(qualifier.clone(), &unique));
            new_column(name, field.ty, Column::new(qualifier.clone(), unique));
        }
        if let Some(ordinal) = ordinal {
            exprs.push(Expr::Column(ordinal.clone()));
            new_column("ordinality".to_owned(), PgType::Int8, ordinal);
        }
        let projection = Projection::try_new(exprs, Arc::new(plan)).map_err(sql_error)?;
        let name = alias.map_or_else(|| function.to_owned(), |a| fold_identifier(&a.name));
        let mut entry = ScopeTable::unnamed_rows(&name, columns);
        if !ordinality && !record.is_anonymous() {
            entry.row_type = Some(record);
        }
        self.rename_columns(&mut entry, alias)?;
        let right = Scope::of(entry);
        self.check_aliases(&left_scope, &right)?;
        Ok((LogicalPlan::Projection(projection), left_scope.join(right)))
    }

    /// The type that a name in the statement stands for, built in or of a relation's rows.
    pub(super) fn type_of(&self, name: &ast::DataType) -> Result<PgType, SqlError> {
        type_names::pg_type_among(name, &mut |schema, name| {
            let Some(table) = self.context.composite(schema, name)? else { return Ok(None) };
            self.note_type(schema, name, &table);
            Ok(table.row_type)
        })
    }

    /// `ROW(a, b)` and `(a, b)`. `t.*` among the fields stands for all columns of `t`.
    pub(super) fn row_of_fields(
        &mut self,
        fields: &[ast::Expr],
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let mut bounds = Vec::with_capacity(fields.len());
        for field in fields {
            match field {
                ast::Expr::QualifiedWildcard(name, _) => {
                    let whole = self.whole_row_named(name, env)?;
                    bounds.extend(self.fields_of(&whole)?.into_iter().map(|(_, bound)| bound));
                }
                field => bounds.push(self.expr(field, env)?),
            }
        }
        let of = RecordType::of_values(bounds.iter().map(|bound| bound.ty.clone()));
        self.row_of(bounds, of)
    }

    /// A row of fields that have the types of its own.
    pub(super) fn row_of(&mut self, fields: Vec<Bound>, of: RecordType) -> Result<Bound, SqlError> {
        if fields.is_empty() {
            return Err(SqlError::not_supported("a row without columns"));
        }
        let exprs = fields.into_iter().map(|field| field.expr).collect();
        let call = scalar::call(&record::row(&of), exprs);
        Ok(Bound::new(call, PgType::Record(Arc::new(of))))
    }

    /// The elements of lists side by side as a list of rows.
    pub(super) fn rows_of_lists(&mut self, lists: Vec<(String, Bound)>) -> Result<Bound, SqlError> {
        let (mut exprs, mut fields) = (Vec::new(), Vec::new());
        for (name, list) in lists {
            let PgType::Array(of) = &list.ty else {
                return Err(SqlError::internal(format!("{name} is no array")));
            };
            fields.push((name, of.as_ref().clone()));
            exprs.push(list.expr);
        }
        let of = RecordType::anonymous(fields);
        let call = scalar::call(&record::rows_of_lists(&of), exprs);
        Ok(Bound::new(call, PgType::Array(Arc::new(PgType::Record(Arc::new(of))))))
    }

    /// `t.*` as a value.
    pub(super) fn whole_row_named(
        &mut self,
        name: &ast::ObjectName,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let name = self.name_of(name)?;
        let Some((table, levels)) = self.find_table(name.schema.as_deref(), &name.name, env)?
        else {
            let message = format!("missing FROM-clause entry for table \"{}\"", name.name);
            let error = SqlError::new(sqlstate::UNDEFINED_TABLE, message);
            return Err(match name.position {
                Some(position) => error.position(position),
                None => error,
            });
        };
        self.whole_row(table, levels)
    }

    /// A row of a table `levels` queries further out: NULL where an outer join found none.
    pub(super) fn whole_row(
        &mut self,
        table: &ScopeTable,
        levels: usize,
    ) -> Result<Bound, SqlError> {
        let columns: Vec<_> = table.columns.iter().filter(|column| !column.hidden).collect();
        for column in &columns {
            self.note_used(column.origin);
        }
        let of = match &table.row_type {
            Some(named) if named.fields.len() == columns.len() => named.as_ref().clone(),
            _ => RecordType::anonymous(columns.iter().map(|c| (c.name.clone(), c.ty.clone()))),
        };
        let fields =
            columns.iter().map(|c| Bound::new(Expr::Column(c.column.clone()), c.ty.clone()));
        let mut row = self.row_of(fields.collect(), of)?;
        if let Some(present) = &table.present {
            let there = Expr::IsNotNull(Box::new(Expr::Column(present.clone())));
            let case = Case::new(None, vec![(Box::new(there), Box::new(row.expr))], None);
            row.expr = Expr::Case(case);
        }
        let scope = Scope::of(table.clone());
        outer_reference(row, levels, &scope)
    }

    /// A field of a row by its place.
    pub(super) fn field_at(&mut self, row: &Bound, place: usize) -> Result<Bound, SqlError> {
        let field = row
            .ty
            .record()
            .and_then(|of| of.fields.get(place))
            .ok_or_else(|| SqlError::internal(format!("no field {place} of {:?}", row.ty)))?;
        if let Some(fields) = record::fields_of_row(&row.expr) {
            return Ok(Bound::new(fields[place].clone(), field.ty.clone()));
        }
        if let Some(ScalarValue::Struct(constant)) = row.constant() {
            let nulls = arrow::array::Array::is_null(constant.as_ref(), 0);
            if nulls {
                return Bound::null(field.ty.clone());
            }
            let value = ScalarValue::try_from_array(constant.column(place), 0)
                .map_err(|error| SqlError::internal(error.to_string()))?;
            return Ok(Bound::literal(value, field.ty.clone()));
        }
        let udf = row_field(place, field.ty.arrow_type());
        Ok(Bound::new(scalar::call(&udf, vec![row.expr.clone()]), field.ty.clone()))
    }

    /// A row with another field, or a field in one: of no row comes one whose other fields are NULL.
    pub(super) fn with_field(
        &mut self,
        row: &Bound,
        path: &[usize],
        value: Bound,
    ) -> Result<Bound, SqlError> {
        let (Some(of), Some((place, rest))) = (row.ty.record().cloned(), path.split_first()) else {
            return Ok(value);
        };
        let mut fields: Vec<Bound> =
            self.fields_of(row)?.into_iter().map(|(_, field)| field).collect();
        let old = fields.get(*place).cloned().ok_or_else(|| SqlError::internal("no such field"))?;
        fields[*place] = self.with_field(&old, rest, value)?;
        self.row_of(fields, of.as_ref().clone())
    }

    /// All fields of a row with their names: `(row).*`.
    pub(super) fn fields_of(&mut self, row: &Bound) -> Result<Vec<(String, Bound)>, SqlError> {
        let Some(of) = row.ty.record().cloned() else {
            let message = format!("type {} is not composite", type_name(&row.ty));
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
        };
        let names = of.fields.iter().map(|field| field.name.clone()).enumerate();
        names.map(|(place, name)| Ok((name, self.field_at(row, place)?))).collect()
    }

    /// `(row).name`.
    pub(super) fn field_named(
        &mut self,
        row: &Bound,
        field: &ast::Ident,
    ) -> Result<Bound, SqlError> {
        let name = fold_identifier(field);
        let Some(of) = row.ty.record() else {
            let message = format!(
                "column notation .{name} applied to type {}, which is not a composite type",
                type_name(&row.ty)
            );
            return Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message));
        };
        match of.field_index(&name) {
            Some(place) => self.field_at(row, place),
            None => {
                let message = match of.is_anonymous() {
                    true => format!("could not identify column \"{name}\" in record data type"),
                    false => format!("column \"{name}\" not found in data type {}", of.name),
                };
                Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message))
            }
        }
    }

    /// `value IS [NOT] NULL`, of rows too.
    pub(super) fn null_test(
        &mut self,
        expr: &ast::Expr,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let bound = self.any(expr, env)?;
        if let PgType::Record(of) = &bound.ty {
            return Ok(self.row_nullness(&bound, of, negated));
        }
        let value = Box::new(bound.expr);
        Ok(Bound::bool(if negated { Expr::IsNotNull(value) } else { Expr::IsNull(value) }))
    }

    /// `row IS [NOT] NULL`.
    fn row_nullness(&self, row: &Bound, of: &RecordType, negated: bool) -> Bound {
        let udf = record::nullness(of, !negated);
        Bound::bool(scalar::call(&udf, vec![row.expr.clone()]))
    }

    /// A row as one of another type, field by field.
    pub(super) fn convert_row(
        &mut self,
        row: Bound,
        to: &Arc<RecordType>,
        explicit: bool,
    ) -> Result<Bound, SqlError> {
        let Some(from) = row.ty.record().cloned() else {
            return Err(SqlError::internal("a cast of a row that is none"));
        };
        let ty = PgType::Record(Arc::clone(to));
        let mismatch = |detail: String| {
            let message = format!("cannot cast type {} to {}", from.name, to.name);
            SqlError::new(sqlstate::CANNOT_COERCE, message).detail(detail)
        };
        if from.fields.len() != to.fields.len() {
            let what = if from.fields.len() < to.fields.len() { "few" } else { "many" };
            return Err(mismatch(format!("Input has too {what} columns.")));
        }
        let same = |(a, b): (&RecordField, &RecordField)| a.ty == b.ty;
        if from.fields.iter().zip(&to.fields).all(same) {
            return Ok(Bound::new(row.expr, ty));
        }
        let context = if explicit { CastContext::Explicit } else { CastContext::Assignment };
        let mut fields = Vec::with_capacity(to.fields.len());
        for (place, target) in to.fields.iter().enumerate() {
            let field = self.field_at(&row, place)?;
            let shown = type_name(&field.ty);
            let field = self.coerce(field, &target.ty, context).map_err(|error| {
                if error.sqlstate != sqlstate::CANNOT_COERCE {
                    return error;
                }
                mismatch(format!(
                    "Cannot cast type {shown} to {} in column {}.",
                    type_name(&target.ty),
                    place + 1
                ))
            })?;
            fields.push(field);
        }
        let converted = self.row_of(fields, to.as_ref().clone())?;
        if record::fields_of_row(&row.expr).is_some() || converted.constant().is_some() {
            let is_null = row.constant().is_some_and(ScalarValue::is_null);
            return if is_null { Bound::null(ty) } else { Ok(converted) };
        }
        // Of no row comes no row, where a row of NULLs would be one.
        let there = Expr::IsNotNull(Box::new(row.expr));
        let case = Case::new(None, vec![(Box::new(there), Box::new(converted.expr))], None);
        Ok(Bound::new(Expr::Case(case), ty))
    }

    /// An array of rows as one of another row type. What ARRAY writes out is cast row by row before.
    pub(super) fn convert_rows(&mut self, rows: &Bound, to: &PgType) -> Result<Bound, SqlError> {
        Err(SqlError::not_supported(format!(
            "cast from {} to {} with fields of other types",
            type_name(&rows.ty),
            type_name(to)
        )))
    }

    /// Two rows with fields of the same types, to be compared by their keys.
    pub(super) fn comparable_rows(
        &mut self,
        left: &Bound,
        right: &Bound,
        op: &Operator,
    ) -> Result<PgType, SqlError> {
        let (Some(a), Some(b)) = (left.ty.record(), right.ty.record()) else {
            return Err(SqlError::internal("a comparison of rows that are none"));
        };
        let mismatch = |message: String| SqlError::new(sqlstate::DATATYPE_MISMATCH, message);
        for (n, (x, y)) in a.fields.iter().zip(&b.fields).enumerate() {
            if !same_base(&x.ty, &y.ty) {
                return Err(mismatch(format!(
                    "cannot compare dissimilar column types {} and {} at record column {}",
                    type_name(&x.ty),
                    type_name(&y.ty),
                    n + 1
                )));
            }
        }
        if a.fields.len() != b.fields.len() {
            let message = "cannot compare record types with different numbers of columns";
            return Err(mismatch(message.to_owned()));
        }
        for field in &a.fields {
            match op {
                Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
                    super::arrays::order_needed(&field.ty).map_err(|error| {
                        // Nobody can give another operator here.
                        let name = type_name(&field.ty);
                        let message =
                            format!("could not identify a comparison function for type {name}");
                        SqlError { hint: None, message, ..error }
                    })?;
                }
                _ => equality_needed(&field.ty)?,
            }
        }
        Ok(left.ty.clone())
    }
}
