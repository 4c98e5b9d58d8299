//! What the first start puts into an empty database.

use glaredb_catalog::{conflict, descriptor::builtin};
use glaredb_txn::commit::message::{Answer, CommitRequest, Request, decode_answer, encode_request};

use crate::storage::{background::Shared, recovery::OpenError, write_set::WriteSet};

/// Commits role and database `postgres` and the built-in schemas, through the log like any DDL, if
/// the catalog is empty. A crash before it is durable leaves the catalog empty, and the next start
/// does it again.
pub(super) fn bootstrap(shared: &Shared) -> Result<(), OpenError> {
    let snapshot = shared.leader.snapshots().register();
    let catalog = shared.state.catalog_at(snapshot.timestamp());
    if catalog.role_by_oid(builtin::ROLE_POSTGRES).is_some() {
        return Ok(());
    }
    let change = builtin::bootstrap();
    let claims = conflict::claims(&catalog, snapshot.snapshot().position, &change);
    let mut writes = WriteSet::new(shared.state.budget().clone());
    writes.change_catalog(change);
    let encoded = writes.finish().map_err(|e| OpenError::Bootstrap(e.to_string()))?;
    let request = CommitRequest {
        id: shared.leader.new_commit_id(),
        assertions: claims.assertions,
        payload: encoded.payload,
        ..CommitRequest::default()
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    let reply = move |answer| {
        // Received below, always.
        let _ = sender.send(answer);
    };
    shared.leader.submit(encode_request(&Request::Commit(request)), Box::new(reply));
    let answer = receiver.recv().map_err(|e| OpenError::Bootstrap(e.to_string()))?;
    match decode_answer(&answer) {
        Ok(Answer::Committed { .. }) => {
            tracing::info!(database = %shared.database, "created a new database");
            Ok(())
        }
        Ok(other) => Err(OpenError::Bootstrap(format!("{other:?}"))),
        Err(error) => Err(OpenError::Bootstrap(error.to_string())),
    }
}
