// What all subscribers share: which contracts they listen to, and the events as they see them.
import type { AnyContract } from '../contract/define-contract.ts'
import type { Event } from '../contract/event.ts'

/** An event as a subscriber sees it: the newest shape of its data, and a stable id to deduplicate by. */
export interface Stored<Service, Name, Data> {
  /** `<command id>-<ordinal>`; the same at every redelivery. */
  readonly id: string
  readonly service: Service
  readonly name: Name
  /** The home key of the command that emitted it. */
  readonly key: string
  /** The entity's version after that command. */
  readonly version: number
  readonly time: Date
  readonly commandId: string
  readonly data: Data
}

/** The contracts a subscriber listens to, under the names it gives them. */
export type Contracts = Readonly<Record<string, AnyContract>>

type EventOf<C extends AnyContract, N extends keyof C['events']> =
  C['events'][N] extends Event<infer Data> ? Stored<C['name'], N, Data> : never

/** A function per event, nested by contract: nested keys keep go-to-definition, dotted ones lose it. */
export type On<From extends Contracts, Context> = {
  readonly [S in keyof From]?: {
    readonly [N in keyof From[S]['events']]?: (event: EventOf<From[S], N>, context: Context) => void | Promise<void>
  }
}

/** All events of all these contracts, as a union told apart by `service` and `name`. */
export type AnyOf<From extends Contracts> = {
  [S in keyof From]: { [N in keyof From[S]['events']]: EventOf<From[S], N> }[keyof From[S]['events']]
}[keyof From]

/** Where a new subscriber begins: after the newest event, or at the first one. */
export type Start = 'now' | 'beginning'

/** An event whose contract is not known to the compiler here. */
export type AnyStored = Stored<string, string, unknown>
