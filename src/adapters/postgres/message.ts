// One message of a connection as `pg` sees it: bytes that were written before, and what the server answers to them, statement by statement.
import pg from 'pg'

/** What is said of a statement. */
export interface Said {
  /** False: nobody reads its rows, so the server was not asked to describe them. */
  readonly rows?: false
}

/** A result as `pg` fills it; its types leave that out. */
interface FilledResult extends pg.QueryResult {
  addFields(fields: unknown): void
  parseRow(values: unknown): pg.QueryResultRow
  addCommandComplete(message: unknown): void
}

/** Of a statement whose rows nobody reads. */
const UNREAD: pg.QueryResult = { command: '', rowCount: null, oid: 0, fields: [], rows: [] }

/** What the server puts behind `COPY from stdin failed: `. */
const NO_COPY = 'nothing can be streamed here: insert from arrays, as in `insert into … select * from unnest($1::int[], $2::text[])`'

/** The types of `pg` leave these out. */
type Connection = pg.Connection & { sendCopyFail(message: string): void; sync(): void }

export type Types = ConstructorParameters<typeof pg.Result>[1]

/** A connection with `pipeline` takes no other class. All that it says and is told is `Message`'s. */
const Query = pg.Query as unknown as new (text: string) => object

export class Message extends Query {
  /** How many of its statements have been done so far. */
  done = 0
  /** Whoever waits for the message; `pg` puts its time-out around it. */
  callback: (error: unknown, results: readonly pg.QueryResult[]) => void
  readonly #bytes: Buffer
  readonly #statements: readonly Said[]
  readonly #types: Types
  readonly #results: pg.QueryResult[] = []
  #result: FilledResult | undefined
  /** What a row could not be read for. */
  #failure: unknown

  /** `bytes`: all of `statements`, and one Sync behind them. */
  constructor(bytes: Buffer, statements: readonly Said[], types: Types, callback: Message['callback']) {
    super('')
    this.callback = callback
    this.#bytes = bytes
    this.#statements = statements
    this.#types = types
  }

  submit({ stream }: pg.Connection): void {
    if (stream.writable) stream.write(this.#bytes)
  }

  handleRowDescription({ fields }: { readonly fields: unknown }): void {
    this.#result = this.#emptyResult()
    this.#result.addFields(fields)
  }

  handleDataRow({ fields }: { readonly fields: unknown }): void {
    // Nobody reads them where they were not described.
    if (this.#result === undefined || this.#failure !== undefined) return
    try {
      this.#result.rows.push(this.#result.parseRow(fields))
    } catch (error) {
      this.#failure = error
    }
  }

  handleCommandComplete(message: unknown): void {
    if (this.#statements[this.done]?.rows === false) this.#ended(UNREAD)
    else {
      const result = this.#result ?? this.#emptyResult()
      result.addCommandComplete(message)
      this.#ended(result)
    }
  }

  handleEmptyQuery(): void {
    this.#ended(this.#emptyResult())
  }

  handleError(error: unknown): void {
    this.callback(this.#failure ?? error, [])
  }

  /** There is nothing to copy. The Sync behind the statement was ignored, as the server waited for data: it takes another one. */
  handleCopyInResponse(connection: Connection): void {
    connection.sendCopyFail(NO_COPY)
    connection.sync()
  }

  handleReadyForQuery(): void {
    this.callback(this.#failure, this.#results)
  }

  #emptyResult(): FilledResult {
    return new pg.Result('', this.#types) as unknown as FilledResult
  }

  #ended(result: pg.QueryResult): void {
    this.done += 1
    this.#results.push(result)
    this.#result = undefined
  }
}
