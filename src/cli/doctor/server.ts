// Looks at a PostgreSQL server and at the app that lives there, one thing after the other on one connection.
import { serverFaults } from '../../adapters/postgres/preflight.ts'
import type { ErrorCode } from '../../errors.ts'
import { bounded, faultOf, type Check, type Finding } from './check.ts'
import { lookAtClock } from './clock.ts'
import { lookAtConnections } from './connections.ts'
import { lookAtDurability } from './durability.ts'
import { lookAtInstances, lookAtPartitions } from './instances.ts'
import { lookAtOutcomes } from './outcomes.ts'
import { lookAtPooler } from './pooler.ts'
import { lookAtRights, lookAtTakeoverRights } from './rights.ts'
import { lookAtSchema } from './schema.ts'
import { openSession, type Session } from './session.ts'
import { lookAtSnapshots } from './snapshots.ts'
import { lookAtDeadLetters, lookAtParked, lookAtWaiting } from './waiting.ts'

type Looks = Readonly<Record<string, (session: Session) => Promise<Finding>>>

const serverLooks: Looks = {
  'postgres.version': (session) => unless(session, 'DATABASE_TOO_OLD', `PostgreSQL ${session.version} is new enough`),
  'postgres.writable': (session) => unless(session, 'DATABASE_READ_ONLY', 'this is a primary, and it may be written to'),
  'postgres.encoding': lookAtEncoding,
  'postgres.durability': lookAtDurability,
  'postgres.rights': lookAtRights,
  'postgres.takeover-rights': lookAtTakeoverRights,
  'postgres.clock': (session) => lookAtClock(session),
  'postgres.pooler': lookAtPooler,
  'postgres.connections': lookAtConnections,
  'postgres.snapshots': (session) => lookAtSnapshots(session),
}

const appLooks: Looks = {
  'app.waiting': lookAtWaiting,
  'app.parked': lookAtParked,
  'app.dead-letters': lookAtDeadLetters,
  'app.outcomes': lookAtOutcomes,
  'app.instances': lookAtInstances,
  'app.partitions': lookAtPartitions,
}

/** All names that a look at a server may bear. */
export const serverCheckNames = ['postgres', ...Object.keys(serverLooks), 'schema', ...Object.keys(appLooks)]

export async function lookAtServer(url: string): Promise<Check[]> {
  let session: Session | undefined
  const reached = await bounded('postgres', async () => {
    session = await openSession(url)
    return { status: 'ok', found: `reached PostgreSQL ${session.version} at ${session.shown}` }
  })
  if (session === undefined) return [reached]
  try {
    return [reached, ...(await lookThrough(session))]
  } finally {
    await session.end()
  }
}

/** Looks at everything that can be seen on this connection. */
export async function lookThrough(session: Session): Promise<Check[]> {
  const checks = await lookAtEach(session, serverLooks)
  if (session.isLost()) return checks
  let isCurrent = false
  checks.push(
    await bounded('schema', () =>
      session.noting(async () => {
        const { isCurrent: current, ...finding } = await lookAtSchema(session)
        isCurrent = current
        return finding
      }),
    ),
  )
  return isCurrent ? [...checks, ...(await lookAtEach(session, appLooks))] : checks
}

/** Ends at the first look that finds the connection gone. */
async function lookAtEach(session: Session, looks: Looks): Promise<Check[]> {
  const checks: Check[] = []
  for (const [name, look] of Object.entries(looks)) {
    checks.push(await bounded(name, () => session.noting(() => look(session))))
    if (session.isLost()) break
  }
  return checks
}

async function unless(session: Session, code: ErrorCode, found: string): Promise<Finding> {
  const fault = (await serverFaults(session.client, session.shown)).find((each) => each.code === code)
  return fault === undefined ? { status: 'ok', found } : faultOf(fault)
}

async function lookAtEncoding(session: Session): Promise<Finding> {
  const { encoding } = await session.row<{ encoding: string }>(`select current_setting('server_encoding') as encoding`)
  if (encoding === 'UTF8') return { status: 'ok', found: 'the encoding is UTF8' }
  return {
    status: 'fault',
    found: `the encoding of the database is ${encoding}: it cannot hold every key and text`,
    advice: `make another one with: create database … encoding 'UTF8' template template0`,
  }
}
