-- Select lists
select $1
select $1::int4
select cast($1 as text)
select $1::int8, $2::date, $1
select $1 + 1
select 1 + $1
select $1 + 1.5
select $1 + $2::int8
select $1::int2 + $2
select $1 || 'x'
select 'x' || $1
select $1 || $2
select -$1::int4
select $1 = 1
select $1 = 'x'
select $1 = $2
select not $1
select $1 and true
-- differs: a parameter whose type nothing decides is text
select $1 is null
select $1 is true
select $1 is distinct from 5
select coalesce($1, 1)
select coalesce($1, 'x')
select coalesce(null, $1, now())
select nullif($1, 7)
select greatest($1, 1, 2.5)
select case when $1 then 1 else 2 end
select case $1 when 1 then 'a' else 'b' end
select case when true then $1 else 2 end
select case when true then $1 end
select array[$1, 2]
select array[$1, 'x']
select array[$1::int8]
select $1 = any (array[1, 2])
select 1 = any ($1)
select 'x'::text = any ($1)
select 5 = all ($1)
select ($1::int4[])[1]
select (array[1, 2, 3])[$1]
select $1 in (1, 2, 3)
select 1 in ($1, $2)
select $1 between 1 and 10
select 5 between $1 and $2
select 'a' like $1
select $1 like 'a%'
select $1 ~ 'x'
select $1 ilike $2
select current_date + $1
select now() - $1
select now() + $1::interval
select $1::timestamp - $2::timestamp
select date '2020-01-01' - $1
select interval '1 day' * $1
select 2 * $1::interval
select extract(year from $1::date)
select $1 at time zone 'UTC'
-- differs: only constant zones
select timestamptz '2020-01-01 00:00:00+00' at time zone $1
select length($1)
select upper($1), lower($2)
select substring($1 from 2)
-- differs: no substring(text, text, text)
select substring($1, $2, $3)
-- differs: no substring(text, text, text)
select substring('abc' from $1 for $2)
select position($1 in $2)
select overlay('abc' placing $1 from $2)
select trim($1)
select trim(both $1 from 'xax')
select left($1, $2)
select lpad($1, $2, $3)
select repeat($1, $2)
select replace($1, $2, $3)
select split_part($1, $2, $3)
select concat($1::text, 'x')
select to_char($1::timestamp, $2)
select to_date($1, $2)
select to_timestamp($1, $2)
select to_number($1, $2)
select date_trunc($1, now())
select date_trunc('day', $1::timestamp)
select age($1::timestamp)
select make_date($1, $2, $3)
select md5($1::text)
select encode($1, 'hex')
select decode($1, $2)
select round($1::numeric, $2)
select abs($1::float8)
select power($1::float8, $2)
select mod($1::int4, $2)
select sqrt($1::float8)
select ceil($1::numeric)
select random() < $1
select jsonb_build_object('a', $1::int4)
select $1::jsonb -> 'a'
select $1::jsonb -> $2
select $1::jsonb ->> $2
select '{"a": 1}'::json ->> $1
select $1::jsonb @> $2
select '{"a": 1}'::jsonb ? $1
select jsonb_extract_path_text($1, 'a')
select to_jsonb($1::text)
select array_length($1::int4[], $2)
select array_append($1::int4[], $2)
select array_append(array[1, 2], $1)
select array_position(array['a'], $1)
select array_to_string($1::text[], $2)
select string_to_array($1, $2)
select unnest($1::int4[])
select unnest($1::text[]) as x
select generate_series($1::int4, $2::int4)
select generate_series(1, $1)
select generate_series($1::timestamp, $2::timestamp, $3)
select * from generate_series(1, $1) g
select * from generate_series(1, $1) g (n) where n > $2
select * from unnest($1::int4[], $2::text[]) as x (a, b)
select * from json_each_text($1) e
select * from jsonb_array_elements_text($1) e
select ($1, $2) = (1, 'x')
select (1, 2) < ($1, $2)
select exists (select 1 from t where id = $1)
select (select name from t where id = $1)
select (select $1 + 1)
-- differs: pg_typeof gives text
select pg_typeof($1::int2)
select format('%s', $1::text)
select current_setting($1)
select set_config($1, $2, $3)
-- differs: no pg_sleep
select pg_sleep($1)
-- Conditions
select * from t where id = $1
select id from t where $1 = id
select id from t where big = $1 and small = $2
select id from t where real4 > $1 or real8 <= $2
select id from t where num = $1
select id from t where bare <> $1
select id from t where name = $1
select id from t where code = $1
select id from t where ch = $1
select id from t where flag = $1
select id from t where $1
select id from t where d = $1 and ts > $2 and tz < $3
select id from t where ti = $1 and iv = $2
select id from t where u = $1
select id from t where raw = $1
select id from t where arr = $1
select id from t where arr @> $1
select id from t where $1 = any (arr)
select id from t where texts && $1
select id from t where jb = $1
select id from t where jb @> $1
select id from t where jb ->> $1 = $2
select id from t where (jb ->> 'a')::int4 = $1
select id from t where j ->> 'a' = $1
select id from t where id in ($1, $2, $3)
select id from t where id = any ($1)
select id from t where id <> all ($1)
select id from t where name = any ($1)
select id from t where u = any ($1)
select id from t where id not in (select k from s where l = $1)
select id from t where (id, name) in (select k, l from s where k > $1)
select id from t where (id, name) = ($1, $2)
select id from t where (id, name) > ($1, $2) order by id, name limit $3
select id from t where name like $1
select id from t where name ilike '%' || $1 || '%'
select id from t where name like concat('%', $1::text, '%')
select id from t where name is distinct from $1
select id from t where id between $1 and $2
select id from t where id + $1 > 5
select id from t where id % $1 = 0
select id from t where id & $1 = 0
select id from t where big + $1 = $2
select id from t where num * $1 > 100
select id from t where d + $1 > current_date
select id from t where d - $1 > 5
select id from t where ts - $1 > interval '1 day'
select id from t where tz >= now() - $1::interval
select id from t where tz between $1 and $2
select id from t where lower(name) = $1
select id from t where length(name) > $1
select id from t where coalesce(name, $1) = 'x'
select id from t where case when id > $1 then true else flag end
select id from t where exists (select 1 from s where s.k = t.id and s.l = $1)
select id from t order by id limit $1
select id from t order by id limit $1 offset $2
select id from t order by id fetch first 3 rows only
select id from t offset $1
select name, count(*) from t group by name having count(*) > $1
select sum(id), avg(big), min(num), max(ts), sum(big), sum(num), avg(real4) from t where id > $1
select count(*) filter (where id > $1) from t
-- differs: constant delimiters only
select string_agg(name, $1) from t
-- differs: constant delimiters only
select string_agg(name, $1 order by id) from t
select array_agg(id), array_agg(name), json_agg(name), jsonb_object_agg(name, id) from t where id = $1
-- differs: no ordered-set aggregates
select percentile_cont($1) within group (order by real8) from t
-- differs: constant offsets only
select row_number() over (order by id), lag(name, $1) over (order by id) from t
-- differs: constant offsets only
select sum(id) over (partition by name order by id rows between $1 preceding and current row) from t
select t.*, s.l from t join s on s.k = t.id and s.l = $1
select t.id, s.* from t left join s using (id) where t.id = $1
select a.id from t a join t b on a.id = b.id + $1
select * from (select id + $1 as n from t) x where n > $2
select * from (values ($1, $2)) v (a, b)
select * from (values (1, 'x'), ($1, $2)) v (a, b)
select * from t, lateral (select t.id + $1 as n) x
with w as (select $1::int4 as n) select n + 1 from w
with recursive r (n) as (select $1::int4 union all select n + 1 from r where n < $2) select n from r
select id from t union select $1
select $1 union select id from t
select id, name from t where id = $1 union all select k, $2 from s
select id from t except select $1
select distinct on (name) name, id from t where flag = $1 order by name, id
select shout, twice from v where id = $1
select v.* from v where shout = $1
-- Columns of every kind
select * from t
select id as "Two Words", num, code, ch, arr, iv from t
select 1, 'x', 1.5, null, true, 1::int8 as big, array['a'], now()
select id + 1, name || 'x', num + 1, num * num, num / 3, real4 * 2, d + 1, ts - ts, d - d from t
select code || 'x', ch || 'x', upper(code), code::text, name::varchar(3), num::numeric(5, 1) from t
select coalesce(code, ch), coalesce(code, name), case when flag then code end, nullif(ch, 'x') from t
select count(*), max(code), min(ch), sum(small), avg(num) from t
select cast('1' as numeric(6, 3)), cast('x' as char(5)), cast('x' as char), 'x'::bpchar, '1'::numeric
select current_user, session_user, current_date, current_timestamp, localtime, current_schema, version()
select t.id id, t.id, s.k id from t, s
-- Changes
insert into t (id, name, num) values ($1, $2, $3)
insert into t (id, small, real4, flag, d, ts, tz, u, raw) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
insert into t (id, arr, texts, j, jb, iv, ti) values ($1, $2, $3, $4, $5, $6, $7)
insert into t (id, code, ch, big) values ($1, $2, $3, $4), ($5, $6, $7, $8)
insert into t values ($1, $2)
insert into t (id, name) values ($1 + 1, upper($2))
-- differs: the first place decides
insert into t (id, big) values ($1, $1)
insert into t (id, name) values ($1, default) returning *
insert into t (id, name) values ($1, $2) returning id, name || $3
insert into t (id, name) select $1, $2
insert into t (id, name) select k + $1, $2 from s where l = $3
insert into t (id, name) select k, l from s where k > $1 returning id as new
update t set name = $1 where id = $2
update t set num = $1, d = $2, flag = $3, code = $4 where id = $5
update t set big = big + $1 where id = $2
update t set num = num * $1, real4 = real4 + $2 where name = $3
update t set name = coalesce($1, name), flag = not $2 where id = $3
update t set ts = now() + $1, jb = jb || $2 where id = $3
update t set arr = array_append(arr, $1), texts = $2 where id = $3 returning arr, texts
update t set name = s.l || $1 from s where s.k = t.id and s.l = $2
update t set name = (select l from s where k = $1 limit 1) where id = $2
update t set (name, num) = ($1, $2) where id = $3
update t set name = default where id = $1
delete from t where id = $1
delete from t where id in (select k from s where l = $1)
delete from t using s where s.k = t.id and s.l = $1 returning t.id, s.l
delete from s where k = $1 and l = $2 returning *
-- Others, and errors
show timezone
show all
explain select * from t where id = $1
begin
set timezone = 'UTC'
create table u (a int4)
values ($1, 2), (3, $2)
values (1, 'x')
table s
select $1 from t group by $1
select $2::int4
select $1::int4, $3::int4
select * from t where id = $1 and name = $1
select nosuch from t where id = $1
select * from nosuch where id = $1
select nosuch($1)
select $1 + 'x'::text
select id from t where id = $1::text
select id from t limit $1::text
insert into t (id) values ($1, $2)
update t set nosuch = $1
select sum($1)
select max($1)
-- differs: a parameter whose type nothing decides is text
select array_agg($1)
-- differs: a parameter whose type nothing decides is text
select count($1)
select row($1, 2) = row(1, $2)
select $1::varchar(5), $2::numeric(8, 2), $3::char(2)
select $1::nosuch
select interval '1 day' > $1
select time '10:00' + $1
-- differs: no geometric types
select point($1, $2)
-- Rows
select r from r
select p, ps, (p).x, (p).y from r
-- differs: a parameter beside a row has the row's type
select * from r where p = $1
select $1::pair
select ($1::pair).y
select row($1::int4, 'x')
select (row($1, $2)::pair).*
select row_to_json(r), to_jsonb(p) from r
select array_agg(r), array_agg(p), count(r) from r
select row_to_json(row($1::int4, $2::text))
select json_populate_record(null::pair, $1)
select * from jsonb_populate_recordset(null::pair, $1)
select * from json_populate_record(null::record, $1) as x (a int, b text)
insert into r values ($1, $2, $3)
insert into r values (1, row($1, $2), $3)
update r set p = $1 where id = $2
