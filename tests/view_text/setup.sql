create table t (a int, b text, c numeric(10,2), v varchar(5), d date, ts timestamptz, arr int[], f bool, e bigint, j jsonb);
create table u (a int, x text, k int);
create table w (k int, y text, b text);
create schema other;
create table other.t (a int, z int);
create table "Odd Name" ("A b" int, "select" text, plain int);
insert into t values (1, 'one', 1.5, 'v1', '2024-01-02', '2024-01-02 03:04:05+00', '{1,2,3}', true, 10, '{"q": 1}'),
  (2, 'two', 2.25, 'v2', '2024-05-06', '2024-05-06 07:08:09+00', '{4,5}', false, 20, '{"q": [1, 2]}'),
  (3, null, null, null, null, null, null, null, null, null);
insert into u values (1, 'x1', 10), (2, 'x2', 20), (4, 'x4', 40);
insert into w values (10, 'y10', 'one'), (30, 'y30', 'two');
insert into other.t values (1, 100), (2, 200);
insert into "Odd Name" values (1, 's', 2);
create view vt as select a, b, c as "C" from t where a < 3;
