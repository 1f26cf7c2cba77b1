// Commands of which nobody knows whether the broker has them: its confirmation did not come, or an owner's answer. Their callers are told so, with
// the id to ask for, and what they are told has to come true. So each is kept here until it is certain: PostgreSQL has it, whose owner of its
// partition publishes it again, or the broker has confirmed it after all. That it is there twice then is made harmless by its id; one with an
// Idempotency-Key is claimed before, as always.
//
// Only a process that is killed while it reaches neither of the two forgets one.
import { TwofoldError } from '../../errors.ts'
import { carriedMessage, type OpenCarrier } from '../../ports/carrier.ts'
import type { Claims } from '../../ports/claims.ts'
import type { LogEntry } from '../../ports/command-log.ts'
import type { DoubtStore } from '../../ports/doubt-store.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Service } from '../../runtime/service.ts'

/** With so many in doubt no new commands are taken, so that they are bounded by these and what is under way. */
const DOUBTS_MAX = 100_000
const DOUBTS_CHARACTERS_MAX = 64 * 1024 * 1024

/** One insert takes at most so many; a single larger one goes alone. */
const GROUP_MAX = 1000
const GROUP_CHARACTERS_MAX = 1024 * 1024

/** Callers wait so long until theirs is certain. */
const CALLER_MS_MAX = 2000
/** Whoever stops goes on for so long. */
const STOP_MS_MAX = 3000

const AGAIN = { minMs: 100, maxMs: 2000 }

export interface DoubtsOptions {
  readonly store: DoubtStore
  readonly claims: Pick<Claims, 'claim'>
  readonly carrier: Pick<OpenCarrier, 'publish' | 'isAway'>
  readonly slots: SlotMap
  /** Whether a command is young enough to be run at all. */
  readonly mayRun: (commandId: string) => boolean
  readonly log: Logger
}

interface Doubt {
  readonly entry: LogEntry
  readonly characters: number
  readonly certain: PromiseWithResolvers<void>
}

export class Doubts implements Service {
  readonly #options: DoubtsOptions
  readonly #doubts = new Map<string, Doubt>()
  readonly #stopping = new AbortController()
  #characters = 0
  #running: Promise<void> | undefined

  constructor(options: DoubtsOptions) {
    this.#options = options
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    const waited = new AbortController()
    await Promise.race([this.#running, pause(STOP_MS_MAX, waited.signal)])
    waited.abort()
    this.#stopping.abort()
  }

  /** Returns when one more command may come into doubt. @throws TwofoldError OVERLOADED */
  admit(): void {
    if (this.#doubts.size < DOUBTS_MAX && this.#characters < DOUBTS_CHARACTERS_MAX) return
    const message = `of ${this.#doubts.size} commands it is not known whether they were taken, and no new ones are until that is; try again in a moment`
    throw new TwofoldError('OVERLOADED', message, { retryAfterSeconds: 1 })
  }

  /** Resolves to true once it is certain that the command takes effect; to false after a moment without, and this goes on. */
  async keep(entry: LogEntry): Promise<boolean> {
    const { certain } = this.#doubts.get(entry.envelope.id) ?? this.#add(entry)
    this.#running ??= this.#run()
    const waited = new AbortController()
    const isCertain = await Promise.race([certain.promise.then(() => true), pause(CALLER_MS_MAX, waited.signal).then(() => false)])
    waited.abort()
    return isCertain
  }

  #add(entry: LogEntry): Doubt {
    const { id, input } = entry.envelope
    const doubt = { entry, characters: input.length, certain: Promise.withResolvers<void>() }
    this.#doubts.set(id, doubt)
    this.#characters += doubt.characters
    return doubt
  }

  #end(doubt: Doubt): void {
    this.#doubts.delete(doubt.entry.envelope.id)
    this.#characters -= doubt.characters
    doubt.certain.resolve()
  }

  async #run(): Promise<void> {
    // Whatever comes into doubt in this turn of the event loop, as all that was on a lost connection, shares the first insert already.
    await new Promise(setImmediate)
    for (let failures = 0; this.#doubts.size > 0;) {
      const group = this.#group()
      const isCertain = await this.#settle(group)
      failures = isCertain ? 0 : failures + 1
      this.#moveBehind(group)
      if (this.#stopping.signal.aborted) break
      if (!isCertain) await pause(backoffMs(failures, AGAIN), this.#stopping.signal)
    }
    // In the very turn that found nothing: what comes into doubt in the next one has to begin anew.
    this.#running = undefined
    const ids = [...this.#doubts.keys()]
    if (ids.length > 0)
      this.#options.log.error(
        { ids: ids.slice(0, 100), count: ids.length },
        'this instance stops, and reaches neither PostgreSQL nor the broker: whether these commands were taken is not known',
      )
  }

  #group(): Doubt[] {
    const group: Doubt[] = []
    let characters = 0
    for (const doubt of this.#doubts.values()) {
      characters += doubt.characters
      if (group.length >= GROUP_MAX || (group.length > 0 && characters > GROUP_CHARACTERS_MAX)) break
      group.push(doubt)
    }
    return group
  }

  /** What is left of a group has had its turn: it may wait for PostgreSQL, where others need the broker alone. */
  #moveBehind(group: readonly Doubt[]): void {
    for (const doubt of group) {
      const { id } = doubt.entry.envelope
      if (this.#doubts.delete(id)) this.#doubts.set(id, doubt)
    }
  }

  /** True: one of them at least is certain now. */
  async #settle(group: readonly Doubt[]): Promise<boolean> {
    const { store, mayRun, log } = this.#options
    const [young, old] = [[] as Doubt[], [] as Doubt[]]
    for (const doubt of group) (mayRun(doubt.entry.envelope.id) ? young : old).push(doubt)
    // Wherever such a one is, it is not run any more: that is certain too.
    for (const doubt of old) this.#end(doubt)
    const { ours, others } = await this.#claimed(young)
    for (const doubt of others) this.#end(doubt)
    const isLess = old.length + others.length > 0
    if (ours.length === 0) return isLess
    try {
      await store.keep(ours.map(({ entry }) => entry.envelope))
      for (const doubt of ours) this.#end(doubt)
      return true
    } catch (error) {
      log.debug({ reason: String(error), count: ours.length }, 'commands in doubt cannot be stored right now')
      return (await this.#publish(ours)) || isLess
    }
  }

  /** Those that may be sent: without an Idempotency-Key, or with one that is theirs. Where it is another command's, this one takes no effect. */
  async #claimed(doubts: readonly Doubt[]): Promise<{ readonly ours: readonly Doubt[]; readonly others: readonly Doubt[] }> {
    const { claims } = this.#options
    const [ours, others] = [[] as Doubt[], [] as Doubt[]]
    const ends = doubts.map(async (doubt) => {
      const { envelope } = doubt.entry
      const claim = envelope.claim && (await claims.claim(doubt.entry))
      const isOurs = claim === undefined || claim.commandId === envelope.id
      ;(isOurs ? ours : others).push(doubt)
    })
    await Promise.allSettled(ends)
    return { ours, others }
  }

  /** PostgreSQL cannot take them; perhaps the broker is back. */
  async #publish(group: readonly Doubt[]): Promise<boolean> {
    const { carrier, slots } = this.#options
    if (carrier.isAway) return false
    const published = group.map(async (doubt) => {
      const { envelope } = doubt.entry
      await carrier.publish(carriedMessage(envelope, partitionOf(slots, envelope.service, envelope.keys[0] ?? '')))
      this.#end(doubt)
    })
    return (await Promise.allSettled(published)).some(({ status }) => status === 'fulfilled')
  }
}
