// An event is a fact that a command emitted, stored in the same transaction as the command's effect.
import type { Plain } from './plain.ts'
import type { Schema } from './schema.ts'

/** An event with all the shapes it ever had. `service` and `name` are filled in by `defineContract`. */
export interface Event<Data> {
  readonly kind: 'event'
  readonly service: string
  readonly name: string
  /** How many shapes it has had; 1 for a new event. */
  readonly version: number
  /** The newest shape. */
  // oxlint-disable-next-line typescript/no-explicit-any -- an inference position
  readonly data: Schema<any, Data>
  /** `lifts[n]` makes shape n + 2 of shape n + 1. */
  readonly lifts: readonly ((old: never) => unknown)[]
  /** Adds a shape: handlers see the newest one, events in the log are lifted step by step as they are read. */
  // oxlint-disable-next-line typescript/no-explicit-any -- an inference position
  next<Newer>(data: Plain<'data', Newer, Schema<any, Newer>>, lift: (old: Data) => NoInfer<Newer>): Event<Newer>
}

/** Any event. */
// oxlint-disable-next-line typescript/no-explicit-any -- the bound of every event
export type AnyEvent = Event<any>

/** Declares an event by the shape of its data. */
// oxlint-disable-next-line typescript/no-explicit-any -- an inference position
export function event<Data>(data: Plain<'data', Data, Schema<any, Data>>): Event<Data> {
  return makeEvent(data as Schema, []) as Event<Data>
}

/** Lifts stored data of shape `version` to the newest shape. Data of a newer shape than this program knows is returned as it is. */
export function liftEvent(declared: AnyEvent, version: number, data: unknown): unknown {
  return declared.lifts.slice(version - 1).reduce((old: unknown, lift) => lift(old as never), data)
}

function makeEvent(data: Schema, lifts: AnyEvent['lifts']): AnyEvent {
  const next = (newer: Schema, lift: (old: never) => unknown): AnyEvent => makeEvent(newer, [...lifts, lift])
  return { kind: 'event', service: '', name: '', version: lifts.length + 1, data, lifts, next: next as AnyEvent['next'] }
}
