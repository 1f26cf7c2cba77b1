// Looks at a server before anything is changed on it, and says in one sentence what stands in the way.
import pg from 'pg'
import { TwofoldError } from '../../errors.ts'
import { pause } from '../../runtime/backoff.ts'
import { connectionSettings } from './database.ts'
import { sqlState } from './pg-errors.ts'

/** The oldest PostgreSQL that the engine's statements were tried on. */
const VERSION_MIN = 15

/** How long one attempt to connect may take, in milliseconds. */
const ATTEMPT_MS = 2000

/** What `pg` says when that is over. */
const TIMED_OUT = 'timeout expired'

export interface PreflightOptions {
  /** How long a server that is just starting, or that does not exist, is waited for, in milliseconds. Default 10,000. */
  readonly patienceMs?: number | undefined
  /** Told once, when there is something to wait for. */
  readonly progress?: (line: string) => void
}

export interface ConnectOptions extends PreflightOptions {
  /** Default `twofold start`. */
  readonly applicationName?: string
  /** Instead of the usual ones. */
  readonly settings?: pg.ClientConfig
}

/**
 * Connects, and looks at what it has connected to.
 * @throws TwofoldError INVALID_ENVIRONMENT, DATABASE_UNREACHABLE, DATABASE_FORBIDDEN, DATABASE_TOO_OLD, DATABASE_READ_ONLY
 */
export async function preflight(url: string, options: PreflightOptions = {}): Promise<void> {
  const client = await connectPatiently(url, options)
  try {
    const [fault] = await serverFaults(client, shownUrl(url))
    if (fault !== undefined) throw fault
  } finally {
    await client.end()
  }
}

/** All that makes a server unusable, the most important first. */
export async function serverFaults(client: pg.ClientBase, shown: string): Promise<TwofoldError[]> {
  const { rows } = await client.query<{ version: number; readOnly: boolean; canCreate: boolean; exists: boolean }>(`select
    current_setting('server_version_num')::int / 10000 as version,
    pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool as "readOnly",
    has_database_privilege(current_database(), 'create') as "canCreate",
    to_regnamespace('twofold') is not null as exists`)
  const [found] = rows
  if (found === undefined) return [new TwofoldError('DATABASE_FORBIDDEN', `PostgreSQL at ${shown} answers nothing to this user`)]
  const faults: TwofoldError[] = []
  if (found.version < VERSION_MIN) {
    faults.push(
      new TwofoldError(
        'DATABASE_TOO_OLD',
        `PostgreSQL at ${shown} is version ${found.version}; Twofold needs ${VERSION_MIN} or newer: upgrade it or name another one in DATABASE_URL`,
      ),
    )
  }
  if (found.readOnly) {
    faults.push(
      new TwofoldError(
        'DATABASE_READ_ONLY',
        `PostgreSQL at ${shown} is read-only (a replica, or default_transaction_read_only is on): name the primary in DATABASE_URL`,
      ),
    )
  }
  if (!found.exists && !found.canCreate) {
    faults.push(
      new TwofoldError(
        'DATABASE_FORBIDDEN',
        `the user of DATABASE_URL may not create the schema "twofold" at ${shown}: grant CREATE on the database, or name another user`,
      ),
    )
  }
  return faults
}

/** For people: where a database is, without the user and without a password, wherever in the address that stands. */
export function shownUrl(url: string): string {
  const parsed = URL.parse(url)
  if (parsed === null) return 'DATABASE_URL'
  // As `pg` reads it: parameters count more than what they repeat.
  const of = (parameter: string): string => parsed.searchParams.get(parameter) ?? ''
  return `${of('host') || parsed.hostname || 'localhost'}:${of('port') || parsed.port || 5432}${parsed.pathname}`
}

/**
 * Connects to a server, and tries again while it cannot be reached and there is patience left.
 * @throws TwofoldError INVALID_ENVIRONMENT, DATABASE_UNREACHABLE, DATABASE_FORBIDDEN
 */
export async function connectPatiently(url: string, options: ConnectOptions = {}): Promise<pg.Client> {
  const { patienceMs = 10_000, progress, applicationName = 'twofold start', settings = {} } = options
  const shown = shownUrl(url)
  const parsed = URL.parse(url)
  if (parsed === null || !/^postgres(ql)?:$/.test(parsed.protocol)) {
    throw new TwofoldError(
      'INVALID_ENVIRONMENT',
      'DATABASE_URL is not an address of PostgreSQL: it must read postgres://user:password@host:5432/database',
    )
  }
  const end = performance.now() + patienceMs
  for (let attempt = 1; ; attempt += 1) {
    const connectionTimeoutMillis = Math.max(1, Math.ceil(Math.min(ATTEMPT_MS, end - performance.now())))
    const client = new pg.Client({ ...connectionSettings(url, applicationName), ...settings, connectionTimeoutMillis })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return client
    } catch (error) {
      await client.end().catch(() => undefined)
      const fault = faultOf(error, shown, patienceMs)
      if (fault.code !== 'DATABASE_UNREACHABLE' || performance.now() > end) throw fault
      if (attempt === 1)
        progress?.(`waiting up to ${patienceMs / 1000} s for PostgreSQL at ${shown} (${reasonOf(error, connectionTimeoutMillis)})`)
      await pause(200)
    }
  }
}

function reasonOf(error: unknown, waitedMs: number): string {
  if (!(error instanceof Error)) return String(error)
  if (error.message === TIMED_OUT) return `no answer within ${waitedMs / 1000} s`
  return error.message === '' ? String((error as NodeJS.ErrnoException).code) : error.message
}

function faultOf(error: unknown, shown: string, waitedMs: number): TwofoldError {
  const state = sqlState(error)
  const reason = reasonOf(error, waitedMs)
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
  if (/unsupported startup parameter/.test(reason)) {
    return new TwofoldError(
      'DATABASE_FORBIDDEN',
      `a pooler stands in front of PostgreSQL at ${shown} and refuses the settings of the connection (${reason}): name PostgreSQL itself in DATABASE_URL`,
      { cause: error },
    )
  }
  return new TwofoldError(
    'DATABASE_UNREACHABLE',
    `PostgreSQL at ${shown} cannot be reached (${reason}): start it, or correct DATABASE_URL`,
    { cause: error },
  )
}
