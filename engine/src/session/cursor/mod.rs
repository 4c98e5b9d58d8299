//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE.
//!
//! A cursor is a query that was planned and opened when it was declared: it sees what its transaction saw
//! then, whatever is written afterwards. Its rows are computed as they are fetched, a few batches ahead.
//! It ends with its transaction, or with the sub-transaction that declared it; one WITH HOLD reads
//! the rest of its rows when its transaction commits, and ends with the session.

mod rows;

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    datasource::source_as_provider,
    execution::memory_pool::MemoryConsumer,
    logical_expr::LogicalPlan,
};
use glaredb_txn::ids::TableId;
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::rows::{CursorRows, Left, Scroll};
use super::{
    Block, GivenUpAtEnd, Session,
    api::{Execution, FieldDescription, ParamValue, RowStream},
    context::ExecutionContext,
    prepare::{Plan, Prepared},
    run,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        planner,
        scan::StoredTable,
        statement::{Declare, Fetch},
    },
};

/// A cursor, as `pg_cursors` shows it.
#[derive(Clone, Debug)]
pub struct CursorFacts {
    pub name: String,
    /// The query string that declared it.
    pub statement: Arc<str>,
    pub is_holdable: bool,
    pub is_binary: bool,
    pub is_scrollable: bool,
    /// Microseconds since 1970-01-01 UTC.
    pub created_us: i64,
    /// The storages it may still read.
    pub reads: Arc<[TableId]>,
}

pub(super) struct Cursor {
    facts: CursorFacts,
    fields: Arc<[FieldDescription]>,
    /// Who fetches has it locked.
    rows: Arc<Mutex<CursorRows>>,
    /// How many savepoints the session had set when it was declared.
    savepoints: u64,
    held: Held,
    _given_up: GivenUpAtEnd,
}

/// Whether a cursor outlives its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    No,
    /// If the commit that is under way succeeds.
    IfCommitted,
    Yes,
}

/// The cursors of a session, by name.
pub(super) type Cursors = BTreeMap<String, Cursor>;

impl Session {
    /// Columns of a cursor's rows; `None` if there is none of that name.
    #[must_use]
    pub fn cursor_fields(&self, name: &str) -> Option<&Arc<[FieldDescription]>> {
        self.cursors.get(name).map(|cursor| &cursor.fields)
    }

    pub(super) async fn declare(
        &mut self,
        prepared: &Prepared,
        declare: &Declare,
        params: &[ParamValue],
    ) -> Result<Execution, SqlError> {
        if !declare.hold && self.block == Block::Autocommit {
            return Err(SqlError::new(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        if self.cursors.contains_key(&declare.name) {
            return Err(SqlError::new(
                sqlstate::DUPLICATE_CURSOR,
                format!("cursor \"{}\" already exists", declare.name),
            ));
        }
        let query = prepared
            .inner()
            .ok_or_else(|| SqlError::internal("a cursor was prepared without its query"))?;
        let mut context = self.statement_context()?;
        // What else the session gives up meanwhile does not concern the cursor.
        let given_up = GivenUpAtEnd(context.give_up_apart());
        let mut cursor = open(&context, query, params, declare, given_up).await?;
        let statement = match prepared.statement() {
            Some(statement) => Arc::clone(&statement.source),
            None => "".into(),
        };
        cursor.savepoints = self.savepoints_set;
        cursor.facts.statement = statement;
        if self.block == Block::Autocommit {
            cursor.rows.lock().await.hold().await?;
            cursor.held = Held::Yes;
            cursor.facts.reads = [].into();
        }
        self.cursors.insert(declare.name.clone(), cursor);
        self.show_cursors();
        Ok(Execution::Command { tag: "DECLARE CURSOR".to_owned() })
    }

    /// FETCH and MOVE.
    pub(super) async fn fetch(&mut self, fetch: &Fetch) -> Result<Execution, SqlError> {
        let cursor = self.cursors.get(&fetch.name).ok_or_else(|| missing(&fetch.name))?;
        let rows = Arc::clone(&cursor.rows).try_lock_owned();
        let mut rows = rows.map_err(|_| active(&fetch.name))?;
        let mut left = rows.start(fetch.direction, fetch.moves).await?;
        if fetch.moves {
            let mut count = 0;
            if left == Left::Current {
                (count, left) = (1, Left::Nothing);
            }
            while let Some(batch) = rows.next(&mut left).await? {
                count += batch.num_rows();
            }
            return Ok(Execution::Command { tag: format!("MOVE {count}") });
        }
        Ok(Execution::Rows {
            fields: Arc::clone(&cursor.fields),
            stream: fetched(rows, left),
            tag: "FETCH {n}".to_owned(),
            binary: cursor.facts.is_binary,
        })
    }

    /// CLOSE; `None` closes all.
    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<Execution, SqlError> {
        let tag = match name {
            Some(name) => {
                self.cursors.remove(name).ok_or_else(|| missing(name))?;
                "CLOSE CURSOR"
            }
            None => {
                self.cursors.clear();
                "CLOSE CURSOR ALL"
            }
        };
        self.show_cursors();
        Ok(Execution::Command { tag: tag.to_owned() })
    }

    /// Those WITH HOLD read the rest of their rows: the transaction is about to commit.
    ///
    /// # Errors
    /// 53200 if they do not fit; those of their queries.
    pub(super) async fn hold_cursors(&mut self) -> Result<(), SqlError> {
        for cursor in self.cursors.values_mut() {
            if cursor.facts.is_holdable && cursor.held == Held::No {
                let rows = cursor.rows.try_lock();
                rows.map_err(|_| active(&cursor.facts.name))?.hold().await?;
                cursor.held = Held::IfCommitted;
                cursor.facts.reads = [].into();
            }
        }
        Ok(())
    }

    /// The transaction did not commit: what was to outlive it does not.
    pub(super) fn undo_held(&mut self) {
        self.retain_cursors(|cursor| cursor.held == Held::Yes);
    }

    /// The transaction is over, or was left to its commit: its cursors end, but for those that are held.
    pub(super) fn end_cursors(&mut self) {
        self.retain_cursors(|cursor| cursor.held != Held::No);
    }

    /// The commit has succeeded.
    pub(super) fn keep_held(&mut self) {
        for cursor in self.cursors.values_mut() {
            if cursor.held == Held::IfCommitted {
                cursor.held = Held::Yes;
            }
        }
        self.show_cursors();
    }

    /// The sub-transactions are undone that began when so many savepoints were set, or more.
    pub(super) fn undo_cursors(&mut self, savepoints: u64) {
        self.retain_cursors(|cursor| cursor.held == Held::Yes || cursor.savepoints < savepoints);
    }

    fn retain_cursors(&mut self, stays: impl Fn(&Cursor) -> bool) {
        let before = self.cursors.len();
        self.cursors.retain(|_, cursor| stays(cursor));
        if self.cursors.len() != before {
            self.show_cursors();
        }
    }

    fn show_cursors(&self) {
        let facts = self.cursors.values().map(|cursor| cursor.facts.clone());
        *self.objects.cursors.lock() = facts.collect();
    }
}

/// Plans and opens the query of a cursor.
async fn open(
    context: &ExecutionContext,
    query: &Prepared,
    params: &[ParamValue],
    declare: &Declare,
    given_up: GivenUpAtEnd,
) -> Result<Cursor, SqlError> {
    let Plan::Query(plan) = query.plan_in(context)? else {
        return Err(SqlError::internal("a cursor is for something else than a query"));
    };
    if !plan.planned.changes.is_empty() {
        let message = "DECLARE CURSOR must not contain data-modifying statements in WITH";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let (stream, goes_back): (RowStream, bool) =
        match run::at_once(context, plan.point(context), params).await? {
            Some(rows) => (Box::pin(futures::stream::iter([Ok(rows)])), true),
            None => {
                let logical = run::bind(context, &plan.planned.plan, params)?;
                let goes_back = goes_back(&logical);
                // An error comes out of the FETCH that meets it.
                (run::query(context, logical, &Arc::default()).await?, goes_back)
            }
        };
    let scroll = match declare.scroll {
        Some(true) => Scroll::Full,
        Some(false) => Scroll::No,
        None if goes_back => Scroll::Little,
        None => Scroll::No,
    };
    let pool = context.engine.memory_pool();
    let memory = MemoryConsumer::new(format!("cursor \"{}\"", declare.name)).register(&pool);
    Ok(Cursor {
        facts: CursorFacts {
            name: declare.name.clone(),
            statement: "".into(),
            is_holdable: declare.hold,
            is_binary: declare.binary,
            is_scrollable: scroll != Scroll::No,
            created_us: context.statement_start_us,
            reads: storages(&plan.planned.plan),
        },
        fields: Arc::clone(&plan.planned.fields),
        rows: Arc::new(Mutex::new(CursorRows::new(&declare.name, stream, scroll, memory))),
        savepoints: 0,
        held: Held::No,
        _given_up: given_up,
    })
}

/// The storages that a plan reads.
fn storages(plan: &LogicalPlan) -> Arc<[TableId]> {
    let mut found = Vec::new();
    let walked = plan.apply_with_subqueries(|operator| {
        if let LogicalPlan::TableScan(scan) = operator
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = provider.downcast_ref::<StoredTable>()
        {
            found.push(table.id);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(walked.is_ok(), "looking at a plan does not fail");
    found.into()
}

/// Whether PostgreSQL's plan for such a query can be run backwards, so that its cursors may go back though
/// they were not declared SCROLL.
fn goes_back(plan: &LogicalPlan) -> bool {
    let mut goes_back = true;
    let walked = plan.apply(|operator| {
        goes_back &= matches!(
            operator,
            LogicalPlan::TableScan(_)
                | LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::Limit(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::Values(_)
                | LogicalPlan::EmptyRelation(_)
                | LogicalPlan::Union(_)
                | LogicalPlan::Extension(_)
        ) || planner::is_row_count_window(operator);
        Ok(if goes_back { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    goes_back && walked.is_ok()
}

/// The rows of a FETCH. The cursor is locked until they were taken or given up.
fn fetched(rows: OwnedMutexGuard<CursorRows>, left: Left) -> RowStream {
    Box::pin(futures::stream::try_unfold((rows, left), |(mut rows, mut left)| async move {
        let batch = rows.next(&mut left).await?;
        Ok(batch.map(|batch| (batch, (rows, left))))
    }))
}

/// Another FETCH has not come to its end.
fn active(name: &str) -> SqlError {
    SqlError::new(sqlstate::OBJECT_IN_USE, format!("portal \"{name}\" is already active"))
}

fn missing(name: &str) -> SqlError {
    let message = format!("cursor \"{name}\" does not exist");
    SqlError::new(sqlstate::INVALID_CURSOR_NAME, message)
}
