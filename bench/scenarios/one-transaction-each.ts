// What teams write without a framework, a transaction for each command: the lower of the two ends that everything else lies between.
import pg from 'pg'
import { accountName } from '../bank.ts'
import { withCpu } from '../cpu.ts'
import { idSource } from '../ids.ts'
import { closedLoad } from '../load.ts'
import { resultOf, withDatabase, type Scenario } from '../scenario.ts'

const ACCOUNTS = 10_000
const WARM_UP_SECONDS = 1

const TABLES = `
  create table account (name text primary key, cents bigint not null, version bigint not null) with (fillfactor = 75);
  create table done (id uuid primary key, name text not null, cents bigint not null, at timestamptz not null default now());
  create table event (seq bigint generated always as identity primary key, id uuid not null, body text not null);
  insert into account select 'account-' || n, 0, 0 from generate_series(0, ${ACCOUNTS - 1}) n`

/** More connections than cores, so that commits share their fsync; beyond this it gets no faster here. */
const CONNECTIONS = 32

export const oneTransactionEach: Scenario = {
  name: 'one-transaction-each',
  run: ({ server, seconds }) =>
    withDatabase(server, async (url, client) => {
      await client.query(TABLES)
      const pool = new pg.Pool({ connectionString: url, max: CONNECTIONS })
      // Without a listener an idle connection that is cut would end the whole run; the next statement fails anyway, and says why.
      pool.on('error', () => undefined)
      try {
        const nextId = idSource()
        const credit = (at: number): Promise<void> => creditByHand(pool, nextId(), accountName((at * 7919) % ACCOUNTS), 1)
        const before = await closedLoad(CONNECTIONS, WARM_UP_SECONDS, credit)
        const load = await withCpu(
          client,
          () => closedLoad(CONNECTIONS, seconds, credit),
          ({ sent }) => sent,
        )
        await verify(client, before.sent + load.sent)
        return [{ ...resultOf('one-transaction-each', load), baseline: true }]
      } finally {
        await pool.end()
      }
    }),
}

/** Deduplicated, versioned, with an event, durable: four statements between BEGIN and COMMIT. */
async function creditByHand(pool: pg.Pool, id: string, name: string, cents: number): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    const { rows } = await client.query<{ cents: string }>({
      name: 'lock',
      text: 'select cents, version from account where name = $1 for update',
      values: [name],
    })
    const balance = Number(rows[0]?.cents) + cents
    await client.query({ name: 'done', text: 'insert into done (id, name, cents) values ($1, $2, $3)', values: [id, name, balance] })
    await client.query({
      name: 'update',
      text: 'update account set cents = $2, version = version + 1 where name = $1',
      values: [name, balance],
    })
    await client.query({
      name: 'event',
      text: 'insert into event (id, body) values ($1, $2)',
      values: [id, JSON.stringify({ name, cents })],
    })
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

async function verify(client: pg.Client, done: number): Promise<void> {
  const { rows } = await client.query<Record<'cents' | 'versions' | 'done' | 'events', string>>(`select
    (select sum(cents) from account) as cents, (select sum(version) from account) as versions,
    (select count(*) from done) as done, (select count(*) from event) as events`)
  for (const [name, value] of Object.entries(rows[0] ?? {}))
    if (Number(value) !== done) throw new Error(`${name}: ${value} instead of ${done}`)
}
