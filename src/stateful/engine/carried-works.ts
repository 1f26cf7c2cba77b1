// Commands that a broker delivers: of each partition in order and a bounded number, until the lane takes them.
//
// A partition is `consumed` (what is delivered waits here; all of it is thrown away when the carrier begins anew on another connection), `pausing` (something of it was given back: what waited here is thrown away, and after
// a moment it is consumed anew, so that the broker delivers from the first on that is not done, and nothing overtakes) or not here at all.
import { createHash } from 'node:crypto'
import { decodeEnvelope, type Envelope } from '../../contract/envelope.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import { encodeDirectResult } from '../../ports/direct-result.ts'
import type { Delivery, OpenCarrier } from '../../ports/carrier.ts'
import { keyFault, KEYS_PER_COMMAND_MAX } from '../../contract/key.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Work } from './work.ts'

/** Before a partition is consumed anew. */
const ANEW = { minMs: 50, maxMs: 2000 }

export interface CarriedWorksOptions {
  readonly carrier: Pick<OpenCarrier, 'consume' | 'release' | 'drop'>
  readonly slots: SlotMap
  /** So many commands of one partition are in hand at most: waiting here, in a batch, or not acknowledged yet. */
  readonly inHandMax: number
  readonly log: Logger
  readonly crash?: CrashPoints | undefined
  /** There is something to do for the lane. */
  readonly ring: () => void
}

/** A partition that is consumed. */
interface Line {
  readonly partition: number
  works: Work[]
  /** Rises when it is consumed anew, by us or by the carrier on a new connection: of what was delivered before that, nothing more is taken. */
  generation: number
  /** How often in a row it was consumed anew with nothing done in between. */
  failures: number
  /** So many commands that were delivered before may still be what ended the former owner. */
  leftBehind: number
  /** Aborted: it was released. */
  readonly released: AbortController
}

export class CarriedWorks {
  readonly #options: CarriedWorksOptions
  readonly #lines = new Map<number, Line>()
  /** What is being asked of the broker, partition by partition: one thing after the other. */
  readonly #asked = new Map<number, Promise<void>>()
  readonly #from = new WeakMap<Work, { readonly line: Line; readonly generation: number }>()
  #turn = 0

  constructor(options: CarriedWorksOptions) {
    this.#options = options
  }

  /** From here on commands of these partitions come. `isAbandoned`: their former owner died. */
  consume(partitions: readonly { readonly partition: number; readonly isAbandoned: boolean }[]): void {
    for (const { partition, isAbandoned } of partitions) {
      if (this.#lines.has(partition)) continue
      const leftBehind = isAbandoned ? this.#options.inHandMax : 0
      const line = { partition, works: [], generation: 0, failures: 0, leftBehind, released: new AbortController() }
      this.#lines.set(partition, line)
      void this.#ask(partition, () => this.#consume(line))
    }
  }

  /**
   * Nothing of these partitions is handed out any more from now on; once this resolves, somebody else may consume them. A broker that hangs is
   * not waited for longer than a moment: the lease is renewed by whoever waits here, and what the next owner stores is safe by its epoch.
   */
  async release(partitions: readonly number[]): Promise<void> {
    const waited = new AbortController()
    const released = Promise.all(
      partitions.map((partition) => {
        const line = this.#lines.get(partition)
        if (line === undefined) return this.#asked.get(partition) ?? Promise.resolve()
        this.#lines.delete(partition)
        line.works = []
        line.generation += 1
        line.released.abort()
        return this.#ask(partition, () => this.#options.carrier.release(partition))
      }),
    )
    const isReleased = await Promise.race([released.then(() => true), pause(RELEASE_MS_MAX, waited.signal).then(() => false)])
    waited.abort()
    if (!isReleased) this.#options.log.warn({ partitions }, 'the broker does not let go of partitions; this instance does not wait for it')
  }

  stop(): Promise<void> {
    return this.release([...this.#lines.keys()])
  }

  /** The oldest of each partition that `serves` allows, in order; about `limit` together, and another partition first each time. */
  take(limit: number, serves: (partition: number) => boolean): Work[] {
    const waiting = [...this.#lines.values()].filter(({ partition, works }) => works.length > 0 && serves(partition))
    const taken: Work[] = []
    this.#turn += 1
    for (let at = 0; at < waiting.length && taken.length < limit; at += 1) {
      const line = waiting[(at + this.#turn) % waiting.length] as Line
      taken.push(...line.works)
      line.works = []
    }
    return taken
  }

  /** There was no room for these: they are handed out again, before what came meanwhile. */
  putBack(works: readonly Work[]): void {
    for (const work of works.toReversed()) {
      const { line, generation } = this.#from.get(work) ?? {}
      if (line !== undefined && line.generation === generation) line.works.unshift(work)
    }
  }

  /** The same command, known better. */
  replace(work: Work, by: Work): Work {
    const from = this.#from.get(work)
    if (from !== undefined) this.#from.set(by, from)
    return by
  }

  #ask(partition: number, what: () => Promise<void>): Promise<void> {
    const asked = (this.#asked.get(partition) ?? Promise.resolve()).then(what).catch((error: unknown) => {
      this.#options.log.error({ err: error, partition }, 'the carrier did not do what it was asked for')
    })
    this.#asked.set(partition, asked)
    return asked
  }

  async #consume(line: Line): Promise<void> {
    if (line.released.signal.aborted) return
    let { generation } = line
    const { carrier, inHandMax, ring, crash } = this.#options
    const deliver = (delivery: Delivery): void => {
      if (line.generation !== generation) return
      const work = this.#workOf(line, delivery)
      this.#from.set(work, { line, generation })
      line.works.push(work)
      void crash?.reach('carrier.delivered')
      ring()
    }
    // What waits here is void, and comes again in its place. What a batch has ends there; its second copy is known by then.
    const onAnew = (): void => {
      if (line.generation !== generation) return
      line.generation = generation += 1
      line.works = []
    }
    try {
      await carrier.consume(line.partition, deliver, inHandMax, onAnew)
    } catch (error) {
      this.#options.log.warn({ reason: String(error), partition: line.partition }, 'a partition cannot be consumed; trying again')
      this.#anew(line, generation)
    }
  }

  #workOf(line: Line, delivery: Delivery): Work {
    const { partition, generation } = line
    const leftBehind = line.leftBehind > 0 && delivery.redelivered
    let isTold = false
    const settle = (result: DirectResult): void => {
      if (isTold) return
      isTold = true
      if (result.status === 'deferred') return this.#anew(line, generation)
      if (leftBehind && line.generation === generation) line.leftBehind -= 1
      line.failures = 0
      void this.#options.crash?.reach('carrier.done', () => this.#options.carrier.drop?.())
      delivery.done(delivery.wantsReply ? encodeDirectResult(result) : undefined)
    }
    const { envelope, fault } = this.#opened(delivery.body, partition)
    return { envelope, partition, origin: { from: 'carried', leftBehind, settle }, ...(fault && { fault }) }
  }

  /** What cannot be a command of this partition becomes a dead letter, and the partition goes on. */
  #opened(body: string, partition: number): { readonly envelope: Envelope; readonly fault?: Error } {
    const envelope = wellFormed(body)
    if (envelope === undefined) return { envelope: wrapped(body), fault: new Error('what the carrier delivered is no command of Twofold') }
    const home = partitionOf(this.#options.slots, envelope.service, envelope.keys[0] ?? '')
    if (home === partition) return { envelope }
    return { envelope, fault: new Error(`it was carried to partition ${partition}, and its key belongs to partition ${home}`) }
  }

  /** Something of it came back: it is consumed again from the first command that is not done. */
  #anew(line: Line, generation: number): void {
    if (line.generation !== generation || line.released.signal.aborted) return
    line.generation += 1
    line.works = []
    line.failures += 1
    const { partition, failures } = line
    const pauseMs = backoffMs(failures, ANEW)
    this.#options.log.debug({ partition, pauseMs }, 'commands were given back; their partition is consumed anew')
    void this.#ask(partition, () => this.#options.carrier.release(partition))
    void this.#ask(partition, () => pause(pauseMs, line.released.signal))
    void this.#ask(partition, () => this.#consume(line))
  }
}

/** A broker that is well lets go of a partition within milliseconds. */
const RELEASE_MS_MAX = 500

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

function wellFormed(body: string): Envelope | undefined {
  try {
    const envelope = decodeEnvelope(body)
    const { id, service, command, keys, inRow = '0' } = envelope as Partial<Envelope>
    if (!UUID.test(id ?? '') || !Array.isArray(keys) || keys.length < 1 || keys.length > KEYS_PER_COMMAND_MAX) return undefined
    if (typeof inRow !== 'string' || !/^\d{1,18}$/.test(inRow)) return undefined
    // What a key may be is what PostgreSQL can store, whatever it is the name of.
    return [service, command, ...(keys as unknown[])].every((name) => keyFault(name) === undefined) ? envelope : undefined
  } catch {
    return undefined
  }
}

/** Whatever it is, as the input of a command that nobody knows. The same body is the same dead letter, however often it is delivered. */
function wrapped(body: string): Envelope {
  const digest = createHash('sha256').update(body).digest('hex')
  const id = [digest.slice(0, 8), digest.slice(8, 12), digest.slice(12, 16), digest.slice(16, 20), digest.slice(20, 32)].join('-')
  return { id, service: '?', command: '?', keys: ['?'], input: JSON.stringify(body) }
}
