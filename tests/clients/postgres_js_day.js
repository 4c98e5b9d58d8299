// What somebody does with postgres.js on the first day. Argument: the port.
'use strict';
const assert = require('assert');
const { Readable } = require('stream');
const { pipeline } = require('stream/promises');
const postgres = require('postgres');

const notices = [];
const sql = postgres({
  host: '127.0.0.1', port: Number(process.argv[2]), username: 'postgres', database: 'postgres', max: 4,
  onnotice: (notice) => notices.push(notice.message),
});

async function main() {
  await sql`create table js_day (id int primary key, t text, n numeric(10,2), d timestamptz, b bytea, ok bool,
    u uuid, f float8, big bigint, j jsonb, a int[])`;
  const row = {
    id: 1, t: 'x', n: '1.50', d: new Date(0), b: Buffer.from([0, 255]), ok: true,
    u: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', f: 2.5, big: '9007199254740993', j: { k: [1, 'two'] }, a: [1, 2, 3],
  };
  const [inserted] = await sql`insert into js_day ${sql({ ...row, j: sql.json(row.j) })} returning *`;
  assert.deepStrictEqual({ ...inserted }, row);
  const many = [...Array(100).keys()].map((n) => ({ id: n + 2, t: `row ${n}` }));
  assert.strictEqual((await sql`insert into js_day ${sql(many, 'id', 't')}`).count, 100);
  assert.strictEqual((await sql`select id from js_day where id in ${sql([1, 2, 3, 500])}`).length, 3);
  const column = 't';
  const [named] = await sql`select ${sql(column)} from ${sql('js_day')} where id = ${1}`;
  assert.deepStrictEqual({ ...named }, { t: 'x' });
  for (const id of [1, 2, 500]) {
    assert.strictEqual((await sql`select 1 from js_day where id = ${id} and ok is not false`).length, id < 500 ? 1 : 0);
  }
  const changes = { t: 'changed', f: 7 };
  const updated = await sql`update js_day set ${sql(changes, 't', 'f')} where id = ${2} returning id, t, f`;
  assert.deepStrictEqual([...updated].map((r) => ({ ...r })), [{ id: 2, ...changes }]);
  assert.strictEqual((await sql`select * from js_day where t is not distinct from ${null}`).length, 0);
  const any = await sql`select count(*)::int as n from js_day where id = any(${[1, 2, 3]})`;
  assert.strictEqual(any[0].n, 3);

  const several = await sql`select 1 as a; select 2 as b`.simple();
  assert.deepStrictEqual(several.map((result) => ({ ...result[0] })), [{ a: 1 }, { b: 2 }]);
  const described = await sql`select id, t from js_day where id = ${1}`.describe();
  assert.deepStrictEqual(described.columns.map((c) => [c.name, c.type]), [['id', 23], ['t', 25]]);
  assert.deepStrictEqual(described.types, [23]);
  assert.deepStrictEqual([...(await sql`values (1, 'a')`.values())].map((r) => [...r]), [[1, 'a']]);

  // A transaction is a callback; an error in it rolls back.
  await assert.rejects(sql.begin(async (tx) => {
    await tx`delete from js_day`;
    throw new Error('no');
  }), /no/);
  const results = await sql.begin((tx) => [tx`select count(*)::int as n from js_day`, tx`select 2 as two`]);
  assert.deepStrictEqual([results[0][0].n, results[1][0].two], [101, 2]);
  await assert.rejects(sql.begin('isolation level repeatable read read only', (tx) => tx`delete from js_day`),
    (error) => error.code === '25006');
  await assert.rejects(sql`insert into js_day (id) values (1)`, (error) => {
    assert.strictEqual(error.code, '23505');
    assert.strictEqual(error.constraint_name, 'js_day_pkey');
    assert.strictEqual(error.table_name, 'js_day');
    assert.strictEqual(error.detail, 'Key (id)=(1) already exists.');
    return true;
  });
  await assert.rejects(sql`select * from js_day where idd = ${1}`, (error) => {
    assert.strictEqual(error.code, '42703');
    assert.strictEqual(error.position, '28');
    return true;
  });

  // Rows in parts, which the server computes as they are read.
  let seen = 0;
  for await (const rows of sql`select g from generate_series(1, ${1000}::int) g`.cursor(300)) {
    seen += rows.length;
  }
  assert.strictEqual(seen, 1000);
  let sum = 0;
  await sql`select g from generate_series(1, 100) g`.forEach((r) => { sum += r.g; });
  assert.strictEqual(sum, 5050);

  // Many at a time over a few connections.
  const jobs = [...Array(40).keys()].map((n) => sql`select ${n}::int + 1 as x`);
  assert.deepStrictEqual((await Promise.all(jobs)).map((r) => r[0].x), [...Array(40).keys()].map((n) => n + 1));

  // COPY both ways as streams.
  const lines = [...Array(5000).keys()].map((n) => `${n + 1000}\tcopied ${n}\n`);
  await pipeline(Readable.from(lines), await sql`copy js_day (id, t) from stdin`.writable());
  let text = '';
  for await (const chunk of await sql`copy (select id, t from js_day where id >= 1000 order by id) to stdout`.readable()) {
    text += chunk;
  }
  assert.strictEqual(text, lines.join(''));

  await sql`drop table if exists nowhere`;
  assert.deepStrictEqual(notices, ['table "nowhere" does not exist, skipping']);
  await sql`drop table js_day`;
  await sql.end();
  console.log('done');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
