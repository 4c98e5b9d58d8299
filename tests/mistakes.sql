-- Mistakes, and what looks like them; see tests/mistakes.rs.

create table t(id int primary key, name varchar(5) not null, n numeric(4,2), d date, b bool, u uuid, ts timestamptz); create table u(id int, name text);

select * from nosuch;

select nocol from t;

select nam from t;

select t.nam from t;

select x.id from t;

select id from t, u;

select lenght('a');

select length(1);

select sum('a');

select * from public.nosuch;

select * from nosch.t;

insert into t values (1,'abc'); insert into t values (1,'x');

insert into t(id) values (2);

insert into t values (3,'toolong');

insert into t values (4,'a',12345);

insert into t values ('x','a');

insert into t values (5,'a',1,'nonsense');

insert into t values (5,'a',1,null,'maybe');

insert into t values (5,'a',1,null,true,'zz');

insert into t values (5,'a',1,null,true,null,'2020-01-01 25:00');

insert into t (id, nosuch) values (1,2);

insert into t values (1,'a',1,null,null,null,null,9);

insert into t (id) values (1,2);

insert into nosuch values (1);

update t set nosuch = 1;

update t set id = 'a';

update t set id = true;

update nosuch set a=1;

update t set id=1, id=2;

delete from nosuch;

select 1/0;

select 1.0/0;

select 1e0/0;

select 2147483647+1;

select 9223372036854775807+1;

select 100000*100000;

select 'a'::int;

select 'a'+1;

select '1'::text + 1;

select true + 1;

select 1 = 'a';

select 'a'::text = 1;

select now() + 1;

select date '2020-02-30';

select * from t where id;

select * from t where name = 1;

select count(*) from t where count(*) > 1;

select id from t order by nosuch;

select id from t order by 5;

select distinct id from t order by name;

selct 1;

select 1 from;

select (1;

select 'abc;

create table t(id int);

create table t2(id int, id int);

drop table nosuch;

drop table if exists nosuch;

drop schema nosch;

create schema public;

copy t (nosuch) to stdout;

commit;

rollback;

begin; begin; rollback;

begin; select 1/0; select 1; rollback;

set nosuch = 1;

show nosuch;

set statement_timeout = 'x';

set timezone = 'Nowhere/City';

set work_mem='1kB';

set transaction isolation level repeatable read;

select * from t t1 join t t1 on true;

select * from t as a(x,y), lateral (select 1) b where a.id=1;

select * from t limit -1;

select * from t offset -1;

select (select 1 union select 2);

select * from t where id = (select 1 union select 2);

select case when 1 then 2 end;

select case when true then 1 else 'a' end;

select coalesce(1,'a');

select substring('abc' from 1 for -1);

select chr(0);

select sqrt(-1);

select ln(0);

select power(0,-1);

select to_char(now(), 1);

select 'abc' like 'a\';

select extract(nosuch from now());

select interval '1 nosuch';

select array[1,2] + 1;

select array[1,'a'];

select 1 in ('a');

select max(1,2);

select row_number();

select sum(sum(id)) from t;

select * from generate_series(1,2,0);

select nosuch();

select nosuch(1,'a',null);

with a as (select 1) select * from b;

execute p('a');

prepare p2 as select 1; prepare p2 as select 2;

explain nosuch;

select "Id" from t;

select 'x'::regclass;

select '99999999999'::int;

select 99999999999::int;

select 40000::smallint;

select 'NaN'::int;

select 1e400;

select '1e400'::float8;

select float8 '1e308'*10;

select * from u natural join t where nosuch=1;

select * from u join t using (nosuch);

select id from u join t using (name);

update t set name = null where id=1;

update t set name = 'toolong' where id=1;

insert into t select 1, 'a', 2 from u returning nosuch;

insert into t(id,name) values (1,'a') returning nosuch;

select account.id from t account join u on t.id = u.id;

select namee from t, u;

insert into t(id, name, n) values (1, 'a');

insert into t(id, name, n, d, b, u, ts) select 1, 'a';

insert into t(id, name, id) values (1, 'a', 2);

insert into t(id, name) values (1, 'a'), (2);

select 1_000;

select 0x1F, 0b1;

select 0o17;

select 1a, 1.5e, 1e5x;

select 1.a;

select id from t limit -1; select id from t offset -1;
