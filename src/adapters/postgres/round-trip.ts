// Several statements in one message, answered by one. `pg` ends each statement by a Sync of its own: each is then written, answered and read
// by itself, and these system calls cost more than small statements do. Here one Sync ends them all, and what follows a statement that is
// refused is skipped by the server, a COMMIT above all.
import pg from 'pg'
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

/** How `pg` tells a query what came for it; its types leave that out. */
interface Answered {
  handleDataRow(message: unknown): void
  handleCommandComplete(message: unknown, connection: pg.Connection): void
}

const query = pg.Query.prototype as unknown as Answered

type PrepareValue = (value: unknown) => string | Buffer | null

/** How `pg` turns a value into what it sends; its types leave that out too. */
const { prepareValue } = (pg as unknown as { readonly utils: { readonly prepareValue: PrepareValue } }).utils

/** One message as `pg` sends and answers it. */
class Message extends pg.Query implements Answered {
  /** How many of its statements have been done so far. */
  done = 0
  readonly #statements: readonly Statement[]
  readonly #prepared: ReadonlyMap<string, string>

  constructor(statements: readonly Statement[], prepared: ReadonlyMap<string, string>, answer: (error: unknown, results: unknown) => void) {
    super('', answer)
    this.#statements = statements
    this.#prepared = prepared
  }

  override submit = (connection: pg.Connection): void => {
    connection.stream.cork()
    for (const { name, text, values = [], rows } of this.#statements) {
      if (name === '' || this.#prepared.get(name) !== text) {
        // After a refusal it is not known whether it was parsed; closing one that is not there is no error.
        if (name !== '') connection.close({ type: 'S', name }, false)
        connection.parse({ name, text, types: [] }, false)
      }
      connection.bind({ statement: name, values: values as string[] }, false)
      if (rows !== false) connection.describe({ type: 'P' }, false)
      connection.execute({}, false)
    }
    connection.sync()
    connection.stream.uncork()
  }

  handleDataRow(message: unknown): void {
    if (this.#statements[this.done]?.rows !== false) query.handleDataRow.call(this, message)
  }

  handleCommandComplete(message: unknown, connection: pg.Connection): void {
    this.done += 1
    query.handleCommandComplete.call(this, message, connection)
  }
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

  /** `client`: one with `pipeline`, so that a message may follow others that are not answered yet. */
  constructor(client: pg.Client) {
    this.#client = client
  }

  /** The answers of all, in order; or the refusal of the first that was refused. Throws where a value cannot be said: nothing is sent then. */
  async send(statements: readonly Statement[]): Promise<Answers> {
    // Before anything is written: half a message would leave the connection in the middle of it.
    const sendable = statements.map((statement) => ({ ...statement, values: statement.values?.map(prepareValue) ?? [] }))
    const { promise, resolve } = Promise.withResolvers<Answers>()
    const message: Message = new Message(sendable, this.#prepared, (error, results) => {
      if (error !== null && error !== undefined) {
        // Somebody has deallocated what was prepared here.
        if (sqlState(error) === '26000') this.#prepared.clear()
        return resolve(new Refusal(error, message.done))
      }
      for (const { name, text } of sendable) if (name !== '') this.#prepared.set(name, text)
      resolve(Array.isArray(results) ? results : [results as pg.QueryResult])
    })
    this.#client.query(message)
    return promise
  }

  /** Whether no transaction is under way, by what the server said last. */
  get isOutside(): boolean {
    return this.#client.getTransactionStatus() === 'I'
  }
}
