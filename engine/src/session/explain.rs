//! EXPLAIN.

use std::{fmt::Write as _, sync::Arc};

use datafusion::physical_plan::{
    displayable, execute_stream,
    metrics::{ExecutionPlanMetricsSet, MetricBuilder},
};
use futures::StreamExt;

use super::{
    api::{Execution, ParamValue},
    context::ExecutionContext,
    prepare::{self, Explained, Plan, text_field},
    run,
    set::text_rows,
};
use crate::{
    error::SqlError,
    query::{
        errors::sql_error,
        statement::{Explain, StatementKind},
    },
};

/// The lines of a plan by key with what it read, in the words of a scan.
fn analyzed(context: &ExecutionContext, mut lines: Vec<String>, rows: usize) -> Vec<String> {
    let counts = context.view.warmed.counts().unwrap_or_default();
    let metrics = ExecutionPlanMetricsSet::new();
    MetricBuilder::new(&metrics).output_rows(0).add(rows);
    for (name, count) in [
        ("segments", counts.segments),
        ("segments_pruned", counts.segments_pruned),
        ("resident_misses", counts.resident_misses),
        ("requests", counts.reads.requests),
        ("bytes_read", counts.reads.bytes),
        ("cache_hits", counts.reads.cache_hits),
        ("cache_misses", counts.reads.cache_misses),
    ] {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        MetricBuilder::new(&metrics).counter(name, 0).add(count);
    }
    let metrics = metrics.clone_inner().aggregate_by_name().sorted_for_display();
    if let Some(first) = lines.first_mut() {
        let _ = write!(first, ", metrics=[{metrics}]");
    }
    lines.push(format!("Rows: {rows}"));
    lines
}

pub(super) async fn execute(
    context: &ExecutionContext,
    explain: &Explain,
    explained: Option<&Explained>,
    params: &[ParamValue],
) -> Result<Execution, SqlError> {
    let named = explained.map(|explained| &explained.statement);
    let named_statement = named.and_then(|prepared| prepared.statement());
    let params = explained.and_then(|e| e.arguments.as_deref()).unwrap_or(params);
    let statement = match &explain.statement.kind {
        StatementKind::Execute(_) => {
            named_statement.ok_or_else(|| SqlError::not_supported("EXPLAIN of the empty query"))?
        }
        StatementKind::CreateTableAs(create)
            if matches!(create.query.kind, StatementKind::Execute(_)) =>
        {
            return Err(SqlError::not_supported("EXPLAIN CREATE TABLE AS EXECUTE"));
        }
        StatementKind::CreateTableAs(create) => &create.query,
        StatementKind::Query(_)
        | StatementKind::Insert(_)
        | StatementKind::Update(_)
        | StatementKind::Delete(_) => &explain.statement,
        _ => {
            let what = format!("EXPLAIN {}", explain.statement.command());
            return Err(SqlError::not_supported(what));
        }
    };
    let plan = match named {
        Some(prepared) => prepared.plan_in(context)?,
        None => prepare::plan(context, statement, &[])?,
    };
    if plan.changes_rows_in_with() {
        return Err(SqlError::not_supported("EXPLAIN of INSERT, UPDATE or DELETE in WITH"));
    }
    let (headline, logical, point) = match &plan {
        Plan::Query(plan) => (None, &plan.planned.plan, plan.point(context)),
        Plan::Dml(_, plan) => {
            let planned = &plan.planned;
            if explain.analyze {
                let what = format!("EXPLAIN ANALYZE {}", statement.command());
                return Err(SqlError::not_supported(what));
            }
            let verb = statement.command();
            let (first, rest) = verb.split_at(1);
            let verb = format!("{first}{}", rest.to_lowercase());
            let headline = format!("{verb} on {}", planned.table.name);
            (Some(headline), &planned.plan, plan.point(context))
        }
    };
    let state = context.session_state();
    let logical = run::bind(context, logical, params)?;
    let physical = state.create_physical_plan(&logical).await.map_err(sql_error)?;
    let mut text = String::new();
    if let Some(headline) = &headline {
        let _ = writeln!(text, "{headline}");
    }
    let clock = &context.engine.database().env().clock;
    let start = clock.monotonic();
    let by_key = match point.map(|point| (point, point.fits(params))) {
        None | Some((_, Some(false))) => None,
        Some((point, Some(true))) if !explain.analyze => point.explain(),
        Some((point, _)) => {
            context.view.warmed.watch();
            // Whether ranges are short shows as they are read; what fails was read, too.
            let rows = match run::at_once(context, Some(point), params).await {
                Err(error) if explain.analyze => return Err(error),
                Err(_) => Some(0),
                Ok(rows) => rows.map(|rows| rows.num_rows()),
            };
            let lines = rows.and_then(|_| point.explain());
            lines.map(|lines| match rows {
                Some(rows) if explain.analyze => analyzed(context, lines, rows),
                _ => lines,
            })
        }
    };
    if let Some(lines) = by_key {
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        if explain.analyze {
            let elapsed = clock.monotonic().saturating_sub(start);
            let _ = writeln!(text, "Execution Time: {:.3} ms", elapsed.as_secs_f64() * 1000.0);
        }
    } else if explain.analyze {
        let start = clock.monotonic();
        let mut rows = 0;
        let mut stream =
            execute_stream(Arc::clone(&physical), state.task_ctx()).map_err(sql_error)?;
        while let Some(batch) = stream.next().await {
            rows += batch.map_err(sql_error)?.num_rows();
            tokio::task::yield_now().await;
        }
        let elapsed = clock.monotonic().saturating_sub(start);
        let shown = datafusion::physical_plan::display::DisplayableExecutionPlan::with_metrics(
            physical.as_ref(),
        );
        let _ = write!(text, "{}", shown.indent(explain.verbose));
        let _ = writeln!(text, "Rows: {rows}");
        let _ = writeln!(text, "Execution Time: {:.3} ms", elapsed.as_secs_f64() * 1000.0);
    } else {
        let _ = write!(text, "{}", displayable(physical.as_ref()).indent(explain.verbose));
    }
    let lines = text.lines().enumerate().map(|(index, line)| {
        // Below its headline and its root a plan is drawn with arrows, as in PostgreSQL.
        let depth = line.len() - line.trim_start().len();
        let depth = depth / 2 + usize::from(headline.is_some() && index > 0);
        let line = line.trim_start();
        if depth == 0 || line.starts_with("Rows:") || line.starts_with("Execution Time:") {
            line.to_owned()
        } else if ["Key Cond:", "Filter:", "Limit:"].iter().any(|about| line.starts_with(about)) {
            // About the operator above.
            format!("{}{line}", " ".repeat(depth * 6 - 4))
        } else {
            format!("{}->  {line}", " ".repeat(depth * 6 - 4))
        }
    });
    text_rows(vec![text_field("QUERY PLAN")], vec![lines.collect()], "EXPLAIN")
}
