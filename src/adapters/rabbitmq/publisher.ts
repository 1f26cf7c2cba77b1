// Publishes on one channel with confirmations, in the order of the calls, and hears replies on the same one. When the channel is lost, all that is
// not confirmed has failed in doubt before anything newer goes out, so nothing older ever lands behind it from here.
import type { ChannelModel, ConfirmChannel, Message } from 'amqplib'
import { TwofoldError } from '../../errors.ts'
import type { CarriedMessage } from '../../ports/carrier.ts'

/** What may wait for its confirmation in this process; beyond it callers are refused. */
const PENDING_MAX = 50_000
const PENDING_BYTES_MAX = 64 * 1024 * 1024

/** A confirmation that takes longer than this is not waited for: what it was about is in doubt, and its partition takes nothing for as long. */
const CONFIRM_MS_MAX = 10_000

const REPLY_TO = 'amq.rabbitmq.reply-to'

interface Pending {
  readonly id: string
  readonly partition: number
  readonly bytes: number
  readonly since: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  isReturned: boolean
}

interface Waiter {
  readonly resolve: (reply: string) => void
  readonly reject: (error: unknown) => void
}

export interface PublisherOptions {
  readonly queueOf: (partition: number) => string
  readonly bytesMax: number
  /** The channel was closed, or nothing is confirmed any more: the connection is of no use. */
  readonly stuck: (reason: string) => void
  /** Whether this partition's queue is known to be full: asked about what RabbitMQ refuses. */
  readonly isFull: (partition: number) => Promise<boolean>
  /** The partition's queue is gone: to be made again. */
  readonly missing: (partition: number) => Promise<void>
  readonly warn: (fields: object, message: string) => void
  readonly debug: (fields: object, message: string) => void
  /** How long a confirmation is waited for, in milliseconds: 10,000 where not given. */
  readonly confirmMsMax?: number
}

export class Publisher {
  readonly #options: PublisherOptions
  #channel: ConfirmChannel | undefined
  /** Not confirmed, in the order of the calls. */
  readonly #pending = new Set<Pending>()
  #pendingBytes = 0
  readonly #waiters = new Map<string, Set<Waiter>>()
  #blocked: string | undefined
  /** Partitions whose queue does not confirm, each until when it is not tried again. */
  readonly #refused = new Map<number, number>()
  readonly #confirmMsMax: number
  #confirmedAt = 0
  /** Replies that nobody waited for any more. */
  #lateReplies = 0
  #idle: (() => void)[] = []
  readonly #watch: NodeJS.Timeout

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#confirmMsMax = options.confirmMsMax ?? CONFIRM_MS_MAX
    this.#watch = setInterval(() => this.#look(), this.#confirmMsMax / 10)
    this.#watch.unref()
  }

  get isAway(): boolean {
    return this.#channel === undefined || this.#blocked !== undefined
  }

  /** `signal` is aborted where this connection is given up meanwhile. */
  async open(connection: ChannelModel, signal: AbortSignal): Promise<void> {
    this.#blocked = undefined
    this.#refused.clear()
    connection.on('blocked', (reason: string) => (this.#blocked = reason))
    connection.on('unblocked', () => (this.#blocked = undefined))
    const channel = await connection.createConfirmChannel()
    let reason: unknown
    let isClosed = false
    channel.on('error', (error: Error) => (reason = error))
    channel.on('close', () => {
      isClosed = true
      if (this.#channel !== channel) return
      this.#lost(channel)
      // A channel is closed before its connection is: a moment later only a connection that is still there is given up.
      queueMicrotask(() => this.#options.stuck(`the channel that publishes was closed (${String(reason)})`))
    })
    channel.on('return', (message: Message) => this.#returned(message))
    await channel.consume(REPLY_TO, (message) => message && this.#replied(message), { noAck: true })
    signal.throwIfAborted()
    if (isClosed) throw reason instanceof Error ? reason : new Error('the channel that publishes was closed at once')
    this.#channel = channel
  }

  publish({ id, partition, body }: CarriedMessage, replyTo?: string): Promise<void> {
    const channel = this.#channel
    if (channel === undefined) return Promise.reject(away('RabbitMQ cannot be reached right now'))
    if (this.#blocked !== undefined) return Promise.reject(away(`RabbitMQ takes nothing right now (${this.#blocked})`))
    if (this.#isRefused(partition)) return Promise.reject(away(`RabbitMQ does not confirm commands of partition ${partition} right now`))
    const content = Buffer.from(body)
    const refusal = this.#refusal(content.length)
    if (refusal !== undefined) return Promise.reject(refusal)
    return new Promise((resolve, reject) => {
      const pending: Pending = { id, partition, bytes: content.length, since: performance.now(), resolve, reject, isReturned: false }
      this.#pending.add(pending)
      this.#pendingBytes += pending.bytes
      const correlation = replyTo === undefined ? {} : { replyTo, correlationId: id }
      const properties = {
        persistent: true,
        mandatory: true,
        messageId: id,
        contentType: 'application/vnd.twofold.command',
        ...correlation,
      }
      channel.sendToQueue(this.#options.queueOf(partition), content, properties, (error: Error | null) => this.#confirmed(pending, error))
    })
  }

  request(message: CarriedMessage, signal?: AbortSignal, onConfirmed?: () => void): Promise<string> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error)
      const { id } = message
      const settled = (): void => {
        signal?.removeEventListener('abort', abort)
        const same = this.#waiters.get(id)
        same?.delete(waiter)
        if (same?.size === 0) this.#waiters.delete(id)
      }
      const waiter: Waiter = {
        resolve(reply) {
          settled()
          resolve(reply)
        },
        reject(error) {
          settled()
          reject(error)
        },
      }
      const abort = (): void => waiter.reject(signal?.reason)
      signal?.addEventListener('abort', abort, { once: true })
      const same = this.#waiters.get(id)
      if (same) same.add(waiter)
      else this.#waiters.set(id, new Set([waiter]))
      this.publish(message, REPLY_TO).then(() => onConfirmed?.(), waiter.reject)
    })
  }

  /** Resolves once nothing waits for its confirmation. */
  async drained(): Promise<void> {
    if (this.#pending.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  /** Whatever was under way is in doubt. */
  lost(): void {
    if (this.#channel !== undefined) this.#lost(this.#channel)
  }

  close(): void {
    clearInterval(this.#watch)
    this.lost()
  }

  #refusal(bytes: number): TwofoldError | undefined {
    const { bytesMax } = this.#options
    if (bytes > bytesMax) return new TwofoldError('BODY_TOO_LARGE', `the command has ${bytes} bytes; over RabbitMQ it may have ${bytesMax}`)
    if (this.#pending.size < PENDING_MAX && this.#pendingBytes + bytes <= PENDING_BYTES_MAX) return undefined
    const message = `${this.#pending.size} commands wait for RabbitMQ to confirm them, which is all this instance takes; try again in a moment`
    return new TwofoldError('OVERLOADED', message, { retryAfterSeconds: 1 })
  }

  #isRefused(partition: number): boolean {
    const until = this.#refused.get(partition)
    if (until === undefined) return false
    if (performance.now() < until) return true
    this.#refused.delete(partition)
    return false
  }

  #confirmed(pending: Pending, error: Error | null): void {
    if (this.#channel !== undefined) this.#confirmedAt = performance.now()
    if (!this.#forget(pending)) {
      // Too late for whoever sent it, and a sign that the queue confirms again.
      if (error === null) this.#refused.delete(pending.partition)
      return
    }
    if (pending.isReturned) {
      void this.#options.missing(pending.partition)
      pending.reject(away('RabbitMQ has no queue for this command, as somebody has removed it; it is made again'))
    } else if (error === null) pending.resolve()
    else if (this.#channel === undefined) pending.reject(doubt(LOST))
    else void this.#nacked(pending)
  }

  async #nacked({ partition, reject }: Pending): Promise<void> {
    const isFull = await this.#options.isFull(partition).catch(() => false)
    reject(isFull ? full() : doubt('RabbitMQ refused the command, and its queue is not known to be full'))
  }

  #forget(pending: Pending): boolean {
    if (!this.#pending.delete(pending)) return false
    this.#pendingBytes -= pending.bytes
    if (this.#pending.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
    return true
  }

  /** Comes before the confirmation. */
  #returned({ properties }: Message): void {
    for (const pending of this.#pending) if (pending.id === properties.messageId) pending.isReturned = true
  }

  #replied({ properties, content }: Message): void {
    const waiters = this.#waiters.get(String(properties.correlationId))
    if (waiters === undefined) {
      this.#lateReplies += 1
      this.#options.debug({ id: String(properties.correlationId), count: this.#lateReplies }, 'a reply came that nobody waits for any more')
    }
    const reply = content.toString()
    for (const waiter of waiters ?? []) waiter.resolve(reply)
  }

  #lost(channel: ConfirmChannel): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    for (const pending of this.#pending) this.#confirmed(pending, new Error('the channel was lost'))
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.reject(doubt(LOST))
  }

  #look(): void {
    const now = performance.now()
    const silent = new Set<number>()
    for (const { since, partition } of this.#pending) {
      if (now - since < this.#confirmMsMax) break
      silent.add(partition)
    }
    if (silent.size === 0) return
    const seconds = this.#confirmMsMax / 1000
    if (now - this.#confirmedAt >= this.#confirmMsMax) return this.#options.stuck(`RabbitMQ has confirmed nothing for ${seconds} s`)
    for (const partition of silent) {
      this.#refused.set(partition, now + this.#confirmMsMax)
      this.#options.warn(
        { partition, seconds },
        'RabbitMQ does not confirm what goes to the queue of this partition; it takes nothing meanwhile',
      )
    }
    for (const pending of this.#pending) {
      if (!silent.has(pending.partition)) continue
      this.#forget(pending)
      pending.reject(doubt('RabbitMQ did not confirm the command in time'))
    }
  }
}

function away(reason: string): TwofoldError {
  return new TwofoldError('UNAVAILABLE', `${reason}: nothing was taken; try again in a moment`, { retryAfterSeconds: 1 })
}

const LOST = 'the connection to RabbitMQ was lost before it had confirmed'

function doubt(reason: string): TwofoldError {
  return new TwofoldError('IN_DOUBT', `${reason}: the command may have been taken`, { retryAfterSeconds: 1 })
}

function full(): TwofoldError {
  const message =
    'RabbitMQ takes no more commands of this partition, as many wait as may: nothing was taken; send fewer, or start more instances of the stateful side'
  return new TwofoldError('BACKLOG_FULL', message, { retryAfterSeconds: 2 })
}
