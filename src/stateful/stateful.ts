// The stateful side of a service: synchronous functions that change the state they are given.
import type { Command, CommandTypes, Keys } from '../contract/command.ts'
import type { AnyContract } from '../contract/define-contract.ts'
import type { AnyEntity, Entity } from '../contract/entity.ts'
import type { HandlerContext } from '../contract/handler-context.ts'

/**
 * What an entity handler gets besides state and input. `current` is the state that it was given. Where a command has several keys whose states are
 * plain values, such as numbers or `null`, equal ones cannot be told apart: then `key` says whose it is.
 */
export interface EntityContext<Events, Rejections, State> extends HandlerContext<Events, Rejections> {
  /** For states that are unions: puts another state in the place of this one. */
  readonly replace: (current: State, next: State, key?: string) => void
  /** Removes the entity. Its version stays known, so that a later one does not start at 1 again. */
  readonly remove: (current: State, key?: string) => void
  /** Whether a command has made this entity before. */
  readonly exists: (current: State, key?: string) => boolean
}

/**
 * One key: its state. Several: their states in the order of the keys; the same key twice is the same object. Where the key is one text for some
 * inputs and a list for others, so is what the handler gets: one state or a list.
 */
export type StateFor<K extends Keys, State> = K extends string ? State : { [I in keyof K]: State }

// A conditional type, not a plain function type: only so does TypeScript see the concrete reply while it checks a handler, and
// `return { status: 'pending' }` keeps its literal. Written as a plain function type it widens to string.
/** The handler of one command. It is synchronous: a batch that fails is run again, so I/O in it would repeat for a neighbour's fault. */
export type Handler<Cmd, C extends AnyContract, State> =
  Cmd extends Command<infer T extends CommandTypes>
    ? (state: StateFor<T['key'], State>, input: T['parsed'], context: EntityContext<C['events'], T['rejections'], State>) => T['reply']
    : never

/** A handler for every command of the contract. */
export type Handlers<C extends AnyContract, State> = { readonly [N in keyof C['commands']]: Handler<C['commands'][N], C, State> }

/** The stateful side as a component of an app. */
export interface Stateful<C extends AnyContract, State> {
  readonly side: 'stateful'
  readonly contract: C
  readonly entity: Entity<C['name'], State>
  readonly handlers: Handlers<C, State>
}

/** Any stateful side, as the engine runs it. */
export interface AnyStateful {
  readonly side: 'stateful'
  readonly contract: AnyContract
  readonly entity: AnyEntity
  readonly handlers: Readonly<Record<string, AnyHandler | undefined>>
}

/** A handler whose command is not known to the compiler here. */
export type AnyHandler = (state: unknown, input: unknown, context: AnyContext) => unknown

/** Its context: `emit` and `reject` are made from the contract at run time. */
export type AnyContext = EntityContext<Readonly<Record<string, never>>, Readonly<Record<string, never>>, unknown>

/** Declares the stateful side: the entity and a handler for every command. */
export function stateful<C extends AnyContract, State>(
  contract: C,
  spec: { entity: Entity<C['name'], State>; handlers: Handlers<C, State> },
): Stateful<C, State> {
  return { side: 'stateful', contract, ...spec }
}
