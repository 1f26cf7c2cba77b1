// The state behind one key. It is private to a service, and both of its sides import it: one to change it, one to read it.
import type { NotJson } from './plain.ts'

/** How the state of a key starts, and how states written by an older program are lifted. */
export interface Entity<Service extends string, State> {
  readonly service: Service
  readonly initial: (key: string) => State
  readonly upgrades: readonly ((old: never) => unknown)[]
}

/** Any entity. */
// oxlint-disable-next-line typescript/no-explicit-any -- the bound of every entity
export type AnyEntity = Entity<string, any>

/**
 * Declares the state behind a key of `contract`'s service. It must be plain JSON.
 *
 * `upgrades[n]` makes shape n + 2 of shape n + 1, by position: append to the list, never change what stands in it.
 */
export function entity<Service extends string, State>(
  contract: { readonly name: Service },
  spec: {
    initial: (key: string) => State
    // oxlint-disable-next-line typescript/no-explicit-any -- nothing can know the shapes of the past
    upgrades?: readonly ((old: any) => unknown)[]
  } & ([NotJson<State>] extends [never] ? unknown : { 'state must be plain JSON': NotJson<State> }),
): Entity<Service, State> {
  return { service: contract.name, initial: spec.initial, upgrades: spec.upgrades ?? [] }
}

/** The shape this program writes: 1 without upgrades. */
export function newestShape(declared: AnyEntity): number {
  return declared.upgrades.length + 1
}

/** Lifts a stored state of shape `shape` (1 is the first) to the newest. A newer shape than this program knows is returned as it is. */
export function upgradeState(declared: AnyEntity, shape: number, state: unknown): unknown {
  return declared.upgrades.slice(shape - 1).reduce((old: unknown, upgrade) => upgrade(old as never), state)
}
