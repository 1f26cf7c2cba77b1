// What a scenario is given, and what it says.
import pg from 'pg'
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Cpu } from './cpu.ts'
import type { Load } from './load.ts'

/** Where and how long a scenario runs. */
export interface Setting {
  /** The server's own database: a scenario makes its own beside it. */
  readonly server: string
  /** How long a load is measured, in seconds. */
  readonly seconds: number
  /** How often everything is measured. */
  readonly rounds: number
}

/** One measured figure. `name` is stable: results of different days are compared by it. */
export interface Result {
  readonly name: string
  readonly perSecond?: number
  readonly p50Ms?: number
  readonly p99Ms?: number
  /** Microseconds of processor time per command; see `withCpu`. */
  readonly nodeCpuUs?: number
  readonly postgresCpuUs?: number
  /** Further numbers, named with their unit; medians count, like those above. */
  readonly figures?: Readonly<Record<string, number>>
  /** What is left out of the guarantees, for baselines and peers. */
  readonly lacks?: string
  /** Others are compared with it: it gets a place in `ratioTo`. */
  readonly baseline?: true
  /** True: the scenario has compared the database with what was answered. It throws otherwise. */
  readonly verified: true
}

export interface Scenario {
  readonly name: string
  /** Measures once; called again in each round. One scenario may have several results, each with a name of its own. */
  run(setting: Setting): Promise<readonly Result[]>
  /** Versions of what it measures, for the result file. */
  versions?(): Promise<Readonly<Record<string, string>>>
}

/** What a scenario says of a load, once it has compared the database with it. */
export function resultOf(name: string, { perSecond, p50Ms, p99Ms, nodeCpuUs, postgresCpuUs }: Load & Cpu): Result {
  return { name, perSecond, p50Ms, p99Ms, nodeCpuUs, ...(postgresCpuUs === undefined ? {} : { postgresCpuUs }), verified: true }
}

/** A database for one scenario, removed afterwards. */
export async function withDatabase<Value>(server: string, use: (url: string, client: pg.Client) => Promise<Value>): Promise<Value> {
  const name = `bench_${randomBytes(6).toString('hex')}`
  const admin = new pg.Client({ connectionString: server })
  await admin.connect()
  try {
    await admin.query(`create database ${name}`)
    const url = new URL(server)
    url.pathname = `/${name}`
    const client = new pg.Client({ connectionString: url.href })
    await client.connect()
    try {
      return await use(url.href, client)
    } finally {
      await client.end()
      await untilUnused(admin, name)
      await admin.query(`drop database ${name} with (force)`)
    }
  } finally {
    await admin.end()
  }
}

/** Once no command waits in the log. */
export async function emptied(client: pg.Client): Promise<void> {
  for (let tries = 0; tries < 6000; tries += 1) {
    if ((await client.query('select 1 from twofold._command limit 1')).rowCount === 0) return
    await delay(10)
  }
  throw new Error('commands still wait in the log after a minute')
}

/** Once so many commands have had their effect. What a broker holds is not in the log: the versions tell. */
export async function finished(client: pg.Client, commands: number): Promise<void> {
  await emptied(client)
  for (let tries = 0; tries < 6000; tries += 1) {
    const { rows } = await client.query<{ done: string }>('select coalesce(sum(version), 0) as done from twofold._entity')
    if (Number(rows[0]?.done) >= commands) return
    await delay(10)
  }
  throw new Error('not every command has had its effect after a minute')
}

const GOODBYE_MS = 5000

/**
 * A pool's `end()` is over before its connections are: dropping the database at once would cut them, and a connection that is cut while it
 * says goodbye emits an error that ends the process. What is still there after some seconds was left open, and is cut by the drop.
 */
async function untilUnused(admin: pg.Client, name: string): Promise<void> {
  const until = performance.now() + GOODBYE_MS
  while (performance.now() < until) {
    const { rowCount } = await admin.query(`select 1 from pg_stat_activity where datname = $1 and backend_type = 'client backend'`, [name])
    if (rowCount === 0) return
    await delay(10)
  }
}
