//! The rows that an INSERT, UPDATE or DELETE in WITH returns, as the rest of the statement reads them.
//!
//! All parts of such a statement see what was there before it: their plans are made, and know the rows they
//! scan, before the first of them changes anything. What reads these rows waits for them.

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    catalog::streaming::StreamingTable,
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::TableSource,
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
};
use futures::{StreamExt, stream};
use tokio::sync::watch;

/// The rows of one item of WITH, in one execution of the statement.
#[derive(Clone, Debug)]
pub struct ReturnedRows {
    schema: SchemaRef,
    rows: Arc<watch::Sender<Option<Arc<[RecordBatch]>>>>,
}

impl ReturnedRows {
    #[must_use]
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, rows: Arc::new(watch::channel(None).0) }
    }

    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A table of them.
    ///
    /// # Errors
    /// None but by a fault of ours.
    pub fn source(&self) -> Result<Arc<dyn TableSource>> {
        let partition: Arc<dyn PartitionStream> = Arc::new(self.clone());
        let table = StreamingTable::try_new(Arc::clone(&self.schema), vec![partition])?;
        Ok(datafusion::datasource::provider_as_source(Arc::new(table)))
    }

    /// The change is made. `rows`: in the columns of the schema, under any names.
    ///
    /// # Errors
    /// None but by a fault of ours.
    pub fn fill(&self, rows: Vec<RecordBatch>) -> Result<()> {
        let named = rows.into_iter().map(|batch| {
            let options =
                arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
        });
        let named = named.collect::<std::result::Result<Vec<_>, _>>()?;
        self.rows.send_replace(Some(named.into()));
        Ok(())
    }
}

impl PartitionStream for ReturnedRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut rows = self.rows.subscribe();
        let read = async move {
            let rows = rows.wait_for(Option::is_some).await;
            let rows = rows.ok().and_then(|rows| rows.clone()).unwrap_or_default();
            stream::iter((0..rows.len()).map(move |n| Ok(rows[n].clone())))
        };
        let stream = stream::once(read).flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))
    }
}
