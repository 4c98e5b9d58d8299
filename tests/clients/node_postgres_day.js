// What somebody does with node-postgres on the first day. Argument: the port.
'use strict';
const assert = require('assert');
const { Client, Pool } = require('pg');

const at = { host: '127.0.0.1', port: Number(process.argv[2]), user: 'postgres', database: 'postgres' };

async function main() {
  const db = new Client(at);
  await db.connect();
  const notices = [];
  db.on('notice', (notice) => notices.push(notice.message));
  await db.query(`create table node_day (id int primary key, t text, n numeric(10,2), d timestamptz,
    b bytea, ok bool, u uuid, f float8, big bigint)`);
  const key = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
  const values = [1, 'x', 1.5, new Date(0), Buffer.from([0, 255]), true, key, 2.5, '9007199254740993'];
  const inserted = await db.query('insert into node_day values ($1,$2,$3,$4,$5,$6,$7,$8,$9) returning *', values);
  assert.deepStrictEqual(inserted.rows[0], {
    id: 1, t: 'x', n: '1.50', d: new Date(0), b: Buffer.from([0, 255]), ok: true, u: key, f: 2.5,
    big: '9007199254740993',
  });
  for (const id of [1, 2, 1]) {
    const named = await db.query({ name: 'by-id', text: 'select t from node_day where id = $1', values: [id] });
    assert.strictEqual(named.rowCount, id === 1 ? 1 : 0);
  }
  const limited = await db.query('select id from node_day order by id limit $1 offset $2', [1, 0]);
  assert.deepStrictEqual(limited.rows, [{ id: 1 }]);
  const several = await db.query('select 1 as a; select 2 as b');
  assert.deepStrictEqual(several.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
  const binary = await db.query({ text: 'select id, f, ok from node_day', binary: true });
  assert.strictEqual(binary.rows.length, 1);

  await db.query('begin');
  await db.query('insert into node_day (id) values (2)');
  await db.query('rollback');
  const { rows } = await db.query('select count(*) from node_day');
  assert.deepStrictEqual(rows, [{ count: '1' }]);
  await assert.rejects(db.query('insert into node_day (id) values (1)'), (error) => {
    assert.strictEqual(error.code, '23505');
    assert.strictEqual(error.constraint, 'node_day_pkey');
    assert.strictEqual(error.detail, 'Key (id)=(1) already exists.');
    return true;
  });
  await assert.rejects(db.query('select * from node_day where idd = $1', [1]), (error) => {
    assert.strictEqual(error.code, '42703');
    assert.strictEqual(error.position, '30');
    return true;
  });
  const long = await db.query('select length($1::text) as l', ['x'.repeat(1000000)]);
  assert.deepStrictEqual(long.rows, [{ l: 1000000 }]);
  await db.query('drop table if exists nowhere');
  assert.deepStrictEqual(notices, ['table "nowhere" does not exist, skipping']);

  const pool = new Pool({ ...at, max: 5 });
  const jobs = [...Array(20).keys()].map((n) => pool.query('select $1::int + 1 as x', [n]));
  assert.deepStrictEqual((await Promise.all(jobs)).map((r) => r.rows[0].x), [...Array(20).keys()].map((n) => n + 1));
  await pool.end();
  await db.query('drop table node_day');
  await db.end();
  console.log('done');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
