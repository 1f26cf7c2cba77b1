// A pool of connections as the `Database` port: one for queries and subscribers, one for membership. The engine and the log have their own.
import pg from 'pg'
import type { Database, Transaction } from '../../ports/database.ts'
import type { Logger } from '../../runtime/logger.ts'
import { sqlState, translate } from './pg-errors.ts'

export interface DatabaseOptions {
  readonly url: string
  readonly applicationName: string
  readonly log: Logger
  /** Connections at most. Default 10. */
  readonly connectionsMax?: number
  /** How long a statement may take, its answer included, in milliseconds. Default 30,000, and 5,000 more for the answer. */
  readonly statementMs?: number
  /** After this long without a statement a transaction is ended, in milliseconds. Default 5,000: half a default lease. */
  readonly idleInTransactionMs?: number
}

export class PostgresDatabase implements Database {
  readonly #pool: pg.Pool

  constructor({ url, applicationName, log, connectionsMax, statementMs, idleInTransactionMs }: DatabaseOptions) {
    this.#pool = new pg.Pool({
      ...connectionSettings(url, applicationName),
      max: connectionsMax ?? 10,
      ...(statementMs === undefined ? {} : { statement_timeout: statementMs, query_timeout: statementMs }),
      idle_in_transaction_session_timeout: idleInTransactionMs ?? 5000,
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
      const result = await run({ query: async <Row>(text: string, values?: readonly unknown[]) => answerOf<Row>(await say(text, values)) })
      const { command } = await say('commit')
      // A statement failed and `run` caught it: PostgreSQL then answers COMMIT by a rollback, which is no success.
      if (command === 'ROLLBACK')
        throw new Error('a statement of the transaction had failed, so all of it was rolled back: let its error out')
      return result
    } catch (error) {
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

/** How long a statement may take, and how much longer its answer may. */
export const STATEMENT_MS = 30_000
export const SILENCE_MS = 5000

/** What every connection of Twofold has in common. Nothing may wait for ever: not for a server, not for a lock, not for a statement. */
export function connectionSettings(url: string, applicationName: string): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: 2000,
    keepAlive: true,
    statement_timeout: STATEMENT_MS,
    // The server's timeout says nothing where the connection itself fell silent: this process then stops waiting by itself.
    query_timeout: STATEMENT_MS + SILENCE_MS,
    lock_timeout: 2000,
    options: '-c jit=off',
  }
}

function answerOf<Row>({ rows, rowCount }: pg.QueryResult): { rows: Row[]; rowCount: number | null } {
  return { rows: rows as Row[], rowCount }
}
