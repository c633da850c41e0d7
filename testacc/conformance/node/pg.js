// The client "pg" (node-postgres): simple and extended queries, named
// statements, cursors, COPY streams, notices, notifications, cancelling.
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { awaitSleep, connection, require, step, version } from './transcript.js';

const pg = require('pg');
const Cursor = require('pg-cursor');
const { from, to } = require('pg-copy-streams');

if (process.argv[2] === 'version') {
  console.log(version('pg'));
  process.exit();
}

const client = new pg.Client(connection());
client.on('notice', (n) => console.log(`notice ${n.severity} ${n.code} ${n.message}`));
const notified = [];
client.on('notification', (n) => notified.push([n.channel, n.payload]));
await client.connect();
const rows = async (...q) => (await client.query(...q)).rows;

await step('simple', () => rows('select 1 as a, null as b, true as c'));
await step('several', async () => (await client.query('select 1 as a; select 2 as b; create temp table t(a int)')).map((r) => [r.command, r.rowCount, r.rows]));
await step('types', () => rows('select * from people order by id'));
await step('fields', async () => (await client.query('select id, name, score from people')).fields.map((f) => [f.name, f.dataTypeID, f.dataTypeModifier, f.format]));
await step('parameters', () => rows('select $1::int + 1 as a, $2::text as b, $3::jsonb as c', [41, 'é', { k: 1 }]));
await step('arrays', () => rows({ text: 'select $1::int[] as a', values: [[1, 2, null]], rowMode: 'array' }));
for (let i = 0; i < 3; i++) await step(`named ${i}`, () => rows({ name: 'n1', text: 'select $1::text as v', values: [String(i)] }));
await step('binary', () => rows({ text: 'select 7::int4 as a, $1::bytea as b', values: [Buffer.from([0, 255])], binary: true }));
await step('unknown column', () => rows('select nothing from people'));
await step('unknown column, extended', () => rows('select nothing, $1::int from people', [1]));
await step('division', () => rows('select 1/$1::int', [0]));
await step('wrong parameter', () => rows('select $1::int', ['x']));
await step('after errors', () => rows('select 1 as a'));
await step('transaction', async () => {
  await client.query('begin');
  await client.query('insert into notes values ($1, 1, $2)', [100, 'x']);
  await client.query('savepoint s');
  await client.query('select 1/0').catch((e) => console.log('in it', e.code));
  await client.query('select 1').catch((e) => console.log('in it', e.code));
  await client.query('rollback to s');
  await client.query('commit');
  return rows('select * from notes where id = 100');
});
await step('queued', () => Promise.all([1, 2, 3].map((i) => rows('select $1::int as v', [i]))));
await step('notice', () => rows("select app.loud('x')"));
await step('cursor', async () => {
  const cursor = client.query(new Cursor('select generate_series(1, 10) as g where $1 > 0', [1]));
  const parts = [];
  for (;;) {
    const part = await cursor.read(4);
    parts.push(part.map((r) => r.g));
    if (part.length === 0) break;
  }
  await cursor.close();
  return parts;
});
await step('cursor closed early', async () => {
  const cursor = client.query(new Cursor('select generate_series(1, 1000000) as g'));
  const part = await cursor.read(3);
  await cursor.close();
  return part;
});
await step('cursor with an error', async () => {
  const cursor = client.query(new Cursor('select 1/(3-g) from generate_series(1, 10) g'));
  await cursor.read(2);
  return cursor.read(5);
});
await step('copy in', async () => {
  await client.query('create temp table c(a int, b text)');
  const stream = client.query(from('copy c from stdin'));
  await pipeline(Readable.from(Array.from({ length: 5000 }, (_, i) => `${i}\tline ${i}\n`)), stream);
  return stream.rowCount;
});
await step('copy in, bad data', () => pipeline(Readable.from(['x\ty\n']), client.query(from('copy c from stdin'))));
await step('copy out', async () => {
  let size = 0;
  const stream = client.query(to('copy (select * from c order by a) to stdout (format csv)'));
  for await (const chunk of stream) size += chunk.length;
  return size;
});
await step('listen', async () => {
  await client.query('listen ch');
  await client.query("notify ch, 'payload'");
  await client.query('select 1');
  return notified;
});
await step('cancel by a second connection', async () => {
  const other = new pg.Client(connection());
  const slow = client.query("select 'slow', pg_sleep(60)").catch((e) => e.code);
  other.processID = client.processID;
  const key = client.secretKey;
  const looker = new pg.Client(connection());
  await looker.connect();
  await awaitSleep(async (q) => (await looker.query(q)).rows);
  await looker.end();
  await new Promise((done) => {
    const raw = other.connection;
    raw.ssl = false;
    raw.once('connect', () => raw.cancel(client.processID, key));
    raw.stream.once('close', done);
    raw.connect(connection().port, connection().host);
  });
  return slow;
});
await step('pool', async () => {
  const pool = new pg.Pool({ ...connection(), max: 3 });
  const out = await Promise.all(Array.from({ length: 9 }, (_, i) => pool.query('select $1::int as i', [i]).then((r) => r.rows[0].i)));
  await pool.end();
  return out;
});
await step('terminated', async () => {
  client.on('error', (e) => console.log('error event', e.code ?? e.message));
  return rows('select pg_terminate_backend(pg_backend_pid())');
});
