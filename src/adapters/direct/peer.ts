// One other instance, seen by a caller: a connection, what is under way on it, and whether it is worth trying.
import { Client, type Dispatcher } from 'undici'
import type { Envelope } from '../../contract/envelope.ts'
import type { CallContext } from '../../ports/direct-carrier.ts'
import type { Logger } from '../../runtime/logger.ts'
import { Circuit } from './circuit.ts'
import type { Owner } from './directory.ts'
import { LineReader, LineSender } from './lines.ts'
import {
  credential,
  decodeResult,
  encodeCall,
  INSTANCE_HEADER,
  LINE_CHARACTERS_MAX,
  PATH,
  PENDING_CHARACTERS_MAX,
  PENDING_MAX,
  PING,
  RESULT_CHARACTERS_MAX,
  type OwnerResult,
} from './wire.ts'

/** How long a connection may take until the other side has answered. */
const OPEN_MS_MAX = 2000

/** An owner that says nothing for so long, though it was asked whether it is there, is not waited for. */
const SILENT_MS_MAX = 2000
const LISTEN_MS = 500

/** `lost`: no answer will come. With `begun` the other side may have the command all the same. */
export type PeerResult = OwnerResult | { readonly status: 'lost'; readonly begun: boolean }

export interface PeerOptions {
  readonly owner: Owner
  readonly secret: string
  /** The database's time, in milliseconds since 1970. */
  readonly now: () => number
  readonly log: Logger
}

interface Pending {
  readonly line: string
  readonly settle: (result: PeerResult) => void
  sent: boolean
}

/**
 * `away`: there is no connection; the next call makes one. `opening`: commands wait for it. `open`: it is authenticated and commands are
 * written as they come. A connection that ends, or is silent, takes all that was pending on it along: those calls are `lost`.
 */
export class Peer {
  readonly #options: PeerOptions
  readonly #circuit = new Circuit()
  readonly #pending = new Map<string, Pending>()
  #pendingCharacters = 0
  #state: 'away' | 'opening' | 'open' | 'closed' = 'away'
  #client: Client | undefined
  #out = new LineSender()
  #listening: NodeJS.Timeout | undefined
  #heardAt = 0

  constructor(options: PeerOptions) {
    this.#options = options
  }

  /** Whether a call may be tried now. */
  get takes(): boolean {
    if (this.#state === 'closed' || !this.#circuit.passes) return false
    if (this.#pending.size >= PENDING_MAX || this.#pendingCharacters >= PENDING_CHARACTERS_MAX) return false
    return this.#state !== 'opening' || !this.#circuit.isTried
  }

  /** When the caller stops waiting: `deferred` while nothing was sent; afterwards rejects with the signal's reason. */
  call(envelope: Envelope, signal: AbortSignal | undefined, { waitMs }: CallContext): Promise<PeerResult> {
    const { id } = envelope
    if (this.#pending.has(id)) return Promise.resolve({ status: 'deferred', begun: true })
    const deadline = waitMs === undefined ? undefined : Math.ceil(this.#options.now() + waitMs)
    const line = encodeCall({ envelope, deadline })
    if (!this.takes || signal?.aborted === true || !this.#hasRoom(line)) return Promise.resolve({ status: 'deferred' })
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        const pending = this.#forget(id)
        if (pending === undefined) return
        // What has not left this process has not begun anywhere.
        if (!pending.sent) return resolve({ status: 'deferred' })
        if (this.#state === 'open') this.#out.send(`X${id}`)
        reject(signal?.reason as Error)
      }
      const settle = (result: PeerResult): void => {
        signal?.removeEventListener('abort', abort)
        resolve(result)
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#send(id, { line, settle, sent: false })
    })
  }

  #hasRoom({ length }: string): boolean {
    return length <= LINE_CHARACTERS_MAX && this.#pendingCharacters + length <= PENDING_CHARACTERS_MAX
  }

  /** Ends the connection; what is pending is lost. */
  close(): void {
    this.#end('closed')
  }

  #send(id: string, pending: Pending): void {
    this.#pending.set(id, pending)
    this.#pendingCharacters += pending.line.length
    if (this.#state === 'open') this.#write(pending)
    else if (this.#state === 'away') void this.#open()
    if (this.#listening !== undefined) return
    // While nobody waited nothing was to be heard.
    this.#heardAt = performance.now()
    this.#listening = this.#listen()
  }

  #write(pending: Pending): void {
    pending.sent = true
    this.#out.send(pending.line)
  }

  async #open(): Promise<void> {
    const { owner, secret } = this.#options
    const client = new Client(owner.address, { connect: { timeout: OPEN_MS_MAX }, headersTimeout: 0, bodyTimeout: 0 })
    const out = new LineSender()
    out.on('error', () => undefined)
    this.#state = 'opening'
    this.#client = client
    this.#out = out
    const overdue = setTimeout(() => this.#lost(client, `it did not answer within ${OPEN_MS_MAX} ms`), OPEN_MS_MAX)
    // The first line brings the head of the request on its way.
    out.send(PING)
    try {
      const headers = { authorization: credential(secret), [INSTANCE_HEADER]: owner.id }
      const response = await client.request({ method: 'POST', path: PATH, headers, body: out })
      clearTimeout(overdue)
      if (response.statusCode !== 200) return this.#refused(client, response)
      if (this.#client === client) this.#opened()
      await this.#read(client, response.body)
      this.#lost(client, 'it closed the connection')
    } catch (error) {
      clearTimeout(overdue)
      this.#lost(client, String(error))
    }
  }

  #opened(): void {
    this.#state = 'open'
    this.#heardAt = performance.now()
    for (const pending of this.#pending.values()) this.#write(pending)
  }

  async #read(client: Client, body: Dispatcher.ResponseData['body']): Promise<void> {
    const reader = new LineReader(RESULT_CHARACTERS_MAX)
    for await (const piece of body) {
      if (this.#client !== client) return
      this.#heardAt = performance.now()
      for (const line of reader.read(piece as Buffer)) this.#heard(line)
    }
  }

  #heard(line: string): void {
    if (line === PING) return this.#circuit.succeeded()
    const { id, result } = decodeResult(line)
    // Where there is none, nobody waits for it any more.
    this.#forget(id)?.settle(result)
  }

  #forget(id: string): Pending | undefined {
    const pending = this.#pending.get(id)
    if (pending === undefined) return undefined
    this.#pending.delete(id)
    this.#pendingCharacters -= pending.line.length
    return pending
  }

  /** Only while somebody waits: asks whether the other side is there, and gives up when it says nothing. */
  #listen(): NodeJS.Timeout {
    return setInterval(() => {
      if (this.#pending.size === 0) {
        clearInterval(this.#listening)
        this.#listening = undefined
      } else if (this.#state === 'open') {
        const silentMs = performance.now() - this.#heardAt
        if (silentMs > SILENT_MS_MAX) this.#lost(this.#client, `it was silent for ${Math.round(silentMs)} ms`, 'silent')
        else if (silentMs > LISTEN_MS) this.#out.send(PING)
      }
    }, LISTEN_MS).unref()
  }

  #refused(client: Client, { statusCode, body }: Dispatcher.ResponseData): void {
    body.on('error', () => undefined)
    const why =
      statusCode === 401
        ? 'it has another secret: TWOFOLD_SECRET must be the same for all instances of an app'
        : `it answered ${statusCode}`
    this.#lost(client, why)
  }

  #lost(client: Client | undefined, reason: string, how: 'ended' | 'silent' = 'ended'): void {
    if (client === undefined || this.#client !== client) return
    const { owner, log } = this.#options
    const fields = { instance: owner.id, address: owner.address, reason, pending: this.#pending.size }
    log.warn(fields, 'lost the connection to another instance; its calls go to who owns them now, or through the log')
    this.#circuit.failed(this.#state === 'open' ? how : 'unreachable')
    this.#end('away')
  }

  #end(state: 'away' | 'closed'): void {
    this.#state = state
    clearInterval(this.#listening)
    this.#listening = undefined
    const client = this.#client
    this.#client = undefined
    this.#out.destroy()
    void client?.destroy().catch(() => undefined)
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    this.#pendingCharacters = 0
    for (const { settle, sent } of pending) settle({ status: 'lost', begun: sent })
  }
}
