//! INSERT, UPDATE and DELETE as plans of rows.

use super::fixture::{Database, empty};

fn database() -> Database {
    let mut database = empty();
    database.create(
        "create table t (id int primary key, a int default 7, b varchar(3), c numeric(6,2) not null default 1.5)",
        &[
            &[Some("1"), Some("10"), Some("x"), Some("1.00")],
            &[Some("2"), Some("20"), None, Some("2.50")],
            &[Some("3"), None, Some("z"), Some("3.00")],
        ],
    );
    database.create(
        "create table s (k int, v int)",
        &[&[Some("1"), Some("100")], &[Some("1"), Some("100")], &[Some("3"), Some("300")]],
    );
    database
}

fn sorted(rows: &str) -> Vec<&str> {
    let mut lines: Vec<_> = rows.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn insert_fills_in_defaults_and_casts_by_assignment() {
    let database = database();
    let rows = |sql| database.dml_rows(sql).expect(sql);
    assert_eq!(rows("insert into t values (4)"), "4|7|∅|1.50");
    assert_eq!(rows("insert into t (id, c) values (4, 2.555)"), "4|7|∅|2.56");
    assert_eq!(rows("insert into t (id, a, b) values (4, default, 'abc   ')"), "4|7|abc|1.50");
    let two = rows("insert into t (b, id) values ('a', 1), (null, '2')");
    assert_eq!(sorted(&two), ["1|7|a|1.50", "2|7|∅|1.50"]);
    let copied = rows("insert into t select k, v from s where k = 3");
    assert_eq!(copied, "3|300|∅|1.50");
    let returning = database.dml("insert into t values (5) returning id + 1 as next, *");
    let planned = returning.expect("it plans");
    assert_eq!(planned.new_row, 0..4);
    assert_eq!(planned.returning, 4..9);
    assert_eq!(planned.fields.expect("there is RETURNING")[0].name, "next");
}

#[test]
fn insert_refuses_what_does_not_fit() {
    let database = database();
    let error = |sql: &str| {
        let error = database.dml_rows(sql).expect_err(sql);
        format!("{}: {}", error.sqlstate, error.message)
    };
    assert_eq!(
        error("insert into t (id, b) values (4, 'abcd')"),
        "22001: value too long for type character varying(3)"
    );
    assert_eq!(error("insert into t (id, c) values (4, 12345)"), "22003: numeric field overflow");
    assert_eq!(
        error("insert into t (id, a) values (4, true)"),
        "42804: column \"a\" is of type integer but expression is of type boolean"
    );
    assert_eq!(
        error("insert into t (id, nope) values (4, 1)"),
        "42703: column \"nope\" of relation \"t\" does not exist"
    );
    assert_eq!(
        error("insert into t (id) values (1, 2)"),
        "42601: INSERT has more expressions than target columns"
    );
    assert_eq!(error("insert into nope values (1)"), "42P01: relation \"nope\" does not exist");
    assert!(error("insert into t values (1) on conflict do nothing").starts_with("0A000"));
}

#[test]
fn update_gives_one_row_per_locator() {
    let database = database();
    let rows = database.dml_rows("update t set a = a + 1 where id < 3").expect("it runs");
    // Segment, row, row id; the old key; the new row.
    assert_eq!(sorted(&rows), ["1|0|0|1|1|11|x|1.00", "1|1|1|2|2|21|∅|2.50"]);
    let joined = "update t set a = s.v from s where s.k = t.id";
    let planned = database.dml(joined).expect("it plans");
    assert_eq!((planned.locator, planned.old_key, planned.new_row), (0..3, 3..4, 4..8));
    assert_eq!(planned.assigned, [1]);
    let rows = database.dml_rows(joined).expect("it runs");
    assert_eq!(sorted(&rows), ["1|0|0|1|1|100|x|1.00", "1|2|2|3|3|300|z|3.00"]);
    let subquery =
        "update t set (a, b) = ((select max(v) from s), default) where id = 1 returning t.*, a";
    let rows = database.dml_rows(subquery).expect("it runs");
    assert_eq!(rows, "1|0|0|1|1|300|∅|1.00|1|300|∅|1.00|300");
    let from = "update t set a = 1 from s where s.k = t.id and t.id = 3 returning s.v, t.id";
    assert_eq!(database.dml_rows(from).expect("it runs"), "1|2|2|3|3|1|z|3.00|300|3");
}

#[test]
fn delete_never_loses_its_condition() {
    let database = database();
    let rows = |sql| database.dml_rows(sql).expect(sql);
    assert_eq!(rows("delete from t where false"), "");
    let by_subquery = rows("delete from t where id in (select k from s)");
    assert_eq!(sorted(&by_subquery), ["1|0|0|1", "1|2|2|3"]);
    let using = rows("delete from t using s where s.k = t.id returning id, v");
    assert_eq!(sorted(&using), ["1|0|0|1|1|10|x|1.00|1|100", "1|2|2|3|3|∅|z|3.00|3|300"]);
    assert_eq!(rows("delete from t where a is null"), "1|2|2|3");
    assert_eq!(rows("delete from t").lines().count(), 3);
}

#[test]
fn parameters_take_the_types_of_their_places() {
    let database = database();
    let params = |sql| database.params(sql).expect(sql);
    assert_eq!(params("select * from t where id = $1 and c > $2"), ["integer", "numeric"]);
    assert_eq!(params("insert into t (id, b) values ($1, $2)"), ["integer", "character varying"]);
    assert_eq!(params("update t set a = a + $1 where id = $2"), ["integer", "integer"]);
    assert_eq!(params("select $1"), ["text"]);
    assert_eq!(params("select 1 limit $1"), ["bigint"]);
    assert_eq!(params("select $1::date"), ["date"]);
    assert_eq!(params("select 1 where 5 between $1 and $1 + 5"), ["integer"]);
}
