//! An incremental, order-independent hash of a table's live rows.
