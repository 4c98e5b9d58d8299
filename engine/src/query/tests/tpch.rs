//! The shapes of TPC-H's queries: they plan, run and give the right types.

use super::fixture::{Database, empty};

fn database() -> Database {
    let mut database = empty();
    database.create(
        "create table lineitem (l_orderkey bigint not null, l_partkey int not null, l_suppkey int not null, l_linenumber int not null, l_quantity decimal(15,2) not null, l_extendedprice decimal(15,2) not null, l_discount decimal(15,2) not null, l_tax decimal(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null, l_shipdate date not null, l_commitdate date not null, l_receiptdate date not null, l_shipmode char(10) not null, primary key (l_orderkey, l_linenumber))",
        &[
            &[Some("1"), Some("1"), Some("1"), Some("1"), Some("17.00"), Some("21168.23"), Some("0.04"), Some("0.02"), Some("N"), Some("O"), Some("1996-03-13"), Some("1996-02-12"), Some("1996-03-22"), Some("TRUCK")],
            &[Some("1"), Some("1"), Some("1"), Some("2"), Some("36.00"), Some("45983.16"), Some("0.09"), Some("0.06"), Some("N"), Some("O"), Some("1996-04-12"), Some("1996-02-28"), Some("1996-04-20"), Some("MAIL")],
            &[Some("2"), Some("2"), Some("1"), Some("1"), Some("38.00"), Some("44694.46"), Some("0.00"), Some("0.05"), Some("R"), Some("F"), Some("1998-11-01"), Some("1997-01-14"), Some("1997-02-02"), Some("RAIL")],
        ],
    );
    database.create(
        "create table part (p_partkey int primary key, p_brand char(10), p_type varchar(25), p_container char(10), p_size int)",
        &[
            &[Some("1"), Some("Brand#23"), Some("PROMO BRUSHED"), Some("MED BOX"), Some("7")],
            &[Some("2"), Some("Brand#13"), Some("SMALL BRUSHED"), Some("LG BOX"), Some("9")],
        ],
    );
    database
}

fn rows(sql: &str) -> String {
    database().query(sql).expect(sql)
}

#[test]
fn q1_sums_exactly() {
    let sql = "select l_returnflag, l_linestatus, sum(l_quantity) as sum_qty, sum(l_extendedprice * (1 - l_discount)) as sum_disc_price, sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) as sum_charge, avg(l_quantity) as avg_qty, avg(l_discount), count(*) from lineitem where l_shipdate <= date '1998-12-01' - interval '90' day group by l_returnflag, l_linestatus order by l_returnflag, l_linestatus";
    assert_eq!(
        rows(sql),
        "N|O|53.00|62166.1764|65083.286952|26.5000000000000000|0.06500000000000000000|2"
    );
    let all = "select sum(l_quantity) from lineitem where l_shipdate < date '1999-01-01'";
    assert_eq!(rows(all), "91.00");
}

#[test]
fn q14_divides_sums() {
    let sql = "select 100.00 * sum(case when p_type like 'PROMO%' then l_extendedprice * (1 - l_discount) else 0 end) / sum(l_extendedprice * (1 - l_discount)) as promo_revenue from lineitem, part where l_partkey = p_partkey";
    assert_eq!(rows(sql), "58.1750010989079230");
}

#[test]
fn q17_compares_with_a_correlated_average() {
    let sql = "select sum(l_extendedprice) / 7.0 as avg_yearly from lineitem, part where p_partkey = l_partkey and p_brand = 'Brand#23' and p_container = 'MED BOX' and l_quantity < (select 0.7 * avg(l_quantity) from lineitem where l_partkey = p_partkey)";
    assert_eq!(rows(sql), "3024.0328571428571429");
}

#[test]
fn q18_q20_q21_q22_use_subqueries() {
    let sql = "select l_orderkey from lineitem where l_orderkey in (select l_orderkey from lineitem group by l_orderkey having sum(l_quantity) > 50) group by l_orderkey";
    assert_eq!(rows(sql), "1");
    let sql = "select p_partkey from part where p_partkey in (select l_partkey from lineitem l1 where l_quantity > (select 0.5 * sum(l_quantity) from lineitem l2 where l2.l_partkey = l1.l_partkey and l2.l_suppkey = l1.l_suppkey))";
    assert_eq!(rows(sql).lines().count(), 2);
    let sql = "select count(*) from lineitem l1 where exists (select * from lineitem l2 where l2.l_orderkey = l1.l_orderkey and l2.l_linenumber <> l1.l_linenumber) and not exists (select * from lineitem l3 where l3.l_orderkey = l1.l_orderkey and l3.l_receiptdate < l3.l_commitdate)";
    assert_eq!(rows(sql), "2");
    let sql = "select substring(p_brand from 1 for 7) as code, count(*) from part where p_size > (select avg(p_size) from part) and not exists (select * from lineitem where l_partkey = p_partkey and l_quantity > 100) group by code order by code";
    assert_eq!(rows(sql), "Brand#1|1");
}

#[test]
fn q19_and_q12_compare_padded_text() {
    let sql = "select sum(l_extendedprice * (1 - l_discount)) from lineitem, part where (p_partkey = l_partkey and p_brand = 'Brand#23' and p_container in ('MED BAG', 'MED BOX') and l_quantity between 10 and 20 and p_size between 1 and 10 and l_shipmode in ('TRUCK', 'AIR')) or (p_partkey = l_partkey and p_brand = 'Brand#99')";
    assert_eq!(rows(sql), "20321.5008");
    let sql = "select l_shipmode, sum(case when l_shipmode = 'MAIL' or l_shipmode = 'RAIL' then 1 else 0 end) from lineitem group by l_shipmode order by 1";
    assert_eq!(rows(sql), "MAIL      |1\nRAIL      |1\nTRUCK     |0");
}
