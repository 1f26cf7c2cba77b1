// A pool of connections as the `Database` port: one for queries and subscribers, one for membership. The engine and the log have their own.
import pg from 'pg'
import { TwofoldError } from '../../errors.ts'
import type { Database, Transaction } from '../../ports/database.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import { sqlState, translate } from './pg-errors.ts'
import { sent } from './sent.ts'

export interface DatabaseOptions {
  readonly url: string
  readonly applicationName: string
  readonly log: Logger
  /** Connections at most. Default 10. */
  readonly connectionsMax?: number
  /** How long a statement may take, its answer included, in milliseconds. Default 30,000, and 5,000 more for the answer. */
  readonly statementMs?: number
  /** A transaction that stands still is ended after half of it. Default 10,000. */
  readonly leaseMs?: number
  readonly crash?: CrashPoints | undefined
}

export class PostgresDatabase implements Database {
  readonly #pool: pg.Pool
  readonly #crash: CrashPoints | undefined

  constructor({ url, applicationName, log, connectionsMax, statementMs, leaseMs, crash }: DatabaseOptions) {
    this.#crash = crash
    this.#pool = new pg.Pool({
      ...connectionSettings(url, applicationName, leaseMs === undefined ? {} : { leaseMs }),
      max: connectionsMax ?? CONNECTIONS_MAX,
      ...(statementMs === undefined ? {} : { statement_timeout: statementMs, query_timeout: statementMs }),
    })
    // An idle connection that is cut is replaced by the next use; without a listener it would end the process.
    this.#pool.on('error', (error) => log.debug({ reason: error.message }, 'an idle connection to PostgreSQL was cut'))
  }

  async query<Row>(text: string, values: readonly unknown[] = []): Promise<{ rows: Row[]; rowCount: number | null }> {
    try {
      return answerOf<Row>(await this.#pool.query(text, [...values]))
    } catch (error) {
      throw translate(error)
    }
  }

  async transaction<Result>(run: (transaction: Transaction) => Promise<Result>): Promise<Result> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw translate(error)
    })
    // A failure that did not come from the server: nobody knows what the connection is in the middle of, so it is not used again.
    let broken: Error | undefined
    let isOver = false
    const say = async (text: string, values: readonly unknown[] = []): Promise<pg.QueryResult> => {
      try {
        return await client.query(text, [...values])
      } catch (error) {
        if (sqlState(error) === undefined) broken = error as Error
        throw translate(error)
      }
    }
    // A connection that dies between two statements says so by an event; the next statement fails and is what counts.
    const onError = (): void => undefined
    client.on('error', onError)
    try {
      await say('begin')
      const result = await run({
        query: async <Row>(text: string, values?: readonly unknown[]) => {
          // The connection is somebody else's by then.
          if (isOver) throw misused('its transaction is over: wait for all of its statements before that ends')
          const answer = await say(text, values)
          if (client.getTransactionStatus() === 'I')
            throw misused(
              `'${text.trim().slice(0, 40)}' has ended the transaction: what was changed before it may be stored without the rest`,
            )
          return answerOf<Row>(answer)
        },
      })
      isOver = true
      const { command } = await sent(say('commit'), client, 'transaction.commit-sent', this.#crash)
      // A statement failed and `run` caught it: PostgreSQL then answers COMMIT by a rollback, which is no success.
      if (command === 'ROLLBACK')
        throw new Error('a statement of the transaction had failed, so all of it was rolled back: let its error out')
      return result
    } catch (error) {
      isOver = true
      if (broken === undefined) await client.query('rollback').catch((failure: Error) => (broken = failure))
      throw error
    } finally {
      client.off('error', onError)
      client.release(broken)
    }
  }

  close(): Promise<void> {
    return this.#pool.end()
  }
}

/** Of one pool, where nothing else is said. */
export const CONNECTIONS_MAX = 10

/** How long a statement may take, and how much longer its answer may. */
const STATEMENT_MS = 30_000
const SILENCE_MS = 5000

/** The lease that the timeouts of a connection go by where none is given: the default one. */
const LEASE_MS = 10_000

/** A peer that acknowledges nothing for so long is gone; less would take a hiccup of the network for a death. */
const TCP_USER_MS_MIN = 5000

/**
 * Statements look again at rows that somebody changed while they waited for them. Under the stricter levels they would fail instead, and a
 * server or a database may have one of those as its default. (A space within an option is escaped.)
 */
const ISOLATION = 'default_transaction_isolation=read\\ committed'

/**
 * What every connection of Twofold has in common. Nothing may wait for ever: not for a server, not for a lock, not for a statement. And
 * nobody may make others wait for ever: a transaction whose process does not go on is ended after half a lease, and a connection whose
 * other side has vanished after a lease. `settings`: further ones of the session, as `name=value`.
 */
export function connectionSettings(
  url: string,
  applicationName: string,
  { leaseMs = LEASE_MS, settings = [] }: { readonly leaseMs?: number; readonly settings?: readonly string[] } = {},
): pg.ClientConfig {
  // Of the server's end: Node cannot set it for ours, where `query_timeout` stands in. Ignored on a Unix socket.
  const tcpUserMs = Math.max(TCP_USER_MS_MIN, leaseMs)
  return {
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: 2000,
    keepAlive: true,
    statement_timeout: STATEMENT_MS,
    // The server's timeout says nothing where the connection itself fell silent: this process then stops waiting by itself.
    query_timeout: STATEMENT_MS + SILENCE_MS,
    lock_timeout: 2000,
    idle_in_transaction_session_timeout: Math.floor(leaseMs / 2),
    options: [`tcp_user_timeout=${tcpUserMs}`, 'jit=off', ISOLATION, ...settings].map((setting) => `-c ${setting}`).join(' '),
  }
}

function misused(message: string): TwofoldError {
  return new TwofoldError('HANDLER_MISUSED', message)
}

function answerOf<Row>({ rows, rowCount }: pg.QueryResult): { rows: Row[]; rowCount: number | null } {
  return { rows: rows as Row[], rowCount }
}
