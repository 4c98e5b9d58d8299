//! One small kind of table, and what it holds as a map: what the simulated workload writes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;
use futures::executor::block_on;
use glaredb_catalog::{
    Catalog, CatalogChange, conflict,
    descriptor::{self, PrimaryKey, builtin},
};
use glaredb_txn::{
    commit::message::CommitRequest,
    ids::{CommitId, Locator, RowId, SchemaVersion, SegmentId, Snapshot, TableId, Timestamp},
};

use parking_lot::Mutex;

use crate::storage::{
    codec::key::EncodedKeys,
    schema::TableSchema,
    segment::{Projection, SegmentStore},
    state::State,
    table::{Interval, Table, TableSegment, TableView, Visibility},
    warmed::Warmed,
    write_set::{Deletion, EncodedPart, PlacesSent, WriteSet},
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
    pub(super) fn put(&mut self, table: &Table, reader: &Reader, mut effects: Effects) -> Effects {
        let schema = table.schema();
        let found = rows(table, reader, self.snapshot.timestamp);
        let keys: Vec<i64> = effects.keys().copied().collect();
        let encoded = encode_keys(&schema, &keys);
        let old: Vec<(usize, &Found)> =
            (0..keys.len()).filter_map(|n| Some((n, found.get(&keys[n])?))).collect();
        let locators: Vec<Locator> = old.iter().map(|(_, found)| found.at).collect();
        let row_ids: Vec<RowId> = old.iter().map(|(_, found)| found.row_id).collect();
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
    pub(super) fn finish(self, id: CommitId) -> Encoded {
        let encoded = self.writes.finish().expect("encodes");
        let mut writes = encoded.writes;
        for write in &self.claims.writes {
            writes.push(write.into());
        }
        let request = CommitRequest {
            id,
            schema_versions: encoded.schema_versions,
            writes,
            key_sets: encoded.key_sets,
            assertions: encoded.assertions.into_iter().chain(self.claims.assertions).collect(),
            parts: encoded.parts.len() as u32,
            payload: encoded.payload,
            ..CommitRequest::default()
        };
        Encoded { parts: encoded.parts, request, places: encoded.places }
    }
}

/// What a transaction sends.
pub(super) struct Encoded {
    pub(super) parts: Vec<EncodedPart>,
    pub(super) request: CommitRequest,
    /// What the request's payload was made of.
    pub(super) places: PlacesSent,
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
#[derive(Clone)]
pub(super) struct Found {
    pub(super) value: Arc<str>,
    pub(super) row_id: RowId,
    at: Locator,
}

/// Reads rows of segments, each object once: its rows never change.
pub(super) struct Reader {
    store: SegmentStore,
    known: Mutex<HashMap<SegmentId, Arc<Vec<Kept>>>>,
}

/// A row of a segment.
struct Kept {
    key: i64,
    begin: Timestamp,
    value: Arc<str>,
    row_id: RowId,
}

impl Reader {
    pub(super) fn new(store: SegmentStore) -> Self {
        Self { store, known: Mutex::default() }
    }

    async fn segment(&self, schema: &TableSchema, segment: &TableSegment) -> Arc<Vec<Kept>> {
        if let Some(known) = self.known.lock().get(&segment.segment()) {
            return Arc::clone(known);
        }
        let opened = segment.open(&self.store, schema).await.expect("the object is there");
        let columns = &[0, 1];
        let projection =
            Projection { columns, row_ids: true, timestamps: true, ..Projection::default() };
        let mut kept = Vec::new();
        for group in 0..opened.row_groups() {
            let read = opened.read(schema, &projection, group, None).await.expect("it reads");
            let (keys, values) = (read.batch.column(0), read.batch.column(1).as_string_view());
            let keys = keys.as_primitive::<Int64Type>();
            let (row_ids, begins) = (read.row_ids.expect("asked"), read.timestamps.expect("asked"));
            kept.extend((0..keys.len()).map(|n| Kept {
                key: keys.value(n),
                begin: Timestamp(begins.value(n)),
                value: values.value(n).into(),
                row_id: RowId(row_ids.value(n)),
            }));
        }
        drop(opened);
        // Nobody here reads it again.
        segment.close();
        let kept = Arc::new(kept);
        self.known.lock().insert(segment.segment(), Arc::clone(&kept));
        kept
    }
}

/// What the table holds at `at`; checks on the way that the key index agrees with the scan, and some
/// lookups.
pub(super) fn content(table: &Table, reader: &Reader, at: Timestamp) -> BTreeMap<i64, String> {
    let list = table.list();
    let rows = rows(table, reader, at);
    let some: Vec<i64> = rows.keys().copied().step_by(7).collect();
    let found = look_up(table, &reader.store, &encode_keys(&table.schema(), &some), at);
    // An edit may have come between: then the rows have other places.
    if !table.is_edited_since(&list) {
        for (key, found) in some.iter().zip(found) {
            assert_eq!(found, Some(rows[key].at), "place of {key}");
        }
    }
    rows.into_iter().map(|(key, found)| (key, found.value.as_ref().to_owned())).collect()
}

/// The same with the rows' ids and places.
pub(super) fn rows(table: &Table, reader: &Reader, at: Timestamp) -> BTreeMap<i64, Found> {
    let view = table.view(at);
    let mut rows = BTreeMap::new();
    rows_of_units(&view, &mut rows);
    check_index(table, &view, &rows, at);
    for segment in view.segments() {
        let kept = block_on(reader.segment(&table.schema(), segment.segment()));
        for (row, kept) in (0..).zip(kept.iter()) {
            if kept.begin > at || segment.deleted().contains(row) {
                continue;
            }
            let found = Found {
                value: Arc::clone(&kept.value),
                row_id: kept.row_id,
                at: Locator { segment: segment.segment().segment(), row },
            };
            let old = rows.insert(kept.key, found);
            assert!(old.is_none(), "key {} is there twice", kept.key);
        }
    }
    rows
}

/// Keys that changed in the interval.
pub(super) fn changed_keys(table: &Table, reader: &Reader, interval: Interval) -> BTreeSet<i64> {
    let schema = table.schema();
    let encoder = schema.key_encoder().expect("the table has a key");
    let mut keys = BTreeSet::new();
    let see = |key: &[u8], at: Timestamp| {
        assert!(interval.since < at && at <= interval.until, "{at} is not in {interval:?}");
        let values = encoder.decode(key).expect("a key of the table");
        keys.insert(values[0].as_deref().and_then(|k| k.parse().ok()).expect("a number"));
        ControlFlow::Continue(())
    };
    block_on(table.changed_keys(&reader.store, interval, see)).expect("the objects are there");
    keys
}

/// The index has the rows that chunks have.
fn check_index(table: &Table, view: &TableView, rows: &BTreeMap<i64, Found>, at: Timestamp) {
    let keys: Vec<i64> = rows.keys().copied().collect();
    let encoded = encode_keys(&table.schema(), &keys);
    let index = table.key_index().expect("the table has a key");
    for (n, key) in keys.iter().enumerate() {
        let indexed = index.find(encoded.get(n), |locator| {
            let chunk = view.list().chunk(locator.segment);
            chunk.is_some_and(|chunk| chunk.visible(locator.row, at))
        });
        // Else an edit came between, and the rows of the chunk are taken out.
        if !table.is_edited_since(view.list()) {
            assert_eq!(indexed, Some(rows[key].at), "index entry of {key}");
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
                value: values.value(n).into(),
                row_id: RowId(row_ids.value(n)),
                at: unit.locator(n),
            };
            let old = rows.insert(keys.value(n), found);
            assert!(old.is_none(), "key {} is there twice", keys.value(n));
        }
    }
}
