// What the Node clients share: a transcript of lines, each of which comes from
// one step, and where the server is.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export const require = createRequire(import.meta.url);

export function version(name) {
  const dir = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(dir, 'utf8')).version;
}

export function connection() {
  const e = process.env;
  return {
    host: e.PGHOST, port: Number(e.PGPORT), user: e.PGUSER, password: e.PGPASSWORD, database: e.PGDATABASE,
    ssl: { ca: readFileSync(e.PGSSLROOTCERT, 'utf8') },
  };
}

export function show(value) {
  return JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v));
}

// step runs one action and prints what it gives, or its error.
export async function step(name, action) {
  try {
    console.log(`${name}: ${show(await action())}`);
  } catch (e) {
    const position = e.position ? ` at ${e.position}` : '';
    console.log(`${name}: ${e.name} ${e.code} ${e.severity ?? ''} ${e.message}${position}`);
  }
}

// awaitSleep waits until the server runs pg_sleep(60), or half a minute: look
// runs a query and gives its rows.
export async function awaitSleep(look) {
  const query = "select 1 from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like '%pg_sleep(60)%'";
  for (let i = 0; i < 1500 && (await look(query)).length === 0; i++) await new Promise((r) => setTimeout(r, 20));
}
