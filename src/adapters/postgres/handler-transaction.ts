// The transaction of a command as its SQL handler sees it: statements of its own, and nothing that would end it.
import type pg from 'pg'
import { TwofoldError } from '../../errors.ts'
import type { Transaction } from '../../ports/database.ts'
import { sqlState } from './pg-errors.ts'
import type { StatementNames } from './statement-names.ts'

/** Words that begin or end a transaction. `rollback to`, `savepoint` and `release` are a handler's to use. */
const ENDS =
  /^(?:\s|--[^\n]*\n|\/\*[^]*?\*\/)*(?:begin|start\s+transaction|commit|end|abort|prepare\s+transaction|rollback(?!\s+(?:\w+\s+)?to\b))\b/i

/** Refusals that say nothing about the handler: serialization failure, deadlock, a lock that was not to be had in time. */
const AGAIN = new Set(['40001', '40P01', '55P03'])

/** As `pg` takes it; one with a name is prepared once a connection, and so is a text that is said again. */
interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
  readonly name?: string
}

export class SqlHandlerTransaction implements Transaction {
  readonly #client: pg.Client
  readonly #names: StatementNames
  #ended = false
  #again = false
  #broken: Error | undefined

  constructor(client: pg.Client, names: StatementNames) {
    this.#client = client
    this.#names = names
  }

  /** The database asks to run it anew. */
  get again(): boolean {
    return this.#again
  }

  /** What the connection failed with. */
  get broken(): Error | undefined {
    return this.#broken
  }

  end(): void {
    this.#ended = true
  }

  query<Row = Record<string, unknown>>(
    text: string | (Pick<Statement, 'text' | 'name'> & Partial<Statement>),
    values?: readonly unknown[],
  ): Promise<{ rows: Row[]; rowCount: number | null }> {
    const answer = this.#query<Row>(typeof text === 'string' ? { text, values: values ?? [] } : { values: values ?? [], ...text })
    // A handler that does not wait for a statement must not end the process by it; the transaction fails all the same.
    answer.catch(() => undefined)
    return answer
  }

  async #query<Row>(statement: Statement): Promise<{ rows: Row[]; rowCount: number | null }> {
    if (this.#ended) throw misused('its transaction is over: a handler waits for all of its statements before it returns')
    if (ENDS.test(statement.text))
      throw misused(
        `'${statement.text.trim().slice(0, 40)}' would begin or end a transaction: Twofold commits it with the outcome, or rolls it back`,
      )
    const name = statement.name ?? this.#names.nameOf(statement.text)
    try {
      // Extended, so that one statement is one statement: `select 1; commit` is refused.
      const { rows, rowCount } = await this.#client.query({
        ...statement,
        ...(name === undefined ? {} : { name }),
        values: [...statement.values],
        queryMode: 'extended',
      } as pg.QueryConfig)
      return { rows: rows as Row[], rowCount }
    } catch (error) {
      const state = sqlState(error)
      if (state === undefined || /^(?:57P|25P03)/.test(state)) this.#broken ??= error as Error
      if (state !== undefined && AGAIN.has(state)) this.#again = true
      if (statement.name === undefined && name !== undefined && isOutdated(error)) {
        this.#names.forget(statement.text)
        this.#again = true
      }
      throw error
    }
  }
}

/** A table was changed under a statement that was prepared: it gives other columns now. Who prepared it prepares it anew. */
function isOutdated(error: unknown): boolean {
  return sqlState(error) === '0A000' && (error as { routine?: unknown }).routine === 'RevalidateCachedQuery'
}

function misused(message: string): TwofoldError {
  return new TwofoldError('HANDLER_MISUSED', message)
}
