// A reactor has effects outside the database: mails, calls, files. At least once, with a stable event id to deduplicate by.
import type { AnyStored, Contracts, On, Start } from './subscriber.ts'

/** What a reaction gets besides the event. */
export interface ReactorContext {
  /** 1 for the first try of this process. */
  readonly attempt: number
  /** Aborted when the process shuts down or the place was lost. */
  readonly signal: AbortSignal
}

/** A reactor as a component of an app. */
export interface Reactor {
  readonly side: 'reactor'
  readonly name: string
  readonly from: Contracts
  readonly start: Start
  readonly on: Readonly<Record<string, Readonly<Record<string, ((event: AnyStored, context: ReactorContext) => void | Promise<void>) | undefined>> | undefined>>
}

/** Declares effects outside the database, a function per event. Deduplicate by `event.id` where the effect allows it. Default start: `now`. */
export function reactor<From extends Contracts>(name: string, spec: { from: From; start?: Start; on: On<From, ReactorContext> }): Reactor {
  return { side: 'reactor', name, from: spec.from, start: spec.start ?? 'now', on: spec.on as Reactor['on'] }
}
