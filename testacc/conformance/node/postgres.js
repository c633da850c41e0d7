// The client "postgres" (postgres.js): pipelined queries, transactions with
// savepoints, cursors, COPY streams, notifications, cancelling.
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import postgres from 'postgres';
import { awaitSleep, connection, step, version } from './transcript.js';

if (process.argv[2] === 'version') {
  console.log(version('postgres'));
  process.exit();
}

const options = { ...connection(), max: 1, onnotice: (n) => console.log(`notice ${n.severity} ${n.code} ${n.message}`) };
const sql = postgres(options);

await step('simple', () => sql`select 1 as a, null as b`);
await step('types', () => sql`select * from people order by id`);
await step('columns', async () => (await sql`select id, name from people`).columns.map((c) => [c.name, c.type]));
await step('parameters', () => sql`select ${41}::int + 1 as a, ${'é'}::text as b, ${sql.json({ k: 1 })} as c`);
await step('again', () => sql`select ${42}::int + 1 as a, ${'f'}::text as b, ${sql.json({ k: 2 })} as c`);
await step('insert helper', () => sql`insert into notes ${sql([{ id: 200, person: 1, body: 'x' }, { id: 201, person: 2, body: null }])} returning *`);
await step('list', () => sql`select id from people where id in ${sql([1, 2])} order by 1`);
await step('pipelined', () => Promise.all([1, 2, 3, 4].map((i) => sql`select ${i}::int as v`)));
await step('pipelined with an error', async () =>
  (await Promise.allSettled([sql`select 1 as a`, sql`select 1/${0}::int`, sql`select 3 as a`])).map((r) => r.value ?? r.reason.code));
await step('unprepared', () => sql.unsafe('select 1 as a; select 2 as b'));
await step('unknown column', () => sql`select nothing from people`);
await step('simple protocol', () => sql`select 1 as a`.simple());
await step('describe', async () => {
  const d = await sql`select id, name from people where id = ${1}`.describe();
  return [d.types, d.columns.map((c) => c.name)];
});
await step('transaction', () => sql.begin(async (tx) => {
  await tx`insert into notes values (210, 1, 'tx')`;
  await tx.savepoint((sp) => sp`select 1/0`).catch((e) => console.log('in it', e.code));
  return tx`select count(*) from notes where id = 210`;
}));
await step('transaction that fails', () => sql.begin(async (tx) => {
  await tx`insert into notes values (211, 1, 'tx')`;
  await tx`insert into notes values (211, 1, 'tx')`;
}));
await step('two-phase', () => sql.begin(async (tx) => {
  await tx`insert into notes values (212, 1, 'tx')`;
  await tx.prepare('tx212');
}));
await step('commit prepared', () => sql.unsafe("commit prepared 'tx212'"));
await step('cursor', async () => {
  const parts = [];
  await sql`select generate_series(1, 10) as g`.cursor(4, (part) => parts.push(part.map((r) => r.g)));
  return parts;
});
await step('cursor left early', async () => {
  for await (const [row] of sql`select generate_series(1, 100000) as g`.cursor()) if (row.g === 3) return row;
});
await step('for each', async () => {
  let sum = 0;
  await sql`select generate_series(1, 1000) as g`.forEach((r) => { sum += r.g; });
  return sum;
});
await step('raw', async () => (await sql`select 1 as a, 'b' as b`.raw()).map((r) => r.map((v) => v.toString('hex'))));
await step('copy in', async () => {
  await sql`create temp table c(a int, b text)`;
  await pipeline(Readable.from(Array.from({ length: 5000 }, (_, i) => `${i}\tline ${i}\n`)), await sql`copy c from stdin`.writable());
  return sql`select count(*), sum(a) from c`;
});
await step('copy out', async () => {
  let size = 0;
  for await (const chunk of await sql`copy (select * from c order by a) to stdout`.readable()) size += chunk.length;
  return size;
});
await step('notice', () => sql`select app.loud('x')`);
await step('listen', () => new Promise((done, fail) => {
  const timer = setTimeout(() => fail(new Error('no notification')), 30000);
  sql.listen('ch', (payload) => { clearTimeout(timer); done(payload); }).then(() => sql.notify('ch', 'payload'), fail);
}));
await step('cancel', async () => {
  const slow = sql`select pg_sleep(60)`.execute();
  const looker = postgres(options);
  awaitSleep((q) => looker.unsafe(q)).then(() => slow.cancel()).finally(() => looker.end());
  return slow;
});
await step('after it', () => sql`select 1 as a`);
await step('reserved', async () => {
  const r = await sql.reserve();
  const out = await r`select current_user`;
  r.release();
  return out;
});
await sql.end({ timeout: 10 });
