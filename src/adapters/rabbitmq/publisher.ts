// Publishes on one channel with confirmations, in the order of the calls, and hears replies on the same one. When the channel is lost, all that is
// not confirmed has failed in doubt before anything newer goes out, so nothing older ever lands behind it from here.
import type { ChannelModel, ConfirmChannel, Message } from 'amqplib'
import { TwofoldError } from '../../errors.ts'
import type { CarriedMessage } from '../../ports/carrier.ts'

/** What may wait for its confirmation in this process; beyond it callers are refused. */
const PENDING_MAX = 50_000
const PENDING_BYTES_MAX = 64 * 1024 * 1024

/** A confirmation that takes longer than this is not waited for: the channel is given up, and what it was about is in doubt. */
const CONFIRM_MS_MAX = 10_000

const REPLY_TO = 'amq.rabbitmq.reply-to'

interface Pending {
  readonly id: string
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
  /** Confirmations do not come: the connection is of no use. */
  readonly stuck: (reason: string) => void
}

export class Publisher {
  readonly #options: PublisherOptions
  #channel: ConfirmChannel | undefined
  /** Not confirmed, in the order of the calls. */
  readonly #pending = new Set<Pending>()
  #pendingBytes = 0
  readonly #waiters = new Map<string, Set<Waiter>>()
  #blocked: string | undefined
  #lateReplies = 0
  #idle: (() => void)[] = []
  readonly #watch: NodeJS.Timeout

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#watch = setInterval(() => this.#look(), CONFIRM_MS_MAX / 10)
    this.#watch.unref()
  }

  get isAway(): boolean {
    return this.#channel === undefined || this.#blocked !== undefined
  }

  /** Replies that nobody waited for any more. */
  get lateReplies(): number {
    return this.#lateReplies
  }

  async open(connection: ChannelModel): Promise<void> {
    this.#blocked = undefined
    connection.on('blocked', (reason: string) => (this.#blocked = reason))
    connection.on('unblocked', () => (this.#blocked = undefined))
    const channel = await connection.createConfirmChannel()
    channel.on('error', () => undefined)
    channel.on('close', () => this.#lost(channel))
    channel.on('return', (message: Message) => this.#returned(message))
    await channel.consume(REPLY_TO, (message) => message && this.#replied(message), { noAck: true })
    this.#channel = channel
  }

  publish({ id, partition, body }: CarriedMessage, replyTo?: string): Promise<void> {
    const channel = this.#channel
    if (channel === undefined) return Promise.reject(away('RabbitMQ cannot be reached right now'))
    if (this.#blocked !== undefined) return Promise.reject(away(`RabbitMQ takes nothing right now (${this.#blocked})`))
    const content = Buffer.from(body)
    const refusal = this.#refusal(content.length)
    if (refusal !== undefined) return Promise.reject(refusal)
    return new Promise((resolve, reject) => {
      const pending: Pending = { id, bytes: content.length, since: performance.now(), resolve, reject, isReturned: false }
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

  #confirmed(pending: Pending, error: Error | null): void {
    if (!this.#forget(pending)) return
    if (pending.isReturned) pending.reject(away('RabbitMQ has no queue for this command; it was removed while this instance ran'))
    else if (error === null) pending.resolve()
    else if (this.#channel === undefined) pending.reject(doubt())
    else pending.reject(full())
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
    if (waiters === undefined) this.#lateReplies += 1
    const reply = content.toString()
    for (const waiter of waiters ?? []) waiter.resolve(reply)
  }

  #lost(channel: ConfirmChannel): void {
    if (this.#channel !== channel) return
    this.#channel = undefined
    for (const pending of this.#pending) this.#confirmed(pending, new Error('the channel was lost'))
    for (const waiters of this.#waiters.values()) for (const waiter of waiters) waiter.reject(doubt())
  }

  #look(): void {
    const [oldest] = this.#pending
    if (oldest === undefined || performance.now() - oldest.since < CONFIRM_MS_MAX) return
    this.#options.stuck(`RabbitMQ has confirmed nothing for ${CONFIRM_MS_MAX / 1000} s`)
  }
}

function away(reason: string): TwofoldError {
  return new TwofoldError('UNAVAILABLE', `${reason}: nothing was taken; try again in a moment`, { retryAfterSeconds: 1 })
}

function doubt(): TwofoldError {
  const message =
    'the connection to RabbitMQ was lost before it had confirmed: the command may have been taken; ask for it by its id, or send it again'
  return new TwofoldError('UNAVAILABLE', message, { retryAfterSeconds: 1 })
}

function full(): TwofoldError {
  const message =
    'RabbitMQ takes no more commands of this partition, as many wait as may: nothing was taken; send fewer, or start more instances of the stateful side'
  return new TwofoldError('BACKLOG_FULL', message, { retryAfterSeconds: 2 })
}
