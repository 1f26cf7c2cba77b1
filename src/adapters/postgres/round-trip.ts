// Several statements in one message, answered by one. `pg` ends each statement by a Sync of its own: each is then written, answered and read
// by itself, and these system calls cost more than small statements do. Here one Sync ends them all, and what follows a statement that is
// refused is skipped by the server, a COMMIT above all.
import pg from 'pg'
import { Message, type Types } from './message.ts'
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

/** The protocol counts them in 16 bits. */
const VALUES_MAX = 65_535

/** PostgreSQL cuts longer ones without a word, and two that begin alike would be one. In bytes, of which a character takes three at most. */
const NAME_BYTES_MAX = 63

/** What a name stands for on the connection. */
interface Prepared {
  readonly text: string
  /** The message that parses it was answered. Until then it is not known whether the name still stands for something else. */
  isSure: boolean
}

/** Texts, as nearly all are, are sent as they are. */
function preparedValues(values: readonly unknown[] = []): readonly PreparedValue[] {
  if (values.length > VALUES_MAX)
    throw new RangeError(`a statement takes ${VALUES_MAX} values at most, and this one was given ${values.length}: give them as arrays`)
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
  readonly #writer = new MessageWriter()
  readonly #prepared = new Map<string, Prepared>()

  /** `client`: one with `pipeline`, so that a message may follow others that are not answered yet. */
  constructor(client: pg.Client) {
    this.#client = client
  }

  /** The answers of all, in order; or the refusal of the first that was refused. Throws where a value cannot be said: nothing is sent then. */
  async send(statements: readonly Statement[]): Promise<Answers> {
    const values = statements.map((statement) => preparedValues(statement.values))
    const parsed: Prepared[] = []
    const bytes = this.#written(statements, values, parsed)
    const { promise, resolve } = Promise.withResolvers<Answers>()
    // Its own parsers may be others than those of all clients.
    const types = this.#client as unknown as Types
    const message: Message = new Message(bytes, statements, types, (error, results) => {
      if (error !== null && error !== undefined) {
        // Somebody has deallocated what was prepared here.
        if (sqlState(error) === '26000') this.#prepared.clear()
        return resolve(new Refusal(error, message.done))
      }
      for (const one of parsed) one.isSure = true
      resolve(results)
    })
    this.#client.query(message as unknown as pg.Submittable)
    return promise
  }

  /** How many names stand for something, or may. */
  get preparedCount(): number {
    return this.#prepared.size
  }

  /** What the server has prepared under this name is of no use any more; it is prepared anew when it is sent again. */
  forget(name: string): void {
    this.#prepared.delete(name)
  }

  /** The server has forgotten what was prepared. */
  forgetAll(): void {
    this.#prepared.clear()
  }

  /** Whether no transaction is under way, by what the server said last. */
  get isOutside(): boolean {
    return this.#client.getTransactionStatus() === 'I'
  }

  /** `parsed`: gets what the server will have prepared, once it has answered without a refusal. */
  #written(statements: readonly Statement[], values: readonly (readonly PreparedValue[])[], parsed: Prepared[]): Buffer {
    const writer = this.#writer
    try {
      for (const [at, { name, text, rows }] of statements.entries()) {
        if (name.length * 3 > NAME_BYTES_MAX && Buffer.byteLength(name) > NAME_BYTES_MAX)
          throw new RangeError(`the name of a statement takes ${NAME_BYTES_MAX} bytes at most, and '${name}' takes more`)
        if (name === '') writer.parse(name, text)
        else if (!this.#isPrepared(name, text)) {
          // It may stand for another text; closing one that is not there is no error.
          writer.close(name)
          writer.parse(name, text)
          const one = { text, isSure: false }
          this.#prepared.set(name, one)
          parsed.push(one)
        }
        writer.bind(name, values[at] ?? [])
        if (rows !== false) writer.describe()
        writer.execute()
      }
      writer.sync()
      return writer.take()
    } catch (error) {
      // The next message must not begin with half of this one.
      writer.reset()
      throw error
    }
  }

  #isPrepared(name: string, text: string): boolean {
    const known = this.#prepared.get(name)
    return known?.isSure === true && known.text === text
  }
}
