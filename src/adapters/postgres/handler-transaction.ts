// The transaction of a command as its SQL handler sees it: statements of its own, and nothing that would end it.
import type pg from 'pg'
import { TwofoldError } from '../../errors.ts'
import type { Transaction } from '../../ports/database.ts'
import { endsTransaction, leavesTraces, streams } from './handler-statement.ts'
import type { Opening } from './opening.ts'
import { sqlState } from './pg-errors.ts'
import { Refusal, type RoundTrips } from './round-trip.ts'
import type { StatementNames } from './statement-names.ts'

/** Refusals that say nothing about the handler: serialization failure, deadlock, a lock that was not to be had in time. */
const AGAIN = new Set(['40001', '40P01', '55P03'])

/** What the server answers to whatever ends a transaction, or begins another one behind it. `rollback to` is answered as `ROLLBACK`. */
const ENDED = new Set(['BEGIN', 'START TRANSACTION', 'COMMIT', 'PREPARE TRANSACTION'])

/** As `pg` takes it; one with a name is prepared once a connection, and so is a text that is said again. */
interface Given {
  readonly text: string
  readonly values?: readonly unknown[]
  readonly name?: string
}

/** What a connection has for all of its handlers. */
export interface HandlerConnection {
  readonly trips: RoundTrips
  readonly names: StatementNames
}

export class SqlHandlerTransaction implements Transaction {
  readonly #opening: Opening
  readonly #connection: HandlerConnection
  /** What statements were refused with that asks to run it anew. */
  readonly #askedBy = new WeakSet<object>()
  #over = false
  #again = false
  #isOutdated = false
  #broken: Error | undefined
  #hasEnded = false
  #leavesTraces = false

  constructor(opening: Opening, connection: HandlerConnection) {
    this.#opening = opening
    this.#connection = connection
  }

  /** The database asks to run it anew, and the handler has not gone back to a savepoint since. */
  get again(): boolean {
    return this.#again || this.#isOutdated
  }

  /** Whether a statement of it was refused with this very error, and the database asks by it to run it anew. */
  asksAgain(error: unknown): boolean {
    return typeof error === 'object' && error !== null && this.#askedBy.has(error)
  }

  /** What the connection failed with. */
  get broken(): Error | undefined {
    return this.#broken
  }

  /** A statement has ended it, although none may. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Something that the handler said outlives it on the connection. */
  get leavesTraces(): boolean {
    return this.#leavesTraces
  }

  /** No further statements are taken. */
  end(): void {
    this.#over = true
  }

  query<Row = Record<string, unknown>>(
    text: string | Given,
    values?: readonly unknown[],
  ): Promise<{ rows: Row[]; rowCount: number | null }> {
    const answer = this.#query<Row>(typeof text === 'string' ? { text, values: values ?? [] } : { values: values ?? [], ...text })
    // A handler that does not wait for a statement must not end the process by it; the transaction fails all the same.
    answer.catch(() => undefined)
    return answer
  }

  async #query<Row>(given: Given): Promise<{ rows: Row[]; rowCount: number | null }> {
    if (this.#over) throw misused('its transaction is over: a handler waits for all of its statements before it returns')
    const { text, values = [] } = given
    const { trips, names } = this.#connection
    if (endsTransaction(text))
      throw misused(`'${text.trim().slice(0, 40)}' would begin or end a transaction: Twofold commits it with the outcome, or rolls it back`)
    if (streams(text))
      throw misused(
        `'${text.trim().slice(0, 40)}' needs a stream, which a handler has not: insert from arrays by unnest(…), or select the rows`,
      )
    this.#leavesTraces ||= leavesTraces(text)
    // A message takes one statement a text, so `select 1; commit` is refused.
    const name = given.name ?? names.nameOf(text) ?? ''
    const answer = await this.#opening.send([{ name, text, values }])
    if (answer instanceof Refusal) throw this.#refused(answer.error, name)
    const [result] = answer as readonly (pg.QueryResult | undefined)[]
    if (trips.isOutside || ENDED.has(result?.command ?? '')) {
      this.#hasEnded = true
      throw misused(`'${text.trim().slice(0, 40)}' has ended the transaction: what was changed before it may be stored without its outcome`)
    }
    if (result?.command === 'DEALLOCATE') trips.forgetAll()
    // Back at a savepoint: whatever was refused is over, and what comes of it is the handler's own.
    if (result?.command === 'ROLLBACK') this.#again = false
    return { rows: (result?.rows ?? []) as Row[], rowCount: result?.rowCount ?? null }
  }

  #refused(error: unknown, name: string): unknown {
    const state = sqlState(error)
    if (state === undefined || /^(?:57P|25P03)/.test(state)) this.#broken ??= error as Error
    if (state !== undefined && AGAIN.has(state)) {
      this.#again = true
      this.#askedBy.add(error as object)
    }
    if (isOutdated(error, name)) {
      this.#connection.trips.forget(name)
      // Our doing, whatever the handler makes of it; and it does not come again.
      this.#isOutdated = true
    }
    return error
  }
}

/** A table was changed under a statement that was prepared, or it was deallocated; not one that the handler itself has prepared, by SQL. */
function isOutdated(error: unknown, name: string): boolean {
  const { routine, message } = error as { readonly routine?: unknown; readonly message?: string }
  const state = sqlState(error)
  if (name === '') return false
  return (state === '26000' && message?.includes(name) === true) || (state === '0A000' && routine === 'RevalidateCachedQuery')
}

function misused(message: string): TwofoldError {
  return new TwofoldError('HANDLER_MISUSED', message)
}
