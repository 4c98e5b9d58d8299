//! Functions in FROM that give sets: their lists, unnested beside the rows on their left.

use datafusion::{
    common::{Column, UnnestOptions},
    logical_expr::{Case, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator},
    sql::sqlparser::ast,
};

use super::{
    Planner,
    bound::Bound,
    from::Relation,
    nulls::first_not_null,
    operators::binary,
    scope::{Scope, ScopeColumn, ScopeTable},
};
use crate::{
    error::SqlError,
    query::{
        errors::sql_error,
        functions::{array::shape, scalar, series},
    },
    types::PgType,
};

impl Planner<'_> {
    /// Lists side by side, as one table of that many columns.
    pub(super) fn lists_relation(
        &mut self,
        left: Relation,
        lists: Vec<(String, Bound)>,
        alias_name: &str,
        alias: Option<&ast::TableAlias>,
        ordinality: bool,
    ) -> Result<Relation, SqlError> {
        let qualifier = self.unique_qualifier(alias_name);
        let new_column = |ty: PgType, name: String, unique: String| ScopeColumn {
            name,
            ty,
            column: Column::new(Some(qualifier.clone()), unique),
            origin: (0, 0),
            keeps_modifier: true,
            merged: false,
            hidden: false,
        };
        let single = lists.len() == 1;
        let (mut columns, mut unnested) = (Vec::new(), Vec::new());
        for (name, list) in lists {
            let PgType::Array(of) = list.ty else {
                return Err(SqlError::internal(format!("{name} is no array")));
            };
            let unique = self.fresh_name(&name);
            let column = new_column(of.as_ref().clone(), name, unique);
            unnested.push((list.expr, column.column.clone()));
            columns.push(column);
        }
        let mut ordinal = None;
        if ordinality {
            let unique = self.fresh_name("ordinality");
            let column = new_column(PgType::Int8, "ordinality".to_owned(), unique);
            ordinal = Some(column.column.clone());
            columns.push(column);
        }
        let plan = unnest_beside(left.0, unnested, ordinal.as_ref())?;
        let mut entry = ScopeTable::unnamed_rows(alias_name, columns);
        self.rename_columns(&mut entry, alias)?;
        // The table's name stands for the value, where there is one.
        if single && alias_name != entry.columns[0].name {
            let name = alias_name.to_owned();
            entry.columns.push(ScopeColumn { hidden: true, name, ..entry.columns[0].clone() });
        }
        let right = Scope::of(entry);
        self.check_aliases(&left.1, &right)?;
        Ok((plan, left.1.join(right)))
    }
}

/// The left rows repeated for each element of the longest of lists over them.
pub(super) fn unnest_beside(
    left: LogicalPlan,
    lists: Vec<(Expr, Column)>,
    ordinal: Option<&Column>,
) -> Result<LogicalPlan, SqlError> {
    let mut exprs: Vec<_> = left.schema().columns().into_iter().map(Expr::Column).collect();
    let mut above = exprs.clone();
    // Unnesting takes the qualifier off: it is put on again above, from names nobody else has.
    let mut columns = Vec::new();
    let mut add = |list: Expr, to: &Column| {
        let internal = format!("__{}", to.flat_name());
        let column = Column::from_name(internal.clone());
        above.push(Expr::Column(column.clone()).alias_qualified(to.relation.clone(), &to.name));
        columns.push(column);
        exprs.push(list.alias(internal));
    };
    if let Some(ordinal) = ordinal {
        let lists: Vec<Expr> = lists.iter().map(|(list, _)| list.clone()).collect();
        add(longest_ordinals(&lists, left.schema())?, ordinal);
    }
    for (list, column) in lists {
        add(list, &column);
    }
    LogicalPlanBuilder::new(left)
        .project(exprs)
        .and_then(|builder| {
            let options = UnnestOptions::new().with_preserve_nulls(false);
            builder.unnest_columns_with_options(columns, options)
        })
        .and_then(|builder| builder.project(above))
        .and_then(|builder| builder.build())
        .map_err(sql_error)
}

/// The numbers of the elements of the longest list.
pub(super) fn longest_ordinals(
    lists: &[Expr],
    schema: &datafusion::common::DFSchemaRef,
) -> Result<Expr, SqlError> {
    let mut longest: Option<Expr> = None;
    for list in lists {
        let udf = series::ordinals(&list.get_type(schema).map_err(sql_error)?);
        let ordinals = scalar::call(&udf, vec![list.clone()]);
        longest = Some(match longest {
            None => ordinals,
            Some(before) => {
                let length = |list: &Expr| {
                    let length = scalar::call(&shape::cardinality(), vec![list.clone()]);
                    let none = datafusion::logical_expr::lit(-1_i32);
                    first_not_null(vec![length, none])
                };
                let shorter = binary(length(&before), Operator::Lt, length(&ordinals));
                Expr::Case(Case::new(
                    None,
                    vec![(Box::new(shorter), Box::new(ordinals))],
                    Some(Box::new(before)),
                ))
            }
        });
    }
    longest.ok_or_else(|| SqlError::internal("a table function without lists"))
}
