// A connection to RabbitMQ that mends itself.
//
// `down`: nothing can be sent; it connects again after growing pauses, as many that lost it together must not come back together. `up`: `onUp` has
// made ready what is used on it. `closed`: for good.
import type { Socket } from 'node:net'
import { connect, type ChannelModel } from 'amqplib'
import { TwofoldError } from '../../errors.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import { closed } from './closed.ts'
import { isAway, rabbitMqFault } from './faults.ts'

const AGAIN = { minMs: 100, maxMs: 5000 }
const CONNECT_MS_MAX = 5000
/** Queues are declared meanwhile; what was declared in time is there at the next attempt. */
const UP_MS_MAX = 30_000
const CLOSE_MS_MAX = 2000

export interface LinkOptions {
  readonly url: string
  /** How operators see it. */
  readonly name: string
  /** The broker gives a silent process up after twice as long, in seconds. */
  readonly heartbeatSeconds: number
  /** Makes ready what is used on a new connection; one on which that fails is closed. Where that is given up, `signal` is aborted. */
  readonly onUp: (connection: ChannelModel, signal: AbortSignal) => Promise<void>
  /** An `onUp` that takes longer than this is given up, and its connection too, in milliseconds: 30,000 where not given. */
  readonly upMsMax?: number
  readonly onDown: () => void
  readonly warn: (fields: object, message: string) => void
}

export class Link {
  readonly #options: LinkOptions
  readonly #closing = new AbortController()
  #connection: ChannelModel | undefined
  /** Ends the wait for `onUp`. */
  #givenUp = new AbortController()
  #isUp = false
  #upAt = 0
  /** Attempts since a connection has lasted: one that is lost at once, time and again, is not made anew without a pause. */
  #attempts = 0
  #mending: Promise<void> | undefined

  constructor(options: LinkOptions) {
    this.#options = options
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Connects for the first time; after that it mends itself. Rejects with what stands in the way, unless that `mayPass`: then it goes on by itself. */
  async start(mayPass: (error: unknown) => boolean = () => false): Promise<void> {
    try {
      await this.#connect()
    } catch (error) {
      if (!mayPass(error) || this.#closing.signal.aborted) throw error
      this.#options.warn(
        { reason: String(error), connection: this.#options.name },
        'RabbitMQ does not answer; connecting as soon as it does',
      )
      this.#mending = this.#mend()
    }
  }

  /** What to use right now; undefined while it is down. */
  get connection(): ChannelModel | undefined {
    return this.#isUp ? this.#connection : undefined
  }

  /** This connection is of no use any more: the next one is made. */
  abandon(reason: unknown): void {
    const connection = this.#connection
    if (connection === undefined) return
    this.#lost(connection, reason)
    void closed(connection)
  }

  /** For tests: its socket is lost. */
  drop(): void {
    // What a channel model is made on, and the one thing that can be lost.
    const { stream } = (this.#connection?.connection as unknown as { readonly stream?: Socket }) ?? {}
    stream?.destroy(new Error('the connection was dropped by a test'))
  }

  /** How many messages of these queues are with nobody; one that cannot be asked is left out. */
  async lengths(partitions: readonly number[], queueOf: (partition: number) => string): Promise<ReadonlyMap<number, number>> {
    const lengths = new Map<number, number>()
    for (const partition of partitions) {
      try {
        const channel = await this.#connection?.createChannel()
        if (channel === undefined) return lengths
        channel.on('error', () => undefined)
        lengths.set(partition, (await channel.checkQueue(queueOf(partition))).messageCount)
        await closed(channel)
      } catch {
        // A queue that is not there closes the channel.
      }
    }
    return lengths
  }

  async close(): Promise<void> {
    this.#closing.abort()
    const connection = this.#connection
    this.#connection = undefined
    this.#isUp = false
    this.#givenUp.abort(new Error('this instance stops'))
    if (connection !== undefined) await closed(connection)
    // One that is being made still closes itself.
    await Promise.race([this.#mending, pause(CLOSE_MS_MAX)])
  }

  async #connect(): Promise<void> {
    const { url, name, heartbeatSeconds } = this.#options
    const address = new URL(url)
    address.searchParams.set('heartbeat', String(heartbeatSeconds))
    const properties = { connection_name: name }
    const connection = await connect(address.href, {
      timeout: CONNECT_MS_MAX,
      noDelay: true,
      keepAlive: true,
      clientProperties: properties,
    })
    let error: unknown
    connection.on('error', (reason: Error) => (error = reason))
    connection.on('close', (reason?: Error) => this.#lost(connection, error ?? reason ?? 'the connection was closed'))
    if (this.#closing.signal.aborted) return closed(connection)
    this.#connection = connection
    try {
      await this.#ready(connection)
    } catch (failure) {
      if (this.#connection === connection) this.#connection = undefined
      await closed(connection)
      throw failure
    }
    this.#isUp = this.#connection === connection
    this.#upAt = performance.now()
    if (!this.#isUp) throw error instanceof Error ? error : new Error('the connection was lost at once')
  }

  /** Rejects as well when the connection is lost meanwhile, or it takes too long. */
  async #ready(connection: ChannelModel): Promise<void> {
    const { onUp, upMsMax = UP_MS_MAX } = this.#options
    const givenUp = new AbortController()
    this.#givenUp = givenUp
    const timer = setTimeout(() => givenUp.abort(new Error(`it was not ready after ${upMsMax} ms`)), upMsMax)
    const ended = new Promise<never>((_, reject) => {
      givenUp.signal.addEventListener('abort', () => reject(givenUp.signal.reason), { once: true })
    })
    await Promise.race([onUp(connection, givenUp.signal), ended]).finally(() => clearTimeout(timer))
  }

  #lost(connection: ChannelModel, reason: unknown): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    const wasUp = this.#isUp
    this.#isUp = false
    this.#givenUp.abort(reason instanceof Error ? reason : new Error(String(reason)))
    if (this.#closing.signal.aborted) return
    if (!wasUp) return
    this.#options.warn({ reason: String(reason), connection: this.#options.name }, 'lost the connection to RabbitMQ; connecting again')
    this.#options.onDown()
    if (performance.now() - this.#upAt > AGAIN.maxMs) this.#attempts = 0
    this.#mending = this.#mend()
  }

  async #mend(): Promise<void> {
    let told = ''
    while (!this.#closing.signal.aborted) {
      this.#attempts += 1
      const attempt = this.#attempts
      await pause(AGAIN.minMs / 2 + backoffMs(attempt, AGAIN), this.#closing.signal)
      if (this.#closing.signal.aborted) return
      try {
        await this.#connect()
        return
      } catch (error) {
        // One that was away when it was first asked may turn out not to let this user in.
        const refusal = error instanceof TwofoldError || !isAway(error) ? rabbitMqFault(error, this.#options.url) : undefined
        const reason = refusal?.message ?? String(error)
        const isNew = refusal !== undefined && reason !== told
        if (isNew) this.#options.warn({ reason, attempt }, 'RabbitMQ answers, and cannot be used as it is; trying on')
        // Once in a while, or the log is nothing else.
        else if (attempt % 10 === 0) this.#options.warn({ reason, attempt }, 'RabbitMQ still does not answer; trying on')
        told = reason
      }
    }
  }
}
