// A connection that says "somebody is here". Its shared lock is gone with the process, however that ends, so counting needs no file.
import pg from 'pg'

/** Any numbers that no one else uses as an advisory lock. */
const PRESENCE = 7_306_917_003

export interface Keeper {
  /** Resolves when the connection is gone. */
  readonly ended: Promise<void>
  /** Gives the presence up; true if nobody else is present. From then on newcomers wait for the server to go. */
  leave(): Promise<boolean>
  end(): Promise<void>
}

/** Connects and makes itself present. Undefined: the server does not answer (yet), or its last user is just stopping it. */
export async function keep(url: string): Promise<Keeper | undefined> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'twofold keeper',
    connectionTimeoutMillis: 2000,
    keepAlive: true,
  })
  client.on('error', () => undefined)
  const ended = new Promise<void>((resolve) => client.once('end', () => resolve()))
  try {
    await client.connect()
    const { rows } = await client.query<{ present: boolean }>('select pg_try_advisory_lock_shared($1) as present', [PRESENCE])
    if (rows[0]?.present) return { ended, leave: () => leave(client), end: () => client.end().catch(() => undefined) }
  } catch (error) {
    // A wrong password will not become right by waiting.
    if ((error as { code?: unknown }).code === '28P01') throw error
  }
  await client.end().catch(() => undefined)
  return undefined
}

async function leave(client: pg.Client): Promise<boolean> {
  try {
    // Upgrading could deadlock two who leave together; so the shared lock goes first, and one of them finds itself alone.
    await client.query('select pg_advisory_unlock_shared($1)', [PRESENCE])
    const { rows } = await client.query<{ alone: boolean }>('select pg_try_advisory_lock($1) as alone', [PRESENCE])
    return rows[0]?.alone === true
  } catch {
    return false
  }
}
