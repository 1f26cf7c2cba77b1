// Several statements in one message, answered by one. `pg` ends each statement by a Sync of its own: each is then written, answered and read
// by itself, and these system calls cost more than small statements do. Here one Sync ends them all, and what follows a statement that is
// refused is skipped by the server, a COMMIT above all.
import pg from 'pg'
import { MessageWriter, type PreparedValue } from './message-writer.ts'
import { sqlState } from './pg-errors.ts'

/** A statement. With a name it is parsed and planned once a connection; an empty name is none. */
export interface Statement {
  readonly name: string
  readonly text: string
  /** As `pg` takes them. */
  readonly values?: readonly unknown[]
  /** False: nobody reads its rows, so the server need not describe them. */
  readonly rows?: false
}

type PrepareValue = (value: unknown) => PreparedValue

/** How `pg` turns a value into what it sends; its types leave that out. */
const { prepareValue } = (pg as unknown as { readonly utils: { readonly prepareValue: PrepareValue } }).utils

/** A result as `pg` fills it; its types leave that out too. */
interface FilledResult extends pg.QueryResult {
  addFields(fields: unknown): void
  parseRow(values: unknown): pg.QueryResultRow
  addCommandComplete(message: unknown): void
}

/** Of a statement whose rows nobody reads. */
const UNREAD: pg.QueryResult = { command: '', rowCount: null, oid: 0, fields: [], rows: [] }

type Types = ConstructorParameters<typeof pg.Result>[1]

/** What the messages of one connection share. */
interface Speaking {
  readonly prepared: ReadonlyMap<string, string>
  readonly writer: MessageWriter
  readonly types: Types
}

/** A connection with `pipeline` takes no other class. All that it says and is told is `Message`'s. */
const Query = pg.Query as unknown as new (text: string) => object

/** One message as `pg` sends and answers it. */
class Message extends Query {
  /** How many of its statements have been done so far. */
  done = 0
  /** Whoever waits for the message; `pg` puts its time-out around it. */
  callback: (error: unknown, results: readonly pg.QueryResult[]) => void
  readonly #statements: readonly Statement[]
  readonly #values: readonly (readonly PreparedValue[])[]
  readonly #prepared: ReadonlyMap<string, string>
  readonly #writer: MessageWriter
  readonly #types: Types
  readonly #results: pg.QueryResult[] = []
  #result: FilledResult | undefined
  /** What a row could not be read for. */
  #failure: unknown

  /** `values`: those of each statement. */
  constructor(
    statements: readonly Statement[],
    values: readonly (readonly PreparedValue[])[],
    { prepared, writer, types }: Speaking,
    callback: Message['callback'],
  ) {
    super('')
    this.callback = callback
    this.#statements = statements
    this.#values = values
    this.#prepared = prepared
    this.#writer = writer
    this.#types = types
  }

  submit({ stream }: pg.Connection): void {
    const writer = this.#writer
    for (const [at, { name, text, rows }] of this.#statements.entries()) {
      if (name === '' || this.#prepared.get(name) !== text) {
        // After a refusal it is not known whether it was parsed; closing one that is not there is no error.
        if (name !== '') writer.close(name)
        writer.parse(name, text)
      }
      writer.bind(name, this.#values[at] ?? [])
      if (rows !== false) writer.describe()
      writer.execute()
    }
    writer.sync()
    const bytes = writer.take()
    if (stream.writable) stream.write(bytes)
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

/** Texts, as nearly all are, are sent as they are. */
function preparedValues(values: readonly unknown[] = []): readonly PreparedValue[] {
  return values.every((value) => typeof value === 'string') ? values : values.map(prepareValue)
}

/** Why a message was refused: what the server or the connection said, and how many of its statements were done before. */
export class Refusal {
  readonly error: unknown
  readonly done: number

  constructor(error: unknown, done: number) {
    this.error = error
    this.done = done
  }
}

export type Answers = readonly pg.QueryResult[] | Refusal

/** The messages of one connection, which must not be used for statements of the same names in any other way. */
export class RoundTrips {
  readonly #client: pg.Client
  readonly #prepared = new Map<string, string>()
  readonly #speaking: Speaking

  /** `client`: one with `pipeline`, so that a message may follow others that are not answered yet. */
  constructor(client: pg.Client) {
    this.#client = client
    // Its own parsers may be others than those of all clients.
    this.#speaking = { prepared: this.#prepared, writer: new MessageWriter(), types: client as unknown as Types }
  }

  /** The answers of all, in order; or the refusal of the first that was refused. Throws where a value cannot be said: nothing is sent then. */
  async send(statements: readonly Statement[]): Promise<Answers> {
    // Before anything is written: half a message would leave the connection in the middle of it.
    const values = statements.map((statement) => preparedValues(statement.values))
    const { promise, resolve } = Promise.withResolvers<Answers>()
    const message: Message = new Message(statements, values, this.#speaking, (error, results) => {
      if (error !== null && error !== undefined) {
        // Somebody has deallocated what was prepared here.
        if (sqlState(error) === '26000') this.#prepared.clear()
        return resolve(new Refusal(error, message.done))
      }
      for (const { name, text } of statements) if (name !== '') this.#prepared.set(name, text)
      resolve(results)
    })
    this.#client.query(message as unknown as pg.Submittable)
    return promise
  }

  /** Whether no transaction is under way, by what the server said last. */
  get isOutside(): boolean {
    return this.#client.getTransactionStatus() === 'I'
  }
}
