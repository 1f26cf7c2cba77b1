// Runs reactions outside any transaction: each partition in order, several partitions at once, the cursor stored now and then.
import { TwofoldError } from '../errors.ts'
import type { DeadEvent, EventRecord, EventSlice, HeldCursor } from '../ports/event-log.ts'
import { backoffMs, pause } from '../runtime/backoff.ts'
import type { Service } from '../runtime/service.ts'
import { Wake } from '../runtime/wake.ts'
import { Interest } from './interest.ts'
import { LOOK_MS_MIN, Place, settledWithin, type SubscriberRuntime } from './place.ts'
import type { Reaction, Reactor } from './reactor.ts'
import { Turns } from './turns.ts'

/** Reactions that run at the same time, each of another partition. */
const CONCURRENT_MAX = 8
/** About how many events are read at once; what a failing partition holds in memory is bounded by it. */
const READ_SIZE_MAX = 1000

/** An idle reactor looks for events after 25 ms, then ever later; a wake-up ends the sleep at once. */
const IDLE_MS_MIN = 25
const IDLE_MS_MAX = 1000

// What a crash may repeat: at most so many events, or those of so long. Where nothing was handled a later checkpoint costs nothing.
const CHECKPOINT_EVENTS = 100
const CHECKPOINT_MS = 50
const CHECKPOINT_QUIET_MS = 1000

/** How old the knowledge that the place is ours may be when a reaction begins; a former holder must not react beside the new one. */
const CONFIRM_MS = 1000

/** How long a stop waits for the reactions in hand, then aborts their signal, and how long it waits after that. */
const DRAIN_MS = 1500
const ABORTED_MS = 200

/** The running reactor. It registers itself when it starts. */
export function runReactor(reactor: Reactor, runtime: SubscriberRuntime): Service {
  const { name, start } = reactor
  const work = (cursor: HeldCursor, stopping: AbortSignal): Promise<void> => new Reacting(reactor, runtime, cursor, stopping).react()
  return new Place({ ...runtime, subscriber: name, start, work })
}

/**
 * One time of holding the place. A partition is `idle` (its events are read next) or has a lane: a slice of events being handled one
 * after the other. A lane that fails waits and tries again without holding a turn, so that the other partitions go on.
 */
class Reacting {
  readonly #reactor: Reactor
  readonly #runtime: SubscriberRuntime
  readonly #stopping: AbortSignal
  readonly #interest: Interest
  readonly #aliases: ReadonlyMap<string, string>
  readonly #wake = new Wake()
  readonly #turns = new Turns(CONCURRENT_MAX)
  /** The signal of all reactions: the process goes down, or the place was lost. */
  readonly #cut = new AbortController()
  readonly #lanes = new Map<number, Promise<void>>()
  /** The last event done per partition, ahead of the stored cursor. */
  readonly #done: number[]
  #handled = 0
  #quiet = false
  #dead: DeadEvent[] = []
  #cursor: HeldCursor
  #storedAt = performance.now()
  #confirmedAt = performance.now()

  constructor(reactor: Reactor, runtime: SubscriberRuntime, cursor: HeldCursor, stopping: AbortSignal) {
    this.#reactor = reactor
    this.#runtime = runtime
    this.#stopping = stopping
    this.#interest = new Interest(reactor.from)
    this.#aliases = new Map(Object.entries(reactor.from).map(([alias, contract]) => [contract.name, alias]))
    this.#cursor = cursor
    this.#done = [...cursor.positions]
  }

  async react(): Promise<void> {
    const ring = (): void => this.#wake.ring()
    const stopListening = this.#runtime.log.onAppended(ring)
    this.#stopping.addEventListener('abort', ring, { once: true })
    try {
      await this.#run()
      await settledWithin(this.#lanes.values(), DRAIN_MS)
      this.#cut.abort()
      await settledWithin(this.#lanes.values(), ABORTED_MS)
      if (this.#dueInMs() < Infinity) await this.#checkpoint()
    } catch (error) {
      // Whoever holds the place next reads these events again; the reactions still under way should be over by then.
      this.#cut.abort()
      await settledWithin(this.#lanes.values(), DRAIN_MS)
      throw error
    } finally {
      stopListening()
      this.#stopping.removeEventListener('abort', ring)
    }
  }

  async #run(): Promise<void> {
    const partitions = [...this.#done.keys()]
    let idleMs = IDLE_MS_MIN
    while (!this.#stopping.aborted) {
      if (this.#dueInMs() <= 0) await this.#checkpoint()
      const lookedAt = performance.now()
      const idle = partitions.filter((partition) => !this.#lanes.has(partition))
      const slices = idle.length === 0 ? [] : await this.#runtime.log.read(this.#done, READ_SIZE_MAX, idle)
      if (slices.length > 0 || this.#lanes.size > 0) await this.#confirm()
      for (const slice of slices) this.#begin(slice)
      if (slices.length > 0) {
        idleMs = IDLE_MS_MIN
        const count = slices.reduce((sum, slice) => sum + slice.events.length, 0)
        const waitMs = LOOK_MS_MIN - (performance.now() - lookedAt)
        if (count < READ_SIZE_MAX / 2 && waitMs > 0) await pause(waitMs, this.#stopping)
      } else {
        const rung = await this.#wake.sleep(Math.min(idleMs, Math.max(1, this.#dueInMs())))
        idleMs = rung ? IDLE_MS_MIN : Math.min(IDLE_MS_MAX, idleMs * 2)
      }
    }
  }

  #begin(slice: EventSlice): void {
    const lane = this.#handle(slice).finally(() => {
      this.#lanes.delete(slice.partition)
      this.#wake.ring()
    })
    this.#lanes.set(slice.partition, lane)
  }

  async #handle({ partition, first, last, events }: EventSlice): Promise<void> {
    for (const [index, record] of events.entries()) {
      const reaction = this.#reactionTo(record)
      if (reaction === undefined) continue
      if (!(await this.#attempt(partition, record, reaction))) return
      this.#done[partition] = first + index
      this.#handled += 1
      // The loop is asleep until something is due: it has to learn that now something is.
      if (this.#handled === 1 || this.#handled === CHECKPOINT_EVENTS) this.#wake.ring()
    }
    this.#done[partition] = last
    this.#quiet = true
  }

  #reactionTo(record: EventRecord): Reaction | undefined {
    if (!this.#interest.has(record)) return undefined
    return this.#reactor.on[this.#aliases.get(record.service) ?? '']?.[record.name]
  }

  /** True: the event is done, by its reaction or as a dead letter. False: it was cut short and is to be handled again. */
  async #attempt(partition: number, record: EventRecord, reaction: Reaction): Promise<boolean> {
    const { name, retry } = this.#reactor
    const { signal } = this.#cut
    for (let attempt = 1; ; attempt++) {
      try {
        const ran = await this.#turns.run(async () => {
          if (signal.aborted || this.#stopping.aborted) return false
          await this.#runtime.crash?.reach('reactor.delivered')
          await reaction(this.#interest.lifted(record), { attempt, signal })
          await this.#runtime.crash?.reach('reactor.handled')
          return true
        })
        return ran
      } catch (error) {
        if (signal.aborted) return false
        const event = { subscriber: name, event: record.id, attempt, err: error }
        if (attempt >= retry.attempts) {
          this.#runtime.logger.error(event, 'the reactor gave up on an event; it is kept as a dead letter')
          this.#dead.push({ subscriber: name, partition, event: record, attempts: attempt, ...told(error) })
          return true
        }
        this.#runtime.logger.warn(event, 'a reaction failed; it is tried again')
      }
      await pause(backoffMs(attempt, retry), AbortSignal.any([signal, this.#stopping]))
    }
  }

  /** When the next checkpoint is due. */
  #dueInMs(): number {
    if (this.#handled >= CHECKPOINT_EVENTS) return 0
    const everyMs = this.#handled > 0 ? CHECKPOINT_MS : this.#quiet ? CHECKPOINT_QUIET_MS : Infinity
    return this.#storedAt + everyMs - performance.now()
  }

  async #checkpoint(): Promise<void> {
    const dead = this.#dead
    this.#dead = []
    this.#handled = 0
    this.#quiet = false
    this.#cursor = await this.#runtime.log.advance(this.#cursor, [...this.#done], undefined, dead)
    await this.#runtime.crash?.reach('reactor.checkpointed')
    this.#storedAt = performance.now()
    this.#confirmedAt = this.#storedAt
  }

  async #confirm(): Promise<void> {
    const now = performance.now()
    if (now - this.#confirmedAt < CONFIRM_MS) return
    const held = await this.#runtime.log.hold(this.#reactor.name)
    if (held?.epoch !== this.#cursor.epoch) {
      throw new TwofoldError(
        'FENCED',
        `reactor '${this.#reactor.name}' is held by another instance now; it goes on there from the stored cursor`,
      )
    }
    this.#confirmedAt = now
  }
}

function told(error: unknown): { error: string; stack: string | undefined } {
  return error instanceof Error ? { error: error.message, stack: error.stack } : { error: String(error), stack: undefined }
}
