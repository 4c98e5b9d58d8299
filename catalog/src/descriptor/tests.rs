//! Golden bytes: what an older build wrote must be read by every newer one.

use std::{collections::BTreeMap, fmt::Write};

use glaredb_txn::ids::{SchemaVersion, TableId};

use super::{
    Column, Composite, CompositeField, Database, DecodeError, DroppedColumn, PrimaryKey,
    RelationKind, Role, Schema, Table, View, ViewColumn, ViewRelation, builtin,
};
use crate::CatalogChange;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

fn table() -> Table {
    let column = |id: u32, name: &str, type_oid, typmod, not_null| Column {
        id,
        number: i16::try_from(id).expect("small"),
        name: name.into(),
        type_oid,
        typmod,
        not_null,
        default: None,
        default_oid: 0,
        ..Column::default()
    };
    let mut balance = column(3, "balance", 1700, 655_366, false);
    balance.default = Some("0.00".into());
    balance.default_oid = 16_392;
    Table {
        oid: 16_385,
        name: "accounts".into(),
        schema_oid: builtin::SCHEMA_PUBLIC,
        owner: builtin::ROLE_POSTGRES,
        row_type_oid: 16_387,
        array_type_oid: 16_386,
        storage: TableId(7),
        version: SchemaVersion(3),
        columns: vec![column(1, "id", 23, -1, true), column(2, "owner", 1043, 44, true), balance],
        next_column_id: 4,
        primary_key: Some(PrimaryKey {
            oid: 16_390,
            constraint_oid: 16_391,
            name: "accounts_pkey".into(),
            columns: vec![2, 1],
        }),
        options: BTreeMap::from([("fillfactor".into(), "100".into())]),
        ..Table::default()
    }
}

/// A table with a column that came later and one that went.
fn altered() -> Table {
    let mut table = table();
    let added = Column {
        id: 5,
        number: 5,
        name: "since".into(),
        type_oid: 23,
        typmod: -1,
        missing: Some(vec![0, 14].into()),
        comment: Some("when it began".into()),
        ..Column::default()
    };
    table.columns.push(added);
    table.dropped = vec![DroppedColumn { id: 4, type_oid: 25, typmod: -1, composite: None }];
    table.next_column_id = 6;
    table.comment = Some("who has how much".into());
    table
}

fn view() -> Table {
    let column = |id, name: &str, used| ViewColumn { id, name: name.into(), used };
    let accounts = ViewRelation {
        schema: Some("public".into()),
        name: "accounts".into(),
        oid: 16_385,
        columns: vec![column(1, "id", true), column(2, "owner", false)],
    };
    Table {
        oid: 16_420,
        name: "ids".into(),
        kind: RelationKind::MaterializedView,
        schema_oid: builtin::SCHEMA_PUBLIC,
        owner: builtin::ROLE_POSTGRES,
        row_type_oid: 16_421,
        array_type_oid: 16_422,
        storage: TableId(8),
        version: SchemaVersion(1),
        columns: vec![Column {
            id: 1,
            number: 1,
            name: "id".into(),
            type_oid: 23,
            typmod: -1,
            ..Column::default()
        }],
        next_column_id: 2,
        view: Some(View {
            query: "select id from accounts".into(),
            relations: vec![accounts],
            options: vec!["security_barrier=true".into()],
        }),
        unpopulated: true,
        ..Table::default()
    }
}

/// [`change`] with comments.
fn described() -> CatalogChange {
    let mut change = change();
    change.upsert_schemas[0].comment = Some("what was sold".into());
    change.upsert_databases[0].comment = Some("all of it".into());
    change
}

fn role() -> Role {
    Role {
        oid: 16_400,
        name: "reader".into(),
        superuser: false,
        login: true,
        inherit: true,
        create_role: false,
        create_database: false,
        replication: false,
        bypass_row_security: false,
        connection_limit: -1,
    }
}

fn change() -> CatalogChange {
    let mut change = CatalogChange::default();
    change.create_table(table());
    change.create_schema(Schema { oid: 16_410, name: "sales".into(), owner: 10, comment: None });
    change.upsert_databases.push(Database {
        oid: 5,
        name: "postgres".into(),
        owner: 10,
        comment: None,
    });
    change.upsert_roles.push(role());
    change.drop_tables = vec![16_411];
    change.drop_schemas = vec![16_412];
    change.drop_roles = vec![16_413];
    change.drop_databases = vec![16_414];
    change
}

/// A table with a column of arrays over a composite type that has a composite field.
fn composed() -> Table {
    let field =
        |type_oid| CompositeField { column: type_oid % 7, type_oid, typmod: -1, composite: None };
    let inner = Composite {
        relation: 16_420,
        type_oid: 16_421,
        array_type_oid: 16_422,
        fields: vec![field(23), CompositeField { typmod: 9, ..field(1043) }],
    };
    let outer = Composite {
        relation: 16_423,
        type_oid: 16_424,
        array_type_oid: 16_425,
        fields: vec![
            field(25),
            CompositeField { composite: Some(inner.clone()), ..field(inner.type_oid) },
        ],
    };
    let mut table = table();
    let column = &mut table.columns[0];
    column.type_oid = outer.array_type_oid;
    column.composite = Some(outer);
    table.dropped =
        vec![DroppedColumn { id: 4, type_oid: 16_421, typmod: -1, composite: Some(inner) }];
    table
}

macro_rules! golden {
    ($test:ident, $file:literal, $type:ty, $value:expr) => {
        #[test]
        fn $test() {
            let golden = include_str!(concat!("../../golden/", $file));
            let value: $type = $value;
            let bytes = value.encode();
            assert_eq!(
                hex(&bytes),
                hex(&unhex(golden)),
                "{} changed; a new format needs a new version and keeps the old decoder",
                $file
            );
            assert_eq!(<$type>::decode(&unhex(golden)), Ok(value));
        }
    };
}
golden!(table_is_as_documented, "table-v3.hex", Table, altered());
golden!(view_is_as_documented, "view-v3.hex", Table, view());
golden!(composite_is_as_documented, "composite-v3.hex", Table, composed());
golden!(role_is_as_documented, "role-v3.hex", Role, role());
golden!(change_is_as_documented, "change-v3.hex", CatalogChange, described());
golden!(bootstrap_is_as_documented, "bootstrap-v3.hex", CatalogChange, builtin::bootstrap());

/// What version 1 wrote is read as ever.
#[test]
fn reads_version_1() {
    let read = |golden: &str| unhex(golden);
    let bytes = read(include_str!("../../golden/table-v1.hex"));
    assert_eq!(Table::decode(&bytes), Ok(table()));
    let bytes = read(include_str!("../../golden/role-v1.hex"));
    assert_eq!(Role::decode(&bytes), Ok(role()));
    let bytes = read(include_str!("../../golden/change-v1.hex"));
    assert_eq!(CatalogChange::decode(&bytes), Ok(change()));
    let bytes = read(include_str!("../../golden/bootstrap-v1.hex"));
    assert_eq!(CatalogChange::decode(&bytes), Ok(builtin::bootstrap()));
}

/// So is what version 2 wrote.
#[test]
fn reads_version_2() {
    let read = |golden: &str| unhex(golden);
    let bytes = read(include_str!("../../golden/table-v2.hex"));
    assert_eq!(Table::decode(&bytes), Ok(altered()));
    let bytes = read(include_str!("../../golden/view-v2.hex"));
    // It had no options, and a text that is made anew now.
    let mut before = view();
    before.view.as_mut().expect("a view").options.clear();
    assert_eq!(Table::decode(&bytes), Ok(before));
    let bytes = read(include_str!("../../golden/change-v2.hex"));
    assert_eq!(CatalogChange::decode(&bytes), Ok(described()));
}

#[test]
fn refuses_what_it_cannot_read() {
    assert_eq!(Table::decode(&[]), Err(DecodeError::Empty { what: "table descriptor" }));
    let mut newer = table().encode().to_vec();
    newer[0] = 4;
    let refused = DecodeError::Newer { what: "table descriptor", found: 4 };
    assert_eq!(Table::decode(&newer), Err(refused));
    let garbage = Table::decode(&[1, 0xff, 0xff, 0xff]);
    assert!(matches!(garbage, Err(DecodeError::Malformed { .. })), "{garbage:?}");
    // A column numbered 70000: tag 9 (columns), tag 2 (number).
    let out_of_range = [1, 0x4a, 4, 0x10, 0xe0, 0xc5, 0x08];
    let refused = DecodeError::OutOfRange { what: "column", field: "number", value: 70_000 };
    assert_eq!(Table::decode(&out_of_range), Err(refused));
}

#[test]
fn never_panics_on_damaged_bytes() {
    let bytes = change().encode().to_vec();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let _ = CatalogChange::decode(&damaged);
        }
    }
}
