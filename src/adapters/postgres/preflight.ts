// Looks at a server before anything is changed on it, and says in one sentence what stands in the way.
import pg from 'pg'
import { TwofoldError } from '../../errors.ts'
import { pause } from '../../runtime/backoff.ts'
import { connectionSettings } from './database.ts'
import { sqlState } from './pg-errors.ts'

/** The oldest PostgreSQL that the engine's statements were tried on. */
const VERSION_MIN = 15

/**
 * Connects, waiting up to `patienceMs` (default 10,000) for a server that is just starting.
 * @throws TwofoldError INVALID_ENVIRONMENT, DATABASE_UNREACHABLE, DATABASE_FORBIDDEN, DATABASE_TOO_OLD, DATABASE_READ_ONLY
 */
export async function preflight(url: string, patienceMs = 10_000): Promise<void> {
  const shown = shownUrl(url)
  const client = await connect(url, shown, patienceMs)
  try {
    const { rows } = await client.query<{ version: number; readOnly: boolean; canCreate: boolean; exists: boolean }>(`select
      current_setting('server_version_num')::int / 10000 as version,
      pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool as "readOnly",
      has_database_privilege(current_database(), 'create') as "canCreate",
      to_regnamespace('twofold') is not null as exists`)
    const [found] = rows
    if (found === undefined) throw new TwofoldError('DATABASE_FORBIDDEN', `PostgreSQL at ${shown} answers nothing to this user`)
    if (found.version < VERSION_MIN) {
      throw new TwofoldError(
        'DATABASE_TOO_OLD',
        `PostgreSQL at ${shown} is version ${found.version}; Twofold needs ${VERSION_MIN} or newer: upgrade it or name another one in DATABASE_URL`,
      )
    }
    if (found.readOnly) {
      throw new TwofoldError(
        'DATABASE_READ_ONLY',
        `PostgreSQL at ${shown} is read-only (a replica, or default_transaction_read_only is on): name the primary in DATABASE_URL`,
      )
    }
    if (!found.exists && !found.canCreate) {
      throw new TwofoldError(
        'DATABASE_FORBIDDEN',
        `the user of DATABASE_URL may not create the schema "twofold" at ${shown}: grant CREATE on the database, or name another user`,
      )
    }
  } finally {
    await client.end()
  }
}

/** The address without user's password, for messages. */
export function shownUrl(url: string): string {
  const parsed = URL.parse(url)
  return parsed === null ? 'DATABASE_URL' : `${parsed.hostname}:${parsed.port === '' ? 5432 : parsed.port}${parsed.pathname}`
}

async function connect(url: string, shown: string, patienceMs: number): Promise<pg.Client> {
  const parsed = URL.parse(url)
  if (parsed === null || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new TwofoldError(
      'INVALID_ENVIRONMENT',
      'DATABASE_URL is not an address of PostgreSQL: it must read postgres://user:password@host:5432/database',
    )
  }
  const end = performance.now() + patienceMs
  for (;;) {
    const client = new pg.Client(connectionSettings(url, 'twofold start'))
    client.on('error', () => undefined)
    try {
      await client.connect()
      return client
    } catch (error) {
      await client.end().catch(() => undefined)
      const fault = faultOf(error, shown)
      if (fault.code !== 'DATABASE_UNREACHABLE' || performance.now() > end) throw fault
      await pause(200)
    }
  }
}

function faultOf(error: unknown, shown: string): TwofoldError {
  const state = sqlState(error)
  const reason = error instanceof Error && error.message !== '' ? error.message : String((error as { code?: unknown }).code ?? error)
  if (state?.startsWith('28')) {
    return new TwofoldError(
      'DATABASE_FORBIDDEN',
      `PostgreSQL at ${shown} refuses the user of DATABASE_URL (${reason}): check user and password`,
      { cause: error },
    )
  }
  if (state === '3D000') {
    return new TwofoldError(
      'DATABASE_FORBIDDEN',
      `PostgreSQL at ${shown} has no such database (${reason}): create it, or correct DATABASE_URL`,
      { cause: error },
    )
  }
  if (state === '42501')
    return new TwofoldError('DATABASE_FORBIDDEN', `PostgreSQL at ${shown} does not let this user in (${reason})`, { cause: error })
  return new TwofoldError(
    'DATABASE_UNREACHABLE',
    `PostgreSQL at ${shown} cannot be reached (${reason}): start it, or correct DATABASE_URL`,
    { cause: error },
  )
}
