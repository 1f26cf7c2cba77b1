// A reactor has effects outside the database: mails, calls, files. At least once, with a stable event id to deduplicate by.
import type { AnyStored, Contracts, On, Start } from './subscriber.ts'

/** What a reaction gets besides the event. */
export interface ReactorContext {
  /** 1 for the first try of this process. */
  readonly attempt: number
  /** Aborted when the process shuts down or the place was lost. */
  readonly signal: AbortSignal
}

/** How an event is tried again when its reaction fails. Only its partition waits meanwhile. */
export interface ReactorRetry {
  /** After so many the event becomes a dead letter. Default 10. */
  readonly attempts: number
  /** The pause is drawn evenly from 0 to a bound that begins here and doubles with every attempt. Default 100 ms. */
  readonly minMs: number
  /** The bound grows no further. Default 30,000 ms. */
  readonly maxMs: number
}

/** The function that handles one kind of event. */
export type Reaction = (event: AnyStored, context: ReactorContext) => void | Promise<void>

/** A reactor as a component of an app. */
export interface Reactor {
  readonly side: 'reactor'
  readonly name: string
  readonly from: Contracts
  readonly start: Start
  readonly retry: ReactorRetry
  readonly on: Readonly<Record<string, Readonly<Record<string, Reaction | undefined>> | undefined>>
}

/** Declares effects outside the database, a function per event. Deduplicate by `event.id` where the effect allows it. Default start: `now`. */
export function reactor<From extends Contracts>(
  name: string,
  spec: { from: From; start?: Start; retry?: Partial<ReactorRetry>; on: On<From, ReactorContext> },
): Reactor {
  const retry = { attempts: 10, minMs: 100, maxMs: 30_000, ...spec.retry }
  return { side: 'reactor', name, from: spec.from, start: spec.start ?? 'now', retry, on: spec.on as Reactor['on'] }
}
