//! TPC-H on our server: its tables, loading them through COPY, asking the 22 queries.

use std::{collections::BTreeMap, path::Path};

use futures::SinkExt;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Rows of text; NULL is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// Tables in an order that respects their references, with their columns as the benchmark's
/// document defines them (section 1.4).
pub const TABLES: [(&str, &str); 8] = [
    (
        "region",
        "r_regionkey integer not null primary key, r_name char(25) not null, r_comment varchar(152)",
    ),
    (
        "nation",
        "n_nationkey integer not null primary key, n_name char(25) not null, \
         n_regionkey integer not null, n_comment varchar(152)",
    ),
    (
        "supplier",
        "s_suppkey integer not null primary key, s_name char(25) not null, \
         s_address varchar(40) not null, s_nationkey integer not null, s_phone char(15) not null, \
         s_acctbal decimal(15,2) not null, s_comment varchar(101) not null",
    ),
    (
        "customer",
        "c_custkey integer not null primary key, c_name varchar(25) not null, \
         c_address varchar(40) not null, c_nationkey integer not null, c_phone char(15) not null, \
         c_acctbal decimal(15,2) not null, c_mktsegment char(10) not null, \
         c_comment varchar(117) not null",
    ),
    (
        "part",
        "p_partkey integer not null primary key, p_name varchar(55) not null, \
         p_mfgr char(25) not null, p_brand char(10) not null, p_type varchar(25) not null, \
         p_size integer not null, p_container char(10) not null, \
         p_retailprice decimal(15,2) not null, p_comment varchar(23) not null",
    ),
    (
        "partsupp",
        "ps_partkey integer not null, ps_suppkey integer not null, ps_availqty integer not null, \
         ps_supplycost decimal(15,2) not null, ps_comment varchar(199) not null, \
         primary key (ps_partkey, ps_suppkey)",
    ),
    (
        "orders",
        "o_orderkey bigint not null primary key, o_custkey integer not null, \
         o_orderstatus char(1) not null, o_totalprice decimal(15,2) not null, \
         o_orderdate date not null, o_orderpriority char(15) not null, o_clerk char(15) not null, \
         o_shippriority integer not null, o_comment varchar(79) not null",
    ),
    (
        "lineitem",
        "l_orderkey bigint not null, l_partkey integer not null, l_suppkey integer not null, \
         l_linenumber integer not null, l_quantity decimal(15,2) not null, \
         l_extendedprice decimal(15,2) not null, l_discount decimal(15,2) not null, \
         l_tax decimal(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null, \
         l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null, \
         l_shipinstruct char(25) not null, l_shipmode char(10) not null, \
         l_comment varchar(44) not null, primary key (l_orderkey, l_linenumber)",
    ),
];

pub async fn create_tables(client: &Client) {
    for (name, columns) in TABLES {
        client.batch_execute(&format!("create table {name} ({columns})")).await.expect("a table");
    }
}

/// Load one table from its csv file with a header; the number of rows.
pub async fn copy_in(
    client: &Client,
    table: &str,
    file: &Path,
) -> Result<u64, tokio_postgres::Error> {
    let bytes = std::fs::read(file).expect("the file is there");
    let sink =
        client.copy_in(&format!("copy {table} from stdin with (format csv, header)")).await?;
    futures::pin_mut!(sink);
    for piece in bytes.chunks(256 * 1024) {
        sink.send(bytes::Bytes::copy_from_slice(piece)).await?;
    }
    sink.finish().await
}

pub async fn load(client: &Client, folder: &Path) {
    create_tables(client).await;
    for (table, _) in TABLES {
        copy_in(client, table, &folder.join(format!("{table}.csv"))).await.expect("COPY loads");
    }
    client.batch_execute("analyze").await.expect("ANALYZE");
}

/// The 22 queries' texts, by number.
#[must_use]
pub fn queries() -> BTreeMap<u32, String> {
    let text = crate::duck::python("tpch.py", &["queries"]);
    parse(&text)
}

/// DuckDB's answers on the csv files of a folder after some statements, by number.
#[must_use]
pub fn duckdb_answers(folder: &Path, statements: &[&str]) -> BTreeMap<u32, Rows> {
    let folder = folder.to_string_lossy();
    let arguments: Vec<&str> = ["answers", &folder].iter().chain(statements).copied().collect();
    parse(&crate::duck::python("tpch.py", &arguments))
}

/// A third of the orders with their items: changed, deleted, added, as the benchmark's refresh functions
/// (section 2.5) and updates would. The same in every dialect.
pub const REFRESH: [&str; 6] = [
    "insert into orders select o_orderkey + 100000000, o_custkey, o_orderstatus, o_totalprice + 7, \
     o_orderdate, o_orderpriority, o_clerk, o_shippriority, o_comment from orders \
     where o_orderkey % 10 = 7",
    "insert into lineitem select l_orderkey + 100000000, l_partkey, l_suppkey, l_linenumber, \
     l_quantity, l_extendedprice + 7, l_discount, l_tax, l_returnflag, l_linestatus, l_shipdate, \
     l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, l_comment from lineitem \
     where l_orderkey % 10 = 7",
    "delete from lineitem where l_orderkey % 10 = 4",
    "delete from orders where o_orderkey % 10 = 4",
    "update lineitem set l_quantity = l_quantity + 1, l_shipdate = l_shipdate + 1 \
     where l_orderkey % 10 = 1",
    "update orders set o_totalprice = o_totalprice + 0.5, o_comment = 'changed' \
     where o_orderkey % 10 = 1",
];

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> BTreeMap<u32, T> {
    serde_json::from_str::<BTreeMap<String, T>>(text)
        .expect("tpch.py prints JSON")
        .into_iter()
        .map(|(number, value)| (number.parse().expect("a query number"), value))
        .collect()
}

pub async fn ask(client: &Client, query: &str) -> Result<Rows, tokio_postgres::Error> {
    let messages = client.simple_query(query).await?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .collect())
}

/// The first difference between two answers, as text. Numbers are equal within 1e-9 of their size
/// (DuckDB's averages are floats, ours and PostgreSQL's numeric); char(n) blanks do not count.
#[must_use]
pub fn difference(ours: &Rows, theirs: &Rows) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} rows, expected {}", ours.len(), theirs.len()));
    }
    for (number, (our_row, their_row)) in ours.iter().zip(theirs).enumerate() {
        if our_row.len() != their_row.len() {
            return Some(format!("{} columns, expected {}", our_row.len(), their_row.len()));
        }
        for (a, b) in our_row.iter().zip(their_row) {
            if !same_value(a.as_deref(), b.as_deref()) {
                return Some(format!("row {number}: {our_row:?}, expected {their_row:?}"));
            }
        }
    }
    None
}

fn same_value(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            if a.trim_end() == b.trim_end() {
                return true;
            }
            match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(x), Ok(y)) => (x - y).abs() <= 1e-9 * x.abs().max(y.abs()),
                _ => false,
            }
        }
        _ => false,
    }
}
