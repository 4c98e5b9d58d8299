//! A leader and its state without a log: what the tests of storage drive.

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringViewArray};
use bytes::Bytes;
use glaredb_catalog::{
    CatalogChange,
    descriptor::{Column, PrimaryKey, Table as Descriptor, builtin},
};
use glaredb_txn::{
    commit::{
        message::{CommitRequest, Part, Refusal},
        record::Record,
        state_machine::{Apply, Placement},
    },
    ids::{
        CommitId, DatabaseId, EntryIndex, Locator, LogId, Position, RowId, SchemaVersion, TableId,
        Timestamp,
    },
};

use super::{
    StorageError,
    apply::Applier,
    budget::{BUDGET_BYTES_DEFAULT, Budget},
    codec::key::EncodedKeys,
    placement::StoragePlacement,
    record::Control,
    schema::TableSchema,
    segment::{Resident, SegmentStore, tests::Memory},
    state::State,
    table::Table,
    warmed::{ReadError, Warmed},
    write_set::{Deletion, WriteSet},
};
use crate::types::PgType;

/// Places, logs and applies one record after the other.
pub(super) struct Leader {
    pub(super) state: Arc<State>,
    pub(super) placement: StoragePlacement,
    pub(super) applier: Applier,
    /// Every record so far.
    pub(super) log: Vec<(Position, Record)>,
    pub(super) now: u64,
    commits: u64,
}

impl Leader {
    pub(super) fn new() -> Self {
        Self::with_budget(BUDGET_BYTES_DEFAULT)
    }

    pub(super) fn with_budget(bytes: u64) -> Self {
        let mut leader = Self::of(State::empty(Budget::new(bytes)));
        let mut writes = leader.write_set();
        writes.change_catalog(builtin::bootstrap());
        leader.commit(writes).expect("an empty catalog takes the bootstrap");
        leader
    }

    /// A new leader on a state, as after recovery.
    pub(super) fn of(state: Arc<State>) -> Self {
        let (position, at) = state.applied();
        Self {
            placement: StoragePlacement::new(Arc::clone(&state)),
            applier: Applier::new(Arc::clone(&state)),
            state,
            log: Vec::new(),
            now: at.0.max(position.index.0),
            commits: 1000 * position.index.0,
        }
    }

    pub(super) fn write_set(&self) -> WriteSet {
        WriteSet::new(Arc::clone(self.state.budget()))
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    pub(super) fn new_id(&mut self) -> CommitId {
        self.commits += 1;
        CommitId { number: self.commits, ..CommitId::default() }
    }

    fn append(&mut self, record: Record) {
        let position = Position::new(LogId(0), EntryIndex(self.log.len() as u64 + 1), 0);
        self.applier.apply(position, &record).expect("what was placed can be applied");
        self.log.push((position, record));
    }

    pub(super) fn commit(&mut self, writes: WriteSet) -> Result<Timestamp, Refusal> {
        let id = self.new_id();
        self.commit_as(id, writes, 0)
    }

    /// `drained`: parts sent under this id before.
    pub(super) fn commit_as(
        &mut self,
        id: CommitId,
        writes: WriteSet,
        drained: u32,
    ) -> Result<Timestamp, Refusal> {
        let encoded = writes.finish().expect("write sets of tests are well-formed");
        let parts = drained + encoded.parts.len() as u32;
        for (part, sequence) in encoded.parts.into_iter().zip(drained..) {
            self.part(id, sequence, part.payload())?;
        }
        self.now += 1;
        let request = CommitRequest {
            id,
            schema_versions: encoded.schema_versions,
            writes: encoded.writes,
            key_sets: encoded.key_sets,
            unkeyed: encoded.unkeyed,
            assertions: encoded.assertions,
            parts,
            payload: encoded.payload,
        };
        let timestamp = self.now();
        let payload = self.placement.place(&request, timestamp)?;
        self.append(Record::Commit { id, timestamp, parts, payload });
        Ok(timestamp)
    }

    pub(super) fn part(
        &mut self,
        id: CommitId,
        sequence: u32,
        payload: Bytes,
    ) -> Result<(), Refusal> {
        let payload = self.placement.place_part(&Part { id, sequence, payload })?;
        self.append(Record::Part { id, sequence, payload });
        Ok(())
    }

    pub(super) fn abort(&mut self, id: CommitId) {
        self.placement.forget_parts(id);
        self.append(Record::Abort { id });
    }

    pub(super) fn control(&mut self, control: &Control) {
        self.try_control(control).expect("control is placed");
    }

    pub(super) fn try_control(&mut self, control: &Control) -> Result<(), Refusal> {
        self.now += 1;
        let timestamp = self.now();
        let payload = self.placement.place_control(&control.encode(), timestamp)?;
        self.append(Record::Control { timestamp, payload });
        Ok(())
    }

    pub(super) fn horizon(&mut self) {
        self.control(&Control::Horizon(self.now()));
    }

    /// The change that creates or replaces the table `name` with its rows in `storage`.
    pub(super) fn table_change(
        &self,
        oid: u32,
        name: &str,
        storage: TableId,
        version: u32,
        columns: &[(&str, PgType)],
        key: &[u32],
    ) -> CatalogChange {
        let column = |(n, (name, pg_type)): (usize, &(&str, PgType))| Column {
            id: n as u32 + 1,
            number: n as i16 + 1,
            name: (*name).to_owned(),
            type_oid: pg_type.oid(),
            typmod: pg_type.typmod(),
            not_null: key.contains(&(n as u32 + 1)),
            default: None,
            default_oid: 0,
            ..Column::default()
        };
        let new = self.state.catalog().table_by_oid(oid).is_none();
        let descriptor = Descriptor {
            oid,
            name: name.to_owned(),
            schema_oid: builtin::SCHEMA_PUBLIC,
            owner: builtin::ROLE_POSTGRES,
            row_type_oid: oid + 1,
            array_type_oid: oid + 2,
            storage,
            version: SchemaVersion(version),
            columns: columns.iter().enumerate().map(column).collect(),
            next_column_id: columns.len() as u32 + 1,
            primary_key: (!key.is_empty()).then(|| PrimaryKey {
                oid: oid + 3,
                constraint_oid: oid + 4,
                name: format!("{name}_pkey"),
                columns: key.to_vec(),
            }),
            options: BTreeMap::new(),
            ..Descriptor::default()
        };
        CatalogChange {
            upsert_tables: vec![Arc::new(descriptor)],
            created: if new { vec![oid] } else { Vec::new() },
            next_oid: oid + 10,
            next_table_id: storage.next(),
            ..CatalogChange::default()
        }
    }

    /// `create table t<n> (id int, name text [, primary key (id)])`.
    pub(super) fn create(&mut self, n: u32, keyed: bool) -> TableId {
        let storage = TableId(10 + n);
        let change = self.pairs_change(n, storage, 1, keyed);
        let mut writes = self.write_set();
        writes.change_catalog(change);
        self.commit(writes).expect("a table is created");
        storage
    }

    pub(super) fn pairs_change(
        &self,
        n: u32,
        storage: TableId,
        version: u32,
        keyed: bool,
    ) -> CatalogChange {
        let columns = [("id", PgType::Int4), ("name", PgType::Text)];
        let key: &[u32] = if keyed { &[1] } else { &[] };
        let oid = 20_000 + n * 100;
        self.table_change(oid, &format!("t{n}"), storage, version, &columns, key)
    }

    pub(super) fn table(&self, table: TableId) -> Arc<Table> {
        self.state.table(table).expect("the table exists")
    }

    /// Insert pairs by a commit of their own.
    pub(super) fn insert(&mut self, table: TableId, rows: &[(i32, &str)]) -> Timestamp {
        let mut writes = self.write_set();
        self.add(&mut writes, table, rows, None);
        self.commit(writes).expect("rows are inserted")
    }

    /// Add pairs to a write set.
    pub(super) fn add(
        &self,
        writes: &mut WriteSet,
        table: TableId,
        rows: &[(i32, &str)],
        kept: Option<Vec<RowId>>,
    ) {
        let schema = self.table(table).schema();
        let batch = pairs(&schema, rows);
        let keys = keys_of(&schema, &batch);
        writes
            .insert(table, &schema, batch, kept, keys.as_ref(), Position::ZERO)
            .expect("rows fit the table");
    }

    /// Delete what lies at these places.
    pub(super) fn remove(
        &self,
        writes: &mut WriteSet,
        table: TableId,
        locators: &[Locator],
    ) -> usize {
        let stored = self.table(table);
        let schema = stored.schema();
        let row_ids = stored.row_ids_now(locators).expect("the rows are there");
        let batch = stored.fetch_now(locators, None).expect("the rows are there");
        let keys = keys_of(&schema, &batch);
        let rows = Deletion { locators, row_ids: &row_ids, keys: keys.as_ref() };
        writes
            .delete(table, Some(&*stored), &schema, rows, Position::ZERO)
            .expect("rows are deleted")
    }

    /// (row id, id, name) of the rows visible at `at`, by row id.
    pub(super) fn rows(&self, table: TableId, at: Timestamp) -> Vec<(u64, i32, String)> {
        rows_of(&self.table(table), at)
    }
}

/// Reads of tables whose rows are all in memory.
pub(super) trait InMemory {
    fn lookup_now(&self, key: &[u8], at: Timestamp) -> Option<Locator>;
    fn fetch_now(
        &self,
        locators: &[Locator],
        projection: Option<&[usize]>,
    ) -> Result<RecordBatch, StorageError>;
    fn row_ids_now(&self, locators: &[Locator]) -> Result<Vec<RowId>, StorageError>;
}

impl InMemory for Table {
    fn lookup_now(&self, key: &[u8], at: Timestamp) -> Option<Locator> {
        warm(self.lookup(key, at, &no_objects())).expect("chunks can be read")
    }

    fn fetch_now(
        &self,
        locators: &[Locator],
        projection: Option<&[usize]>,
    ) -> Result<RecordBatch, StorageError> {
        warm(self.fetch(locators, projection, &no_objects()))
    }

    fn row_ids_now(&self, locators: &[Locator]) -> Result<Vec<RowId>, StorageError> {
        warm(self.fetch_row_ids(locators, &no_objects()))
    }
}

/// For reads that ask for no object.
pub(super) fn no_objects() -> Warmed {
    Warmed::new(SegmentStore {
        objects: Arc::new(Memory::default()),
        database: DatabaseId(0),
        resident: Resident::new(0),
    })
}

fn warm<T>(answer: Result<T, ReadError>) -> Result<T, StorageError> {
    answer.map_err(|error| match error {
        ReadError::Failed(error) => error,
        ReadError::Cold(cold) => panic!("{cold:?}"),
    })
}

pub(super) fn pairs(schema: &TableSchema, rows: &[(i32, &str)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|(id, _)| *id).collect::<Int32Array>());
    let names: ArrayRef =
        Arc::new(rows.iter().map(|(_, name)| Some(*name)).collect::<StringViewArray>());
    RecordBatch::try_new(Arc::clone(schema.arrow()), vec![ids, names]).expect("two columns")
}

pub(super) fn keys_of(schema: &TableSchema, batch: &RecordBatch) -> Option<EncodedKeys> {
    let columns: Vec<ArrayRef> =
        schema.key()?.iter().map(|column| Arc::clone(batch.column(*column))).collect();
    Some(schema.key_encoder()?.encode_all(&columns).expect("keys encode"))
}

/// (row id, id, name) of the rows visible at `at`, by row id.
pub(super) fn rows_of(table: &Table, at: Timestamp) -> Vec<(u64, i32, String)> {
    use arrow::array::AsArray;

    use super::table::Visibility;
    let mut rows = Vec::new();
    for unit in table.view(at).units() {
        let all = 0..unit.rows();
        let visible = unit.visible(all.clone());
        let columns = unit.columns(all.clone(), &[0, 1]);
        let row_ids = unit.row_ids(all.clone());
        let ids = columns[0].as_primitive::<arrow::datatypes::Int32Type>();
        let names = columns[1].as_string_view();
        for n in all {
            let seen = match &visible {
                Visibility::All => true,
                Visibility::None => false,
                Visibility::Mask(mask) => mask.value(n),
            };
            if seen {
                rows.push((row_ids.value(n), ids.value(n), names.value(n).to_owned()));
            }
        }
    }
    rows.sort();
    rows
}

/// Random numbers that depend on the seed alone (SplitMix64).
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Compare with a golden file below `src`; `GOLDEN_WRITE=1` writes it instead.
pub(super) fn golden(path: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path);
    if std::env::var_os("GOLDEN_WRITE").is_some() {
        std::fs::write(&path, found).expect("the golden file is written");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(found, expected, "{} differs: a new format needs a new version", path.display());
}
