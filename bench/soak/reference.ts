// How fast the processors are just now. On a shared machine their speed itself changes, by half and more, with what neighbours do on the same
// core; the same piece of work, measured beside each window, tells that apart from commands that have become dearer.
import { createHash } from 'node:crypto'
import type pg from 'pg'
import { onCpuUs } from '../cpu.ts'

/** Microseconds of processor time that a fixed piece of work takes. `postgresUs` is missing where the server is on another machine. */
export interface Reference {
  readonly nodeUs: number
  readonly postgresUs?: number
}

/** So often within one look; their sum counts. One alone would be at the mercy of an interrupt. */
const REPEATS = 5

// Some 6 ms each on the machine of the figures. The rows are made one after the other and kept nowhere.
const IN_NODE_HASHES = 4000
const IN_POSTGRES = `select count(*) from (select hashtextextended(i::text, 0) as hash from (select generate_series(1, 30000) as i) s) t where hash <> 0`

/** Measures both, one after the other, while nothing else of ours runs. */
export async function reference(client: pg.ClientBase): Promise<Reference> {
  const nodeUs = inNode()
  const postgresUs = await inPostgres(client)
  return { nodeUs, ...(postgresUs === undefined ? {} : { postgresUs }) }
}

/** Of what was measured before and after a window. */
export function between(before: Reference, after: Reference): Reference {
  const nodeUs = (before.nodeUs + after.nodeUs) / 2
  if (before.postgresUs === undefined || after.postgresUs === undefined) return { nodeUs }
  return { nodeUs, postgresUs: (before.postgresUs + after.postgresUs) / 2 }
}

function inNode(): number {
  const before = process.cpuUsage()
  for (let at = 0; at < IN_NODE_HASHES * REPEATS; at += 1) {
    createHash('sha256')
      .update(JSON.stringify({ account: `a-${at}`, cents: at }))
      .digest('hex')
  }
  const { user, system } = process.cpuUsage(before)
  return user + system
}

async function inPostgres(client: pg.ClientBase): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const pid = rows[0]?.pid ?? 0
  const before = onCpuUs(pid, 'postgres')
  for (let time = 0; time < REPEATS; time += 1) await client.query(IN_POSTGRES)
  const after = onCpuUs(pid, 'postgres')
  return before === undefined || after === undefined ? undefined : after - before
}
