// One keep-alive connection that does as little as an HTTP client can: the load shares its processors with what it measures.
import { connect, type Socket } from 'node:net'

/** What came back. `body` is text. */
export interface HttpAnswer {
  readonly status: number
  readonly body: string
}

const HEAD_END = '\r\n\r\n'
const LENGTH = '\r\ncontent-length: '

/** One request at a time; an answer must say its length. What breaks the connection, or is no such answer, goes to `failed`. */
export class HttpConnection {
  readonly #socket: Socket
  readonly #failed: (error: Error) => void
  #answered: ((answer: HttpAnswer) => void) | undefined
  #received = ''

  constructor(port: number, failed: (error: Error) => void) {
    this.#failed = failed
    // Its own buffer, used again for every read: a stream of chunks would cost as much as all the rest of the client.
    const onread = { buffer: Buffer.allocUnsafe(65_536), callback: (bytes: number, buffer: Uint8Array) => this.#read(bytes, buffer) }
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread })
    this.#socket.on('error', failed)
    this.#socket.on('close', () => this.#answered && failed(new Error('the server closed a connection before it answered')))
  }

  /** `request` as it goes over the wire, in ASCII. */
  send(request: string, answered: (answer: HttpAnswer) => void): void {
    this.#answered = answered
    this.#socket.write(request, 'latin1')
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(bytes: number, buffer: Uint8Array): boolean {
    this.#received += (buffer as Buffer).toString('latin1', 0, bytes)
    const headEnd = this.#received.indexOf(HEAD_END)
    if (headEnd === -1) return true
    const at = this.#received.indexOf(LENGTH)
    const length = at === -1 || at > headEnd ? Number.NaN : Number.parseInt(this.#received.slice(at + LENGTH.length, headEnd), 10)
    const status = Number(this.#received.slice(9, 12))
    if (Number.isNaN(length) && status !== 204) {
      this.#failed(new Error(`an answer without its length: ${this.#received.slice(0, headEnd)}`))
      return false
    }
    const bodyStart = headEnd + HEAD_END.length
    const end = bodyStart + (status === 204 ? 0 : length)
    if (this.#received.length < end) return true
    const answer = { status, body: this.#received.slice(bodyStart, end) }
    this.#received = this.#received.slice(end)
    const answered = this.#answered
    this.#answered = undefined
    answered?.(answer)
    return true
  }
}

/** A POST of JSON; `key` is its Idempotency-Key. */
export function postOf(path: string, body: string, key?: string): string {
  const keyed = key === undefined ? '' : `idempotency-key: "${key}"\r\n`
  return `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${keyed}content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
}

export function getOf(path: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`
}
