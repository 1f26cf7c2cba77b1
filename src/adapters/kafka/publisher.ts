// Messages on their way to the broker: in order of the calls, partition by partition, also when some have to be sent again.
//
// A partition's messages are `queued` (nothing is known of them outside), then part of its one `batch`, which from the first sending on stays as
// it is until it is settled: confirmed, refused, or in doubt because no answer came in time. Only then the next batch is formed, so that nothing
// overtakes. Batches bear the producer's id, its epoch for this partition, and a running number:
//   - sent again, a batch has the same number, and the broker stores it once;
//   - after a batch in doubt the epoch rises by one and numbers begin anew. So the broker refuses the batch in doubt should it still come, and
//     takes no later batch for a repetition of it. The one would break the order, the other would lose a confirmed message.
// One request at a time is under way to each broker, with the batches of many partitions in it. A partition with a fault of its own waits alone;
// where the broker does not answer, all that it leads do.
import { NumericMap } from '@platformatic/kafka'
import { TwofoldError } from '../../errors.ts'
import type { CarriedMessage } from '../../ports/carrier.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import { answerOf, type Cluster } from './cluster.ts'
import { codes, isMiscounted, isPassing, nameOf, requests } from './protocol.ts'

export interface PublisherOptions {
  readonly cluster: Cluster
  readonly messageBytesMax: number
  readonly warn: (fields: object, message: string) => void
  /** How long a message may take from the call to its confirmation, in milliseconds; then it is refused, or in doubt. Default 10 s. */
  readonly publishMsMax?: number | undefined
}

const PUBLISH_MS_MAX = 10_000
const SWEEP_MS = 250
const CLOSE_MS_MAX = 5_000
const RETRY = { minMs: 10, maxMs: 1_000 }

/** What may wait in this process, all partitions together. */
const QUEUED_MAX = 100_000
const QUEUED_BYTES_MAX = 64 << 20
/** A batch, unless one message alone is larger; and a request. */
const BATCH_BYTES_MAX = 1 << 20
const REQUEST_BYTES_MAX = 8 << 20
/** What Kafka adds to a record at most: lengths, time and number. */
const RECORD_BYTES = 32

const NUMBERS = 2 ** 31
const EPOCH_MAX = 32_767
const NO_HEADERS = new Map<Buffer, Buffer>()

interface Pending {
  readonly key: Buffer
  readonly value: Buffer
  readonly bytes: number
  /** By `performance.now()`. */
  readonly deadline: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

interface Batch {
  readonly records: readonly Pending[]
  readonly bytes: number
  /** How often it was sent: what is said of the last time says nothing of those before. */
  sendings: number
}

interface Line {
  readonly partition: number
  queue: Pending[]
  batch: Batch | undefined
  isUnderWay: boolean
  batchBytesMax: number
  producerId: bigint | undefined
  epoch: number
  /** Of the next message. */
  number: number
  /** How often in a row its batch was not taken, and when it is sent again, by `performance.now()`. */
  failures: number
  notBefore: number
}

export class Publisher {
  readonly #cluster: Cluster
  readonly #options: PublisherOptions
  readonly #publishMsMax: number
  readonly #lines = new Map<number, Line>()
  /** Partitions with something to send. */
  readonly #active = new Set<Line>()
  readonly #busy = new Set<number>()
  readonly #failures = new Map<number, number>()
  readonly #closing = new AbortController()
  readonly #sweep: NodeJS.Timeout
  #producerId: Promise<bigint> | undefined
  #isFlushDue = false
  #queued = 0
  #queuedBytes = 0
  #whenIdle: (() => void) | undefined

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#cluster = options.cluster
    this.#publishMsMax = options.publishMsMax ?? PUBLISH_MS_MAX
    this.#cluster.onMended(() => this.#flushSoon())
    this.#sweep = setInterval(() => this.#expire(), SWEEP_MS).unref()
  }

  publish({ partition, key, body }: CarriedMessage): Promise<void> {
    const refusal = this.#refusal(body)
    if (refusal !== undefined) return Promise.reject(refusal)
    const value = Buffer.from(body)
    const keyBytes = Buffer.from(key)
    const bytes = value.length + keyBytes.length + RECORD_BYTES
    if (value.length > this.#options.messageBytesMax) return Promise.reject(tooLarge(value.length, this.#options.messageBytesMax))
    return new Promise((resolve, reject) => {
      const deadline = performance.now() + this.#publishMsMax
      const line = this.#lineOf(partition)
      line.queue.push({ key: keyBytes, value, bytes, deadline, resolve, reject })
      this.#queued += 1
      this.#queuedBytes += bytes
      this.#active.add(line)
      this.#flushSoon()
    })
  }

  /** Takes no more, and waits for what is under way, a few seconds at most. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    if (this.#active.size > 0) {
      const idle = new Promise<void>((resolve) => {
        this.#whenIdle = resolve
      })
      const late = new AbortController()
      await Promise.race([idle, pause(CLOSE_MS_MAX, late.signal)])
      late.abort()
    }
    clearInterval(this.#sweep)
    for (const line of this.#lines.values()) {
      if (line.batch !== undefined) this.#settle(line, line.batch, inDoubt('this process stops'))
      for (const pending of line.queue.splice(0)) this.#forget([pending], unavailable('this process stops'))
    }
  }

  #refusal(body: string): TwofoldError | undefined {
    if (this.#closing.signal.aborted) return unavailable('this process stops')
    if (this.#cluster.isAway) return unavailable('Kafka is away')
    const { messageBytesMax } = this.#options
    if (body.length > messageBytesMax) return tooLarge(body.length, messageBytesMax)
    if (this.#queued < QUEUED_MAX && this.#queuedBytes < QUEUED_BYTES_MAX) return undefined
    return new TwofoldError('OVERLOADED', `${this.#queued} commands wait in this process for Kafka; send it again later`, {
      retryAfterSeconds: 1,
    })
  }

  #lineOf(partition: number): Line {
    let line = this.#lines.get(partition)
    if (line === undefined) {
      const batchBytesMax = BATCH_BYTES_MAX
      const numbers = { producerId: undefined, epoch: 0, number: 0, failures: 0, notBefore: 0 }
      line = { partition, queue: [], batch: undefined, isUnderWay: false, batchBytesMax, ...numbers }
      this.#lines.set(partition, line)
    }
    return line
  }

  /** After everything that is published in the same turn of the event loop. */
  #flushSoon(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    setImmediate(() => {
      this.#isFlushDue = false
      this.#flush()
    })
  }

  #flush(): void {
    const byNode = new Map<number, Line[]>()
    const now = performance.now()
    for (const line of this.#active) {
      if (line.isUnderWay || line.notBefore > now) continue
      const leader = this.#cluster.leaderOf(line.partition)
      if (leader === undefined) {
        this.#sendLater(line)
        this.#cluster.trouble()
        continue
      }
      if (this.#busy.has(leader)) continue
      const led = byNode.get(leader)
      if (led === undefined) byNode.set(leader, [line])
      else led.push(line)
    }
    for (const [node, lines] of byNode) void this.#send(node, lines)
  }

  async #send(node: number, lines: readonly Line[]): Promise<void> {
    this.#busy.add(node)
    let retryMs = 0
    const sent: Line[] = []
    try {
      for (const line of lines) line.producerId ??= await this.#sharedProducerId()
      this.#pick(lines, sent)
      if (sent.length === 0) return
      const batches = new Map(sent.map((line) => [line, line.batch as Batch]))
      const answer = await answerOf(this.#request(node, sent))
      if (typeof answer === 'boolean') throw new Error('Kafka gave no answer')
      const results = new Map(answer.responses[0]?.partitionResponses.map((each) => [each.index, each]))
      let isPassingFault = false
      for (const [line, batch] of batches) {
        const result = results.get(line.partition)
        const code = result?.errorCode ?? codes.NETWORK_EXCEPTION
        line.isUnderWay = false
        if (!this.#apply(line, batch, code, result?.errorMessage)) continue
        this.#sendLater(line)
        isPassingFault = true
      }
      if (isPassingFault) void this.#cluster.refresh().catch(() => this.#cluster.trouble())
      this.#failures.delete(node)
    } catch (error) {
      // Whether the broker has stored the batches is not known: they stay as they are and are sent again.
      if (!this.#failures.has(node)) this.#options.warn({ reason: String(error), node }, 'Kafka did not answer; sending again')
      this.#cluster.trouble()
      retryMs = this.#retryMs(node)
      for (const line of sent) line.isUnderWay = false
    } finally {
      if (retryMs > 0) await pause(retryMs)
      this.#busy.delete(node)
      this.#expire()
      if (this.#active.size > 0) this.#flushSoon()
    }
  }

  /** Others need not wait for it. */
  #sendLater(line: Line): void {
    line.failures += 1
    const retryMs = 1 + backoffMs(line.failures, RETRY)
    line.notBefore = performance.now() + retryMs
    void pause(retryMs + 1).then(() => this.#flushSoon())
  }

  #retryMs(node: number): number {
    const failures = (this.#failures.get(node) ?? 0) + 1
    this.#failures.set(node, failures)
    return 1 + backoffMs(failures, RETRY)
  }

  /** Asks for what the first message needs, so that it need not wait. */
  async prepare(): Promise<void> {
    await this.#sharedProducerId()
  }

  #sharedProducerId(): Promise<bigint> {
    this.#producerId ??= this.#cluster.askAny(requests.initProducerId, null, this.#cluster.requestMsMax, -1n, -1).then(
      ({ producerId }) => producerId,
      (error: unknown) => {
        this.#producerId = undefined
        throw error
      },
    )
    return this.#producerId
  }

  /** Forms the batches of one request; all of one producer's epoch, which the library writes once for a request. */
  #pick(lines: readonly Line[], into: Line[]): void {
    const [first] = lines
    let bytes = 0
    for (const line of lines) {
      if (line.isUnderWay || line.producerId !== first?.producerId || line.epoch !== first?.epoch) continue
      line.batch ??= this.#formed(line)
      if (line.batch === undefined || (into.length > 0 && bytes + line.batch.bytes > REQUEST_BYTES_MAX)) continue
      bytes += line.batch.bytes
      line.isUnderWay = true
      line.batch.sendings += 1
      // Last in turn the next time.
      this.#active.delete(line)
      this.#active.add(line)
      into.push(line)
    }
  }

  #formed(line: Line): Batch | undefined {
    if (line.queue.length === 0) return undefined
    let bytes = 0
    let count = 0
    for (const each of line.queue) {
      if (count > 0 && bytes + each.bytes > line.batchBytesMax) break
      bytes += each.bytes
      count += 1
    }
    return { records: line.queue.splice(0, count), bytes, sendings: 0 }
  }

  #request(node: number, lines: readonly Line[]): ReturnType<typeof requests.produce.async> {
    const [first] = lines
    if (first?.producerId === undefined) throw new Error('there is nothing to send')
    const { topic } = this.#cluster
    const sequences = new NumericMap(lines.map(({ partition, number }) => [`${topic}:${partition}`, number]))
    const timestamp = BigInt(Date.now())
    const messages = lines.flatMap(({ partition, batch }) =>
      (batch as Batch).records.map(({ key, value }) => ({ topic, partition, key, value, timestamp, headers: NO_HEADERS })),
    )
    const options = { compression: 'none', producerId: first.producerId, producerEpoch: first.epoch, sequences } as const
    return this.#cluster.ask('publish', node, requests.produce, -1, this.#cluster.requestMsMax, messages, options)
  }

  /** Whether the batch has to be sent again after a while. */
  #apply(line: Line, batch: Batch, code: number, message: string | null | undefined): boolean {
    // Settled meanwhile: this process stops.
    if (line.batch !== batch) return false
    if (code === codes.NONE || code === codes.DUPLICATE_SEQUENCE_NUMBER) {
      line.number = (line.number + batch.records.length) % NUMBERS
      line.batchBytesMax = BATCH_BYTES_MAX
      this.#settle(line, batch, undefined)
      return false
    }
    if (isPassing(code)) return true
    if (isMiscounted(code)) {
      this.#beginAnew(line)
      return true
    }
    if (code === codes.MESSAGE_TOO_LARGE || code === codes.RECORD_LIST_TOO_LARGE) {
      if (batch.records.length > 1) {
        line.queue.unshift(...batch.records)
        line.batch = undefined
        line.batchBytesMax = batch.bytes / 2
        return false
      }
      this.#settle(line, batch, tooLarge(batch.bytes, undefined))
      return false
    }
    this.#options.warn({ partition: line.partition, error: nameOf(code) }, `Kafka does not take commands: ${message ?? nameOf(code)}`)
    this.#beginAnew(line)
    const reason = `Kafka refused it: ${message ?? nameOf(code)}`
    this.#settle(line, batch, batch.sendings > 1 ? inDoubt(reason) : unavailable(reason))
    return false
  }

  /** The numbers begin anew, and the broker refuses from now on what bears older ones. */
  #beginAnew(line: Line): void {
    line.number = 0
    if (line.epoch < EPOCH_MAX) {
      line.epoch += 1
      return
    }
    line.epoch = 0
    line.producerId = undefined
    this.#producerId = undefined
  }

  #settle(line: Line, batch: Batch, error: TwofoldError | undefined): void {
    line.batch = undefined
    line.failures = 0
    this.#forget(batch.records, error)
    if (line.queue.length > 0) return
    this.#active.delete(line)
    if (this.#active.size === 0) this.#whenIdle?.()
  }

  #forget(records: readonly Pending[], error: TwofoldError | undefined): void {
    for (const { bytes, resolve, reject } of records) {
      this.#queued -= 1
      this.#queuedBytes -= bytes
      if (error === undefined) resolve()
      else reject(error)
    }
  }

  /** Whatever has waited too long; and while Kafka is away, whatever was not sent yet. */
  #expire(): void {
    const now = performance.now()
    const { isAway } = this.#cluster
    for (const line of this.#active) {
      if (line.batch !== undefined && !line.isUnderWay && (line.batch.records[0]?.deadline ?? 0) <= now) {
        this.#beginAnew(line)
        this.#settle(line, line.batch, inDoubt('Kafka did not confirm it in time'))
      }
      const late = isAway ? line.queue.splice(0) : line.queue.splice(0, countLate(line.queue, now))
      this.#forget(late, unavailable('Kafka is away'))
      if (line.batch === undefined && line.queue.length === 0) this.#active.delete(line)
    }
    if (this.#active.size === 0) this.#whenIdle?.()
  }
}

function countLate(queue: readonly Pending[], now: number): number {
  const at = queue.findIndex(({ deadline }) => deadline > now)
  return at === -1 ? queue.length : at
}

function unavailable(why: string): TwofoldError {
  return new TwofoldError('UNAVAILABLE', `${why}: the command was not accepted; send it again later`, { retryAfterSeconds: 2 })
}

function inDoubt(why: string): TwofoldError {
  return new TwofoldError('IN_DOUBT', `${why}: whether the command was taken is not known`, { retryAfterSeconds: 2 })
}

function tooLarge(bytes: number, allowed: number | undefined): TwofoldError {
  const limit = allowed === undefined ? "the topic's max.message.bytes allows" : `${allowed}`
  return new TwofoldError('BODY_TOO_LARGE', `the command has ${bytes} bytes on its way through Kafka; at most ${limit} are carried`)
}
