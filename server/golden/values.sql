-- Values in PostgreSQL's text and binary formats, from PostgreSQL itself:
--   psql -XAt -F "$(printf '\t')" -f values.sql > values.tsv     (PostgreSQL 15, time zone UTC)
set time zone 'UTC';
with golden(type, text, sent) as (
  select 'boolean', case when v then 't' else 'f' end, boolsend(v) from unnest(array[true, false]) v
  union all select 'smallint', v::text, int2send(v) from unnest('{0,1,-1,32767,-32768}'::int2[]) v
  union all select 'integer', v::text, int4send(v) from unnest('{0,1,-1,2147483647,-2147483648}'::int4[]) v
  union all select 'bigint', v::text, int8send(v) from unnest('{0,1,-1,10,9223372036854775807,-9223372036854775808}'::int8[]) v
  union all select 'oid', v::text, oidsend(v) from unnest('{0,1,4294967295}'::oid[]) v
  union all select 'real', v::text, float4send(v) from unnest('{0,1.5,-2.25,3.4028235e+38,1e-45,Infinity,-Infinity,NaN,0.1,16777216,1e+06}'::float4[]) v
  union all select 'double precision', v::text, float8send(v) from unnest('{0,1.5,-2.25,0.1,1e+300,5e-324,Infinity,-Infinity,NaN,1e+15,1e+16,123456789.125}'::float8[]) v
  union all select 'numeric', v::text, numeric_send(v) from unnest('{0,1,-1,0.0,0.00,1.0,10000,9999,10001,100000000,0.0001,0.00001,-0.5,12345678.9012,1.50,123456789012345678901234567890.123456789012345678901234567890,NaN,Infinity,-Infinity,1e-20,1e20,10.10,99999999.9999,0.1000}'::numeric[]) v
  union all select 'numeric(15,2)', v::text, numeric_send(v) from unnest('{0.00,1.00,-1.00,123.45,9999999999999.99,-9999999999999.99,0.01,10000.00}'::numeric(15,2)[]) v
  union all select 'numeric(38,10)', v::text, numeric_send(v) from unnest('{0,1,-1,9999999999999999999999999999.9999999999}'::numeric(38,10)[]) v
  union all select 'numeric(60,20)', v::text, numeric_send(v) from unnest('{0,-1.5,9999999999999999999999999999999999999999.99999999999999999999}'::numeric(60,20)[]) v
  union all select 'text', v, textsend(v) from unnest(array['', 'a', 'ä€😀', ' b ', '"quoted"']) v
  union all select 'character varying(10)', v::text, varcharsend(v) from unnest(array['', 'abc', 'ä€']::varchar(10)[]) v
  union all select 'character(5)', rpad(v::text, 5), bpcharsend(v) from unnest(array['', 'abc', 'äöü', 'abcde']::char(5)[]) v
  union all select 'name', v::text, namesend(v) from unnest(array['a', 'pg_class']::name[]) v
  union all select 'bytea', v::text, byteasend(v) from unnest(array['', '\x00', '\xdeadbeef00ff', 'abc']::bytea[]) v
  union all select 'date', v::text, date_send(v) from unnest('{2000-01-01,1970-01-01,1999-12-31,2024-02-29,infinity,-infinity,0001-01-01,4713-01-01 BC,5874897-12-31}'::date[]) v
  union all select 'time', v::text, time_send(v) from unnest('{00:00:00,12:34:56,23:59:59.999999,24:00:00,00:00:00.1}'::time[]) v
  union all select 'timestamp', v::text, timestamp_send(v) from unnest('{2000-01-01 00:00:00,1970-01-01 00:00:00,1999-12-31 23:59:59.999999,2024-02-29 12:34:56.5,infinity,-infinity,0001-01-01 00:00:00,4713-01-01 00:00:00 BC}'::timestamp[]) v
  union all select 'timestamptz', v::text, timestamptz_send(v) from unnest('{2000-01-01 00:00:00+00,1969-12-31 23:59:59.123+00,2024-06-01 12:00:00+02,infinity,-infinity}'::timestamptz[]) v
  union all select 'interval', v::text, interval_send(v) from unnest('{0,1 day,-1 day,1 year 2 mons 3 days 04:05:06.789,-1 year,-00:00:00.000001,100 years,1 mon -1 day,25:00:00}'::interval[]) v
  union all select 'uuid', v::text, uuid_send(v) from unnest('{00000000-0000-0000-0000-000000000000,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::uuid[]) v
  union all select 'integer[]', v::text, array_send(v) from (values ('{}'::int4[]), ('{1,2,3}'), ('{1,NULL,-3}')) x(v)
  union all select 'text[]', v::text, array_send(v) from (values ('{}'::text[]), ('{a,"b c",NULL,"","NULL"}'), ('{"q\"\\","{","a,b"}')) x(v)
  union all select 'boolean[]', v::text, array_send(v) from (values ('{t,f,NULL}'::bool[])) x(v)
  union all select 'smallint[]', v::text, array_send(v) from (values ('{1,-2}'::int2[])) x(v)
  union all select 'bigint[]', v::text, array_send(v) from (values ('{9223372036854775807,NULL}'::int8[])) x(v)
  union all select 'double precision[]', v::text, array_send(v) from (values ('{1.5,NaN,-Infinity}'::float8[])) x(v)
  union all select 'numeric[]', v::text, array_send(v) from (values ('{1.10,-1000000,NULL}'::numeric[])) x(v)
  union all select 'numeric(15,2)[]', v::text, array_send(v) from (values ('{1.10,-2}'::numeric(15,2)[])) x(v)
  union all select 'character varying(10)[]', v::text, array_send(v) from (values ('{abc,"a,b",""}'::varchar(10)[])) x(v)
  union all select 'bytea[]', v::text, array_send(v) from (values (array['\x01ff'::bytea])) x(v)
  union all select 'date[]', v::text, array_send(v) from (values ('{2020-01-02,infinity}'::date[])) x(v)
  union all select 'timestamptz[]', v::text, array_send(v) from (values ('{2020-01-02 03:04:05+00}'::timestamptz[])) x(v)
  union all select 'interval[]', v::text, array_send(v) from (values ('{1 day,2 mons}'::interval[])) x(v)
  union all select 'uuid[]', v::text, array_send(v) from (values ('{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::uuid[])) x(v)
  union all select 'json', v::text, json_send(v) from (values ('{"a" : [1,  2]}'::json), ('null')) x(v)
  union all select 'jsonb', v::text, jsonb_send(v) from (values ('{"b":[1,2.50,"x\u00e9"],"a":null}'::jsonb), ('[]'), ('"s"')) x(v)
  union all select 'json[]', v::text, array_send(v) from (values (array['{"a" : 1}'::json, 'null', null])) x(v)
  union all select 'jsonb[]', v::text, array_send(v) from (values (array['{"a" : 1}'::jsonb, 'null', null])) x(v)
)
select type, text, encode(sent, 'hex') from golden;
