// Events as subscribers read them, and how far each subscriber is.
import type { Transaction } from './database.ts'

/** One stored event. Its id is stable: `<command id>-<ordinal of the emit>`. */
export interface EventRecord {
  readonly id: string
  readonly service: string
  readonly name: string
  /** Which of the event's shapes `data` has, 1 for the first. */
  readonly shape: number
  readonly key: string
  /** The home entity's version after the command that emitted it. */
  readonly version: number
  /** Milliseconds since 1970, database clock. */
  readonly time: number
  readonly commandId: string
  readonly data: unknown
}

/** What many events of a batch have in common: service, name and shape. */
export interface EventKind {
  readonly service: string
  readonly name: string
  readonly shape: number
}

/**
 * What one batch adds to one partition. `lines` hold what is an event's own, as `encodeEvent` writes it; what they share stands beside them
 * once: of an event as a whole, two thirds would be the same for all its neighbours.
 */
export interface PackedEvents {
  /** Milliseconds since 1970, database clock. */
  readonly time: number
  readonly kinds: readonly EventKind[]
  readonly lines: readonly string[]
}

/**
 * What is an event's own, as JSON: `kind` counts from 0 in the `kinds` beside it, `data` is JSON text already: it was serialized when the
 * handler emitted it, and may have changed since. The event's id is the command's with `ordinal`.
 */
export function encodeEvent(kind: number, commandId: string, ordinal: number, version: number, key: string, data: string): string {
  return `[${kind},"${commandId}",${ordinal},${version},${JSON.stringify(key)},${data}]`
}

/** Reverses `encodeEvent`. */
export function decodeEvent(line: string, { time, kinds }: Pick<PackedEvents, 'time' | 'kinds'>): EventRecord {
  const [kind, commandId, ordinal, version, key, data] = JSON.parse(line) as [number, string, number, number, string, unknown]
  const { service, name, shape } = kinds[kind] as EventKind
  return { id: `${commandId}-${ordinal}`, service, name, shape, key, version, time, commandId, data }
}

/** A slice of one partition's log: `first` to `last` without a gap. */
export interface EventSlice {
  readonly partition: number
  readonly first: number
  readonly last: number
  readonly events: readonly EventRecord[]
}

/** `positions[partition]` is the number of the last event handled there; 0 for none. */
export type Positions = readonly number[]

/** A subscriber's place, held by one instance at a time. `epoch` fences a former holder. */
export interface HeldCursor {
  readonly subscriber: string
  readonly epoch: number
  readonly positions: Positions
}

/** One subscriber that has given up on an event; kept for an operator. */
export interface DeadEvent {
  readonly subscriber: string
  readonly partition: number
  readonly event: EventRecord
  readonly attempts: number
  readonly error: string
  readonly stack: string | undefined
}

export interface EventLog {
  /**
   * Registers a subscriber once. `start: 'now'` begins after the newest event. For a projection, `tables` is run in the same
   * transaction as the registration.
   * @throws TwofoldError PROJECTION_CHANGED when `tables` is not what it was registered with.
   */
  register(subscriber: string, options: { start: 'now' | 'beginning'; tables?: string }): Promise<void>
  /** Takes the subscriber's place, or keeps it; `undefined` while another live instance holds it. */
  hold(subscriber: string): Promise<HeldCursor | undefined>
  /** Gives the place up. */
  release(cursor: HeldCursor): Promise<void>
  /** Events after `positions`, at most about `limit`, each partition without gaps; of these partitions only, if given. Empty: none so far. */
  read(positions: Positions, limit: number, only?: readonly number[]): Promise<readonly EventSlice[]>
  /**
   * Runs `apply`, moves the cursor and keeps what was given up on, in one transaction. With neither `apply` nor `dead` the move may be
   * forgotten again if the database crashes: those events are then read again.
   * @throws TwofoldError FENCED when another instance holds the place or the cursor has moved: nothing is stored.
   */
  advance(
    cursor: HeldCursor,
    to: Positions,
    apply?: (transaction: Transaction) => Promise<void>,
    dead?: readonly DeadEvent[],
  ): Promise<HeldCursor>
  /** Calls `wake` when there may be new events: a hint. Returns how to stop listening. */
  onAppended(wake: () => void): () => void
}
