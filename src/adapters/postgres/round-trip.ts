// Several prepared statements in one message, answered by one. `pg` ends each statement by a Sync of its own: each is then written, answered
// and read by itself, and these system calls cost more than small statements do. Here one Sync ends them all, and what follows a statement
// that is refused is skipped by the server, a COMMIT above all.
import pg from 'pg'

/** A statement by name: parsed and planned once a connection. `null` is NULL. */
export interface NamedStatement {
  readonly name: string
  readonly text: string
  readonly values?: readonly (string | null)[]
}

/** How `pg` tells a query that one of its statements is done; its types leave that out. */
interface Answered {
  handleCommandComplete(message: unknown, connection: pg.Connection): void
}

const query = pg.Query.prototype as unknown as Answered

/** One message as `pg` sends and answers it. */
class Message extends pg.Query implements Answered {
  /** How many of its statements have been done so far. */
  done = 0
  readonly #statements: readonly NamedStatement[]
  readonly #prepared: ReadonlySet<string>

  constructor(statements: readonly NamedStatement[], prepared: ReadonlySet<string>, answer: (error: unknown, results: unknown) => void) {
    super('', answer)
    this.#statements = statements
    this.#prepared = prepared
  }

  override submit = (connection: pg.Connection): void => {
    connection.stream.cork()
    for (const { name, text, values = [] } of this.#statements) {
      if (!this.#prepared.has(name)) {
        // After a refusal it is not known whether it was parsed; closing one that is not there is no error.
        connection.close({ type: 'S', name }, false)
        connection.parse({ name, text, types: [] }, false)
      }
      connection.bind({ statement: name, values: [...values] }, false)
      connection.describe({ type: 'P' }, false)
      connection.execute({}, false)
    }
    connection.sync()
    connection.stream.uncork()
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

/** The messages of one connection, which must not be used for statements of the same names in any other way. */
export class RoundTrips {
  readonly #client: pg.Client
  readonly #prepared = new Set<string>()

  /** `client`: one with `pipeline`, so that a message may follow others that are not answered yet. */
  constructor(client: pg.Client) {
    this.#client = client
  }

  /** The answers of all, in order; or the refusal of the first that was refused. */
  async send(statements: readonly NamedStatement[]): Promise<readonly pg.QueryResult[] | Refusal> {
    const { promise, resolve } = Promise.withResolvers<readonly pg.QueryResult[] | Refusal>()
    const message: Message = new Message(statements, this.#prepared, (error, results) => {
      if (error !== null && error !== undefined) return resolve(new Refusal(error, message.done))
      for (const { name } of statements) this.#prepared.add(name)
      resolve(Array.isArray(results) ? results : [results as pg.QueryResult])
    })
    this.#client.query(message)
    return promise
  }
}
