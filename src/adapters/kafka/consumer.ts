// Messages of the partitions that the lease says are ours: fetched, handed out in order, and their offsets committed once they are done.
//
// No consumer group assigns partitions: the lease in PostgreSQL does, and a second opinion could only differ from it. A partition is
// `starting` (where it is done up to is being asked), `fetched`, or not here at all. Of one that is fetched,
//
//   committed ≤ doneTo ≤ offsets in hand ≤ waiting here ≤ position
//
// `doneTo`: everything below it is done, and nothing else is ever committed. `position`: what is fetched next. Nothing is handed out that is
// `inHandMax` or more beyond `committed`; so whoever comes after knows what may have been in the hands of the former owner.
import type { Delivery } from '../../ports/carrier.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import { answerOf, type Cluster } from './cluster.ts'
import { commitOffsets, committedOffsets, edgeOf } from './offsets.ts'
import { codes, isPassing, nameOf, requests } from './protocol.ts'

export interface ConsumerOptions {
  readonly cluster: Cluster
  readonly warn: (fields: object, message: string) => void
}

/** How long a fetch waits for messages; a partition that is consumed anew waits for its first fetch no longer than that. */
const FETCH_MS = 100
/** While some partitions are not asked for because enough of them lies here. */
const FETCH_MS_FULL = 5
const FETCH_BYTES_MAX = 8 << 20
const PARTITION_BYTES_MAX = 1 << 20
/** So much of a partition lies here before no more is fetched. */
const AHEAD_BYTES_MAX = 1 << 20
/** Between two commits, unless half of what may be in hand is done. */
const COMMIT_MS = 20
/** So often offsets are committed that have not changed. */
const RECOMMIT_MS = 60_000
const RELEASE_MS_MAX = 2_000
const RETRY = { minMs: 20, maxMs: 1_000 }

/** Set in a batch that is Kafka's own, a marker of a transaction. */
const CONTROL = 0x20

interface Fetched {
  readonly offset: number
  readonly body: string
  readonly bytes: number
}

interface InHand {
  readonly offset: number
  isDone: boolean
}

interface Line {
  readonly partition: number
  readonly deliver: (delivery: Delivery) => void
  readonly inHandMax: number
  state: 'starting' | 'fetched' | 'released'
  position: number
  committed: number
  doneTo: number
  /** Offsets below this may have been in the hands of a former owner. */
  redeliveredTo: number
  inHand: InHand[]
  waiting: Fetched[]
  waitingBytes: number
}

export class Consumer {
  readonly #cluster: Cluster
  readonly #warn: ConsumerOptions['warn']
  readonly #lines = new Map<number, Line>()
  /** Those whose `doneTo` has to be told, also while they are being released. */
  readonly #uncommitted = new Set<Line>()
  readonly #closing = new AbortController()
  readonly #fetching = new Set<number>()
  readonly #recommit: NodeJS.Timeout
  #isStarting = false
  #committing: Promise<void> | undefined
  #committed = Promise.withResolvers<void>()
  #hurry: (() => void) | undefined
  #wake = Promise.withResolvers<void>()
  #failures = 0

  constructor({ cluster, warn }: ConsumerOptions) {
    this.#cluster = cluster
    this.#warn = warn
    cluster.onMended(() => this.#ring())
    // An offset that nobody commits for a week is forgotten (`offsets.retention.minutes`), and one that a former owner committed late is too low.
    this.#recommit = setInterval(() => {
      for (const line of this.#lines.values()) if (line.state === 'fetched') this.#commitSoon(line)
    }, RECOMMIT_MS).unref()
  }

  consume(partition: number, deliver: (delivery: Delivery) => void, inHandMax: number): void {
    if (this.#closing.signal.aborted || this.#lines.has(partition)) return
    this.#lines.set(partition, newLine(partition, deliver, inHandMax))
    this.#ring()
  }

  /** Resolves once what is done is committed, or cannot be committed in time: then some of it is delivered again. */
  async release(partition: number): Promise<void> {
    const line = this.#lines.get(partition)
    if (line === undefined) return
    this.#lines.delete(partition)
    const wasFetched = line.state === 'fetched'
    line.state = 'released'
    line.waiting = []
    if (!wasFetched || line.doneTo === line.committed) return
    this.#commitSoon(line)
    this.#hurry?.()
    const late = new AbortController()
    const over = pause(RELEASE_MS_MAX, AbortSignal.any([late.signal, this.#closing.signal])).then(() => 'late' as const)
    while (this.#uncommitted.has(line)) if ((await Promise.race([this.#committed.promise, over])) === 'late') break
    late.abort()
    this.#uncommitted.delete(line)
  }

  /** The topic they are of is gone, with what was not done of it: nothing is committed of them. Returns what has to be consumed of the next one. */
  leaveAll(): readonly Pick<Line, 'partition' | 'deliver' | 'inHandMax'>[] {
    const lines = [...this.#lines.values()]
    this.#lines.clear()
    this.#uncommitted.clear()
    for (const line of lines) {
      line.state = 'released'
      line.waiting = []
    }
    return lines
  }

  /** How far a partition is done that is consumed here; what is committed may be less by a moment. */
  doneTo(partition: number): number | undefined {
    const line = this.#lines.get(partition)
    return line?.state === 'fetched' ? line.doneTo : undefined
  }

  async close(): Promise<void> {
    clearInterval(this.#recommit)
    await Promise.all([...this.#lines.keys()].map((partition) => this.release(partition)))
    this.#closing.abort()
    this.#hurry?.()
    this.#ring()
    await this.#committing
  }

  /** There is something to fetch, or to start. */
  #ring(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
    if (this.#closing.signal.aborted) return
    const lines = [...this.#lines.values()]
    if (!this.#isStarting && lines.some(({ state }) => state === 'starting')) void this.#start()
    for (const { state, partition } of lines) {
      const leader = this.#cluster.leaderOf(partition)
      if (state !== 'fetched') continue
      if (leader === undefined) this.#cluster.trouble()
      else if (!this.#fetching.has(leader)) void this.#fetchFrom(leader)
    }
  }

  /** From where the last owner was done; where nobody ever was, from the first message: never from the end, which would pass over what waits. */
  async #start(): Promise<void> {
    this.#isStarting = true
    for (;;) {
      const lines = [...this.#lines.values()].filter(({ state }) => state === 'starting')
      if (lines.length === 0 || this.#closing.signal.aborted) break
      try {
        const partitions = lines.map(({ partition }) => partition)
        const committed = await committedOffsets(this.#cluster, partitions)
        const fresh = partitions.filter((partition) => !committed.has(partition))
        const first = fresh.length === 0 ? new Map<number, number>() : await edgeOf(this.#cluster, fresh, 'first')
        for (const line of lines) {
          const from = committed.get(line.partition) ?? first.get(line.partition)
          if (from !== undefined && line.state === 'starting') begin(line, from)
        }
        if (lines.every(({ state }) => state !== 'starting')) this.#failures = 0
        else throw new Error('some partitions have no leader')
      } catch (error) {
        if (this.#failures === 0) this.#warn({ reason: String(error) }, 'where partitions are done up to cannot be asked; trying again')
        await this.#failed()
      }
    }
    this.#isStarting = false
    this.#ring()
  }

  async #failed(): Promise<void> {
    this.#failures += 1
    await pause(1 + backoffMs(this.#failures, RETRY), this.#closing.signal)
    await this.#cluster.refresh().catch(() => this.#cluster.trouble())
  }

  /** One fetch after the other from one broker, of all partitions it leads that have room here. */
  async #fetchFrom(node: number): Promise<void> {
    this.#fetching.add(node)
    const isOurs = (line: Line): boolean => line.state === 'fetched' && this.#cluster.leaderOf(line.partition) === node
    for (;;) {
      if (this.#closing.signal.aborted) break
      const led = [...this.#lines.values()].filter(isOurs)
      if (led.length === 0) break
      const roomy = led.filter(({ waitingBytes }) => waitingBytes < AHEAD_BYTES_MAX)
      if (roomy.length === 0) {
        await this.#wake.promise
        continue
      }
      try {
        await this.#fetch(node, roomy, roomy.length === led.length ? FETCH_MS : FETCH_MS_FULL)
      } catch (error) {
        if (this.#closing.signal.aborted) break
        if (this.#failures === 0) this.#warn({ reason: String(error), node }, 'messages cannot be fetched from Kafka; trying again')
        await this.#failed()
      }
    }
    this.#fetching.delete(node)
    if ([...this.#lines.values()].some(({ state }) => state === 'fetched')) this.#ring()
  }

  async #fetch(node: number, lines: readonly Line[], maxWaitMs: number): Promise<void> {
    const { topicId } = this.#cluster
    if (topicId === undefined) throw new Error(`there is no topic ${this.#cluster.topic}`)
    const partitions = lines.map(({ partition, position }) => ({
      partition,
      fetchOffset: BigInt(position),
      currentLeaderEpoch: -1,
      lastFetchedEpoch: -1,
      partitionMaxBytes: PARTITION_BYTES_MAX,
    }))
    const asked = this.#cluster.ask(
      'fetch',
      node,
      requests.fetch,
      maxWaitMs,
      1,
      FETCH_BYTES_MAX,
      0,
      0,
      0,
      [{ topicId, partitions }],
      [],
      '',
    )
    const answer = await answerOf(asked)
    if (answer.errorCode !== codes.NONE) throw new Error(nameOf(answer.errorCode))
    const found = new Map(answer.responses[0]?.partitions.map((each) => [each.partitionIndex, each]))
    let failed: number | undefined
    for (const line of lines) {
      const part = found.get(line.partition)
      if (part === undefined || line.state !== 'fetched') continue
      if (part.errorCode === codes.OFFSET_OUT_OF_RANGE) await this.#seek(line)
      else if (part.errorCode !== codes.NONE) failed = part.errorCode
      else this.#take(line, part.records ?? [])
    }
    if (failed === undefined) this.#failures = 0
    else if (isPassing(failed)) await this.#failed()
    else throw new Error(nameOf(failed))
  }

  #take(line: Line, batches: NonNullable<FetchedPartition['records']>): void {
    for (const { firstOffset, lastOffsetDelta, attributes, records } of batches) {
      const base = Number(firstOffset)
      if ((attributes & CONTROL) === 0)
        for (const { offsetDelta, value } of records) {
          const offset = base + offsetDelta
          // A batch is given whole, also where it begins before what was asked for.
          if (offset < line.position) continue
          const bytes = value?.length ?? 0
          line.waiting.push({ offset, body: value?.toString() ?? '', bytes })
          line.waitingBytes += bytes
        }
      line.position = Math.max(line.position, base + lastOffsetDelta + 1)
    }
    this.#handOut(line)
  }

  #handOut(line: Line): void {
    let count = 0
    for (const { offset, body, bytes } of line.waiting) {
      if (line.state !== 'fetched' || offset >= line.committed + line.inHandMax) break
      count += 1
      line.waitingBytes -= bytes
      const inHand: InHand = { offset, isDone: false }
      line.inHand.push(inHand)
      line.deliver({ body, redelivered: offset < line.redeliveredTo, wantsReply: false, done: () => this.#done(line, inHand) })
    }
    if (count > 0) line.waiting.splice(0, count)
  }

  #done(line: Line, inHand: InHand): void {
    if (inHand.isDone || line.state !== 'fetched') return
    inHand.isDone = true
    let count = 0
    while (line.inHand[count]?.isDone === true) count += 1
    if (count === 0) return
    line.doneTo = (line.inHand[count - 1] as InHand).offset + 1
    line.inHand.splice(0, count)
    this.#commitSoon(line)
    if (isUrgent(line)) this.#hurry?.()
  }

  #commitSoon(line: Line): void {
    this.#uncommitted.add(line)
    this.#committing ??= this.#commit()
  }

  async #commit(): Promise<void> {
    for (let failures = 0; this.#uncommitted.size > 0 && !this.#closing.signal.aborted;) {
      const hurry = new AbortController()
      this.#hurry = () => hurry.abort()
      if (failures > 0) await pause(1 + backoffMs(failures, RETRY), this.#closing.signal)
      else if (![...this.#uncommitted].some(isUrgent)) await pause(COMMIT_MS, hurry.signal)
      // What is done while the request is under way is told with the next one.
      const told = new Map([...this.#uncommitted].map((line) => [line.partition, { line, doneTo: line.doneTo }]))
      try {
        const noted = await commitOffsets(this.#cluster, new Map([...told].map(([partition, { doneTo }]) => [partition, doneTo])))
        failures = noted.length === told.size ? 0 : failures + 1
        for (const partition of noted) {
          const { line, doneTo } = told.get(partition) as { line: Line; doneTo: number }
          line.committed = Math.max(line.committed, doneTo)
          if (line.doneTo === doneTo) this.#uncommitted.delete(line)
          this.#handOut(line)
        }
        this.#committed.resolve()
        this.#committed = Promise.withResolvers()
        // There may be room for more.
        this.#wake.resolve()
        this.#wake = Promise.withResolvers()
      } catch (error) {
        failures += 1
        if (failures === 1) this.#warn({ reason: String(error) }, 'what is done cannot be told to Kafka; trying again')
      }
    }
    this.#committing = undefined
  }

  /** What comes next is not there: deleted, or the topic is another one. Begins anew with the first message there is. */
  async #seek(line: Line): Promise<void> {
    const { partition, position, deliver, inHandMax } = line
    const [first, end] = await Promise.all([edgeOf(this.#cluster, [partition], 'first'), edgeOf(this.#cluster, [partition], 'end')])
    const from = first.get(partition)
    if (from === undefined) throw new Error(`where partition ${partition} begins cannot be asked`)
    if (this.#lines.get(partition) !== line) return
    if (position < from)
      this.#warn(
        { partition, deleted: from - position },
        `Kafka has deleted ${from - position} messages that were not run: its retention is too short`,
      )
    else
      this.#warn(
        { partition, position, end: end.get(partition) },
        'Kafka holds fewer messages than were committed; beginning with its first one',
      )
    // What is in hand belongs to the past: when it gets done, that says nothing of what is there now.
    line.state = 'released'
    this.#uncommitted.delete(line)
    const anew = newLine(partition, deliver, inHandMax)
    begin(anew, from)
    this.#lines.set(partition, anew)
  }
}

type FetchedPartition = Awaited<ReturnType<typeof requests.fetch.async>>['responses'][number]['partitions'][number]

function newLine(partition: number, deliver: Line['deliver'], inHandMax: number): Line {
  const numbers = { position: 0, committed: 0, doneTo: 0, redeliveredTo: 0, waitingBytes: 0 }
  return { partition, deliver, inHandMax, state: 'starting', ...numbers, inHand: [], waiting: [] }
}

/** Somebody waits for its commit. */
function isUrgent({ state, doneTo, committed, inHandMax }: Line): boolean {
  return state === 'released' || doneTo - committed >= inHandMax / 2
}

function begin(line: Line, from: number): void {
  line.state = 'fetched'
  line.position = from
  line.committed = from
  line.doneTo = from
  line.redeliveredTo = from + line.inHandMax
}
