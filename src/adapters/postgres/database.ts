// A pool of connections as the `Database` port: for queries, subscribers, membership. The engine and the log have their own.
import pg from 'pg'
import type { Database, Transaction } from '../../ports/database.ts'
import type { Logger } from '../../runtime/logger.ts'
import { translate } from './pg-errors.ts'

export interface DatabaseOptions {
  readonly url: string
  readonly applicationName: string
  readonly log: Logger
  /** Connections at most. Default 10. */
  readonly connectionsMax?: number
  /** After this long without a statement a transaction is ended, in milliseconds. Default 5,000: half a default lease. */
  readonly idleInTransactionMs?: number
}

export class PostgresDatabase implements Database {
  readonly #pool: pg.Pool

  constructor({ url, applicationName, log, connectionsMax, idleInTransactionMs }: DatabaseOptions) {
    this.#pool = new pg.Pool({
      ...connectionSettings(url, applicationName),
      max: connectionsMax ?? 10,
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
    let broken: Error | undefined
    // A connection that dies between two statements says so by an event; the next statement fails and is what counts.
    const onError = (): void => undefined
    client.on('error', onError)
    try {
      await client.query('begin')
      const result = await run(transactionOn(client))
      const { command } = await client.query('commit')
      // A statement failed and `run` caught it: PostgreSQL then answers COMMIT by a rollback, which is no success.
      if (command === 'ROLLBACK')
        throw new Error('a statement of the transaction had failed, so all of it was rolled back: let its error out')
      return result
    } catch (error) {
      await client.query('rollback').catch((failure: Error) => (broken = failure))
      throw translate(error)
    } finally {
      client.off('error', onError)
      client.release(broken)
    }
  }

  close(): Promise<void> {
    return this.#pool.end()
  }
}

/** What every connection of Twofold has in common. Nothing may wait for ever: not for a server, not for a lock, not for a statement. */
export function connectionSettings(url: string, applicationName: string): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: 2000,
    keepAlive: true,
    statement_timeout: 30_000,
    lock_timeout: 2000,
    options: '-c jit=off',
  }
}

function transactionOn(client: pg.PoolClient): Transaction {
  return {
    async query<Row>(text: string, values: readonly unknown[] = []) {
      return answerOf<Row>(await client.query(text, [...values]))
    },
  }
}

function answerOf<Row>({ rows, rowCount }: pg.QueryResult): { rows: Row[]; rowCount: number | null } {
  return { rows: rows as Row[], rowCount }
}
