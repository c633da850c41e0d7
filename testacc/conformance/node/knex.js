// The query builder knex over "pg": schema, inserts, joins, transactions,
// streams.
import { connection, require, step, version } from './transcript.js';

const knex = require('knex');
if (process.argv[2] === 'version') {
  console.log(version('knex'));
  process.exit();
}

const db = knex({ client: 'pg', connection: connection(), pool: { min: 0, max: 2 } });

await step('schema', () => db.schema.createTable('books', (t) => {
  t.increments('id');
  t.string('title').notNullable().unique();
  t.integer('author').references('people.id');
  t.jsonb('doc');
  t.timestamps(true, true);
}));
await step('has table', () => db.schema.hasTable('books'));
await step('columns', () => db('books').columnInfo());
await step('alter', () => db.schema.alterTable('books', (t) => { t.decimal('price', 8, 2); t.index(['price']); }));
await step('insert', () => db('books').insert([{ title: 'a', author: 1, doc: { x: 1 }, price: 1.5 }, { title: 'b', author: 2 }]).returning(['id', 'title', 'price']));
await step('upsert', () => db('books').insert({ title: 'a', price: 9 }).onConflict('title').merge(['price']).returning('price'));
await step('duplicate', () => db('books').insert({ title: 'a' }));
await step('join', () => db('books as b').join('people as p', 'p.id', 'b.author').select('p.name', 'b.title').orderBy('b.id'));
await step('aggregate', () => db('books').count('* as n').max('price as dearest').first());
await step('where', () => db('people').whereIn('name', ['ana', 'bea']).whereNotNull('id').orderBy('id').pluck('name'));
await step('with', () => db.with('w', db('people').select('id')).select('*').from('w').orderBy('id').limit(2).offset(1));
await step('update', () => db('books').where({ title: 'b' }).update({ price: 2 }));
await step('raw', () => db.raw('select ?::int + ?? as s from people order by 1', [1, 'id']).then((r) => r.rows));
await step('transaction', () => db.transaction(async (tx) => {
  await tx('books').insert({ title: 'c' });
  await tx.transaction(async (inner) => { await inner('books').insert({ title: 'c' }); }).catch((e) => console.log('in it', e.code));
  return tx('books').count('* as n');
}));
await step('rolled back', () => db.transaction(async (tx) => {
  await tx('books').del();
  throw new Error('never mind');
}));
await step('timeout', () => db.raw('select pg_sleep(60)').timeout(1000, { cancel: true }));
await step('left', () => db('books').select('title').orderBy('title'));
await step('drop', () => db.schema.dropTable('books'));
await db.destroy();
