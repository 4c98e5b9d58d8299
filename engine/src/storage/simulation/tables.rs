//! One small kind of table, and what it holds as a map: what the simulated workload writes.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use futures::executor::block_on;
use glaredb_catalog::{
    Catalog, CatalogChange, conflict,
    descriptor::{self, PrimaryKey, builtin},
};
use glaredb_txn::{
    commit::message::CommitRequest,
    ids::{CommitId, Locator, RowId, SchemaVersion, Snapshot, TableId, Timestamp},
};

use crate::storage::{
    codec::key::EncodedKeys,
    schema::TableSchema,
    segment::{Projection, SegmentStore},
    state::State,
    table::{SegmentView, Table, TableView, Visibility},
    warmed::Warmed,
    write_set::{Deletion, EncodedPart, WriteSet},
};

/// OIDs of bool … are below; these tables have `(k bigint primary key, v text)`.
const INT8_OID: u32 = 20;
const TEXT_OID: u32 = 25;

/// A descriptor with its OIDs from `first_oid` on (five of them).
pub(super) fn table(name: &str, storage: TableId, first_oid: u32) -> descriptor::Table {
    let column = |number: i16, name: &str, type_oid, not_null| descriptor::Column {
        id: number as u32,
        number,
        name: name.into(),
        type_oid,
        typmod: -1,
        not_null,
        default: None,
        default_oid: 0,
        ..descriptor::Column::default()
    };
    descriptor::Table {
        oid: first_oid,
        name: name.into(),
        schema_oid: builtin::SCHEMA_PUBLIC,
        owner: builtin::ROLE_POSTGRES,
        row_type_oid: first_oid + 1,
        array_type_oid: first_oid + 2,
        storage,
        version: SchemaVersion(1),
        columns: vec![column(1, "k", INT8_OID, true), column(2, "v", TEXT_OID, false)],
        next_column_id: 3,
        primary_key: Some(PrimaryKey {
            oid: first_oid + 3,
            constraint_oid: first_oid + 4,
            name: format!("{name}_pkey"),
            columns: vec![1],
        }),
        options: BTreeMap::new(),
        ..descriptor::Table::default()
    }
}

/// What a commit does to one table: the new value of each key, `None` for none.
pub(super) type Effects = BTreeMap<i64, Option<String>>;

/// A transaction being gathered.
pub(super) struct Transaction {
    writes: WriteSet,
    snapshot: Snapshot,
    catalog: Arc<Catalog>,
    claims: conflict::Claims,
}

impl Transaction {
    pub(super) fn begin(state: &State, snapshot: Snapshot) -> Self {
        Self {
            writes: WriteSet::new(state.budget().clone()),
            snapshot,
            catalog: state.catalog_at(snapshot.timestamp),
            claims: conflict::Claims::default(),
        }
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Makes the table hold these values under these keys. Returns what that does: deleting a key
    /// that the snapshot does not have is nothing.
    pub(super) fn put(
        &mut self,
        table: &Table,
        store: &SegmentStore,
        mut effects: Effects,
    ) -> Effects {
        let schema = table.schema();
        let at = self.snapshot.timestamp;
        let keys: Vec<i64> = effects.keys().copied().collect();
        let encoded = encode_keys(&schema, &keys);
        let found = look_up(table, store, &encoded, at).into_iter().enumerate();
        let old: Vec<(usize, Locator)> = found.filter_map(|(n, at)| Some((n, at?))).collect();
        let locators: Vec<Locator> = old.iter().map(|(_, locator)| *locator).collect();
        let warmed = Warmed::new(store.clone());
        let row_ids = warmed.answer(|warmed| table.fetch_row_ids(&locators, warmed));
        let row_ids = block_on(row_ids).expect("rows that were found");
        if !locators.is_empty() {
            let keys = EncodedKeys::from_keys(old.iter().map(|(n, _)| encoded.get(*n)));
            let rows = Deletion { locators: &locators, row_ids: &row_ids, keys: Some(&keys) };
            self.writes
                .delete(table.id(), Some(table), &schema, rows, self.snapshot.position)
                .expect("deletions always fit");
        }
        let by_key: BTreeMap<i64, _> =
            old.iter().zip(&row_ids).map(|((n, _), id)| (keys[*n], *id)).collect();
        effects.retain(|key, value| value.is_some() || by_key.contains_key(key));
        // Updated rows keep their ids; new ones get some from the leader.
        for updated in [true, false] {
            let rows: Vec<(i64, &String)> = effects
                .iter()
                .filter(|(key, _)| by_key.contains_key(key) == updated)
                .filter_map(|(key, value)| Some((*key, value.as_ref()?)))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let kept = updated.then(|| rows.iter().map(|(key, _)| by_key[key]).collect());
            let keys: Vec<i64> = rows.iter().map(|(key, _)| *key).collect();
            let batch = batch(&schema, &rows);
            let encoded = encode_keys(&schema, &keys);
            let position = self.snapshot.position;
            self.writes
                .insert(table.id(), &schema, batch, kept, Some(&encoded), position)
                .expect("the budget is large enough");
        }
        effects
    }

    pub(super) fn change_catalog(&mut self, change: CatalogChange) {
        let claims = conflict::claims(&self.catalog, self.snapshot.position, &change);
        self.claims.writes.extend(claims.writes);
        self.claims.assertions.extend(claims.assertions);
        self.writes.change_catalog(change);
    }

    /// Parts to be sent first, and the commit.
    pub(super) fn finish(self, id: CommitId) -> (Vec<Bytes>, CommitRequest) {
        let encoded = self.writes.finish().expect("encodes");
        let mut writes = encoded.writes;
        for write in &self.claims.writes {
            writes.push(write.into());
        }
        let request = CommitRequest {
            id,
            schema_versions: encoded.schema_versions,
            writes,
            assertions: encoded.assertions.into_iter().chain(self.claims.assertions).collect(),
            parts: encoded.parts.len() as u32,
            payload: encoded.payload,
            ..CommitRequest::default()
        };
        (encoded.parts.iter().map(EncodedPart::payload).collect(), request)
    }
}

fn look_up(
    table: &Table,
    store: &SegmentStore,
    keys: &EncodedKeys,
    at: Timestamp,
) -> Vec<Option<Locator>> {
    let (warmed, keys) = (Warmed::new(store.clone()), keys.iter().collect::<Vec<_>>());
    block_on(warmed.answer(|warmed| table.lookup_all(&keys, at, warmed)))
        .expect("objects are there")
}

fn encode_keys(schema: &TableSchema, keys: &[i64]) -> EncodedKeys {
    let column: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    let encoder = schema.key_encoder().expect("the table has a key");
    encoder.encode_all(&[column]).expect("numbers are keys")
}

fn batch(schema: &TableSchema, rows: &[(i64, &String)]) -> RecordBatch {
    let keys: Int64Array = rows.iter().map(|(key, _)| Some(*key)).collect();
    let values: StringViewArray = rows.iter().map(|(_, value)| Some(value.as_str())).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values)];
    RecordBatch::try_new(schema.arrow().clone(), columns).expect("the table's columns")
}

/// A row as some source has it.
struct Found {
    value: String,
    row_id: RowId,
    at: Locator,
}

/// What the table holds at `at`; checks on the way that lookups agree with the scan.
pub(super) fn content(table: &Table, store: &SegmentStore, at: Timestamp) -> BTreeMap<i64, String> {
    rows(table, store, at).into_iter().map(|(key, (value, _))| (key, value)).collect()
}

/// The same with the rows' ids.
pub(super) fn rows(
    table: &Table,
    store: &SegmentStore,
    at: Timestamp,
) -> BTreeMap<i64, (String, RowId)> {
    let view = table.view(at);
    let mut rows = BTreeMap::new();
    rows_of_units(&view, &mut rows);
    for segment in view.segments() {
        block_on(rows_of_segment(&table.schema(), store, segment, at, &mut rows));
    }
    let keys: Vec<i64> = rows.keys().copied().collect();
    let found = look_up(table, store, &encode_keys(&table.schema(), &keys), at);
    // An edit may have come between: then the rows have other places.
    if !table.is_edited_since(view.list()) {
        for (key, found) in keys.iter().zip(found) {
            assert_eq!(found, Some(rows[key].at), "place of {key}");
        }
    }
    rows.into_iter().map(|(key, found)| (key, (found.value, found.row_id))).collect()
}

async fn rows_of_segment(
    schema: &TableSchema,
    store: &SegmentStore,
    view: &SegmentView,
    at: Timestamp,
    rows: &mut BTreeMap<i64, Found>,
) {
    let segment = view.segment().open(store, schema).await.expect("the object is there");
    let projection =
        Projection { columns: &[0, 1], row_ids: true, timestamps: true, ..Projection::default() };
    for group in 0..segment.row_groups() {
        let read = segment.read(schema, &projection, group, None).await.expect("it reads");
        let (keys, values) = (read.batch.column(0), read.batch.column(1).as_string_view());
        let keys = keys.as_primitive::<Int64Type>();
        let (row_ids, begins) = (read.row_ids.expect("asked"), read.timestamps.expect("asked"));
        for (n, row) in segment.row_group_rows(group).enumerate() {
            if begins.value(n) > at.0 || view.deleted().contains(row) {
                continue;
            }
            let found = Found {
                value: values.value(n).to_owned(),
                row_id: RowId(row_ids.value(n)),
                at: Locator { segment: segment.id(), row },
            };
            let old = rows.insert(keys.value(n), found);
            assert!(old.is_none(), "key {} is there twice", keys.value(n));
        }
    }
}

fn rows_of_units(view: &TableView, rows: &mut BTreeMap<i64, Found>) {
    for unit in view.units() {
        let all = 0..unit.rows();
        let (columns, row_ids) = (unit.columns(all.clone(), &[0, 1]), unit.row_ids(all.clone()));
        let (keys, values) = (columns[0].as_primitive::<Int64Type>(), columns[1].as_string_view());
        let mask = match unit.visible(all.clone()) {
            Visibility::All => None,
            Visibility::None => continue,
            Visibility::Mask(mask) => Some(mask),
        };
        for n in all.filter(|n| mask.as_ref().is_none_or(|mask| mask.value(*n))) {
            assert!(values.is_valid(n));
            let found = Found {
                value: values.value(n).to_owned(),
                row_id: RowId(row_ids.value(n)),
                at: unit.locator(n),
            };
            let old = rows.insert(keys.value(n), found);
            assert!(old.is_none(), "key {} is there twice", keys.value(n));
        }
    }
}
