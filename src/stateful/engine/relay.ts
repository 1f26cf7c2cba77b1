// Where a broker carries the commands, what waits in PostgreSQL's log (appended while the broker was away, or before it was chosen) is not run
// but published by the owner of its partition: behind what the broker holds, and before whatever comes once the log is empty. A crash in
// between publishes a command twice; its id makes that harmless.
//
// A row is `published` command by command, then `relayed`: the next batch consumes it. A command that is too large for the broker stays in its row,
// and the broker carries only where it lies (`Envelope.inRow`), in the command's place. The owner that gets this takes the command from there (see
// ./large-commands.ts); until all of its large ones are run or parked the row is `kept`.
import type { Envelope } from '../../contract/envelope.ts'
import { isTwofoldError } from '../../errors.ts'
import type { LogRow } from '../../ports/effect-store.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import { cellKey } from './cells.ts'

/** How often the log is looked at while it is empty, or while nothing can be published. */
const EVERY_MS = 500

/** With so many rows in hand no more are taken; one take may add as many as it finds, 512 at most. */
const ROWS_MAX = 256

export interface RelayOptions {
  readonly publish: (envelope: Envelope, partition: number) => Promise<void>
  readonly log: Logger
  readonly crash?: CrashPoints | undefined
  /** There is something to do for the lane. */
  readonly ring: () => void
}

export class Relay {
  readonly #options: RelayOptions
  /** Rows to be published, each partition's in order. */
  readonly #queues = new Map<number, LogRow[]>()
  readonly #inHand = new Set<string>()
  /** Rows with commands that the broker does not carry, and which of those are not run yet. */
  readonly #kept = new Map<string, { readonly partition: number; readonly unrun: Set<string>; isPublished: boolean }>()
  #relayed: string[] = []
  /** Partitions whose rows cannot be handed on, which has been said. */
  readonly #stuck = new Set<number>()
  #lookedAt = -Infinity
  #isEmpty = false

  constructor(options: RelayOptions) {
    this.#options = options
  }

  /** Rows that are not to be taken again. */
  get inHand(): readonly string[] {
    return [...this.#inHand]
  }

  /** Whether the log is to be looked at. */
  isDue(): boolean {
    if (this.#inHand.size >= ROWS_MAX) return false
    return !this.#isEmpty || performance.now() - this.#lookedAt >= EVERY_MS
  }

  /** Publishes what was found. */
  add(rows: readonly LogRow[]): void {
    this.#lookedAt = performance.now()
    this.#isEmpty = rows.length === 0
    for (const row of rows) {
      this.#inHand.add(row.seq)
      const queue = this.#queues.get(row.partition)
      if (queue !== undefined) queue.push(row)
      else {
        this.#queues.set(row.partition, [row])
        void this.#publishAll(row.partition)
      }
    }
  }

  /** Rows that the broker has as a whole: the next batch consumes them. */
  takeRelayed(): string[] {
    const relayed = this.#relayed
    this.#relayed = []
    for (const seq of relayed) this.#inHand.delete(seq)
    return relayed
  }

  /** A large command of this row is run or parked. */
  ran(seq: string, commandId: string): void {
    if (this.#kept.get(seq)?.unrun.delete(commandId) === true) this.#end(seq)
  }

  /** What is kept for other partitions is their owners' now. */
  retain(holds: (partition: number) => boolean): void {
    for (const [seq, { partition, isPublished }] of this.#kept) if (isPublished && !holds(partition)) this.#forget(seq)
  }

  async #publishAll(partition: number): Promise<void> {
    const queue = this.#queues.get(partition) ?? []
    try {
      for (let row = queue[0]; row !== undefined; row = queue[0]) {
        await this.#publish(row)
        await this.#options.crash?.reach('carrier.relayed')
        queue.shift()
        this.#stuck.delete(partition)
        this.#published(row.seq)
      }
    } catch (error) {
      // What comes behind it must not overtake: all of the partition is looked at again a little later.
      for (const { seq } of queue) this.#forget(seq)
      this.#isEmpty = true
      if (!this.#stuck.has(partition))
        this.#options.log.warn(
          { reason: String(error), partition, row: queue[0]?.seq },
          'what waits in the log cannot be handed to the broker yet; commands of this partition wait until it can',
        )
      this.#stuck.add(partition)
    }
    this.#queues.delete(partition)
  }

  /** Commands of one key one after the other: the second is not there before the first is for certain. */
  async #publish(row: LogRow): Promise<void> {
    const keys = Map.groupBy(row.commands, ({ service, keys: [home] }) => cellKey(service, home ?? ''))
    const ends = [...keys.values()].map(async (same) => {
      for (const envelope of same) await this.#handOn(envelope, row)
    })
    await Promise.all(ends)
  }

  async #handOn(envelope: Envelope, { seq, partition }: LogRow): Promise<void> {
    const { publish, log } = this.#options
    try {
      await publish(envelope, partition)
    } catch (error) {
      if (!isTwofoldError(error, 'BODY_TOO_LARGE')) throw error
      log.debug({ commandId: envelope.id, row: seq }, 'a command is too large for the broker, which carries where it lies instead')
      // It may come back before the broker's confirmation does.
      const kept = this.#kept.get(seq) ?? { partition, unrun: new Set(), isPublished: false }
      this.#kept.set(seq, kept)
      kept.unrun.add(envelope.id)
      await publish({ ...envelope, input: 'null', inRow: seq }, partition)
    }
  }

  #published(seq: string): void {
    const kept = this.#kept.get(seq)
    if (kept !== undefined) kept.isPublished = true
    this.#end(seq)
  }

  /** The next batch consumes it, unless something of it is still to come. */
  #end(seq: string): void {
    const kept = this.#kept.get(seq)
    if (kept !== undefined && (kept.unrun.size > 0 || !kept.isPublished)) return
    this.#kept.delete(seq)
    this.#relayed.push(seq)
    this.#options.ring()
  }

  /** It is taken again if it is still there and ours. */
  #forget(seq: string): void {
    this.#kept.delete(seq)
    this.#inHand.delete(seq)
  }
}
