// The stateless side of a service: runs anywhere and keeps nothing. Checks before a command is taken, the optimistic answer, queries.
import type { AnyContract, TypesOf } from '../contract/define-contract.ts'
import type { Entity } from '../contract/entity.ts'
import type { Reject } from '../contract/handler-context.ts'
import type { Transaction } from '../ports/database.ts'

/** Who is asking. */
export interface Principal {
  readonly subject: string
  /** Whose subject that is, where several tenants have subjects of their own: one tenant's Idempotency-Keys are not another's. */
  readonly tenant?: string | undefined
  readonly scopes: readonly string[]
}

/** What a check gets besides the input. A check is for what needs I/O or configuration; pure rules belong into the schema. */
export interface CheckContext<Rejections> {
  readonly key: string | readonly string[]
  readonly commandId: string
  readonly principal: Principal | undefined
  readonly signal: AbortSignal
  /** Answers as the contract says, but is not recorded: a retry may pass. */
  readonly reject: Reject<Rejections>
  /** Answers 422 with this JSON pointer. */
  readonly invalid: (pointer: string, message: string) => never
}

/** What the maker of an optimistic answer gets besides the input. Whatever it makes up must derive from `commandId`, so that a retry says the same. */
export interface OptimisticContext {
  /** The home key. */
  readonly key: string
  readonly commandId: string
  readonly now: Date
}

/** What a query gets besides the input. */
export interface QueryContext<Service extends string> {
  /** The committed state, or undefined where no command has made one. The one entity read becomes the ETag; two or none: no ETag. */
  readonly read: <State>(
    entity: Entity<Service, State>,
    key: string,
  ) => Promise<{ readonly state: State; readonly version: number } | undefined>
  /** Read models and the service's other tables, read-only by custom. */
  readonly db: Transaction
  readonly principal: Principal | undefined
  /** Answers 404. */
  readonly notFound: (message?: string) => never
  readonly signal: AbortSignal
}

type OptimisticAnswers<C extends AnyContract> = {
  [N in keyof C['commands'] as TypesOf<C['commands'][N]>['optimistic'] extends undefined ? never : N]: (
    input: TypesOf<C['commands'][N]>['parsed'],
    context: OptimisticContext,
  ) => TypesOf<C['commands'][N]>['optimistic']
}

type Queries<C extends AnyContract> = {
  readonly [N in keyof C['queries']]: (
    input: TypesOf<C['queries'][N]>['parsed'],
    context: QueryContext<C['name']>,
  ) => TypesOf<C['queries'][N]>['output'] | Promise<TypesOf<C['queries'][N]>['output']>
}

type Checks<C extends AnyContract> = {
  readonly [N in keyof C['commands']]?: (
    input: TypesOf<C['commands'][N]>['parsed'],
    context: CheckContext<TypesOf<C['commands'][N]>['rejections']>,
  ) => void | Promise<void>
}

type Needed<Name extends string, T> = keyof T extends never ? unknown : { readonly [K in Name]: T }

/** `optimistic` and `queries` are required exactly when the contract declares some. */
export type StatelessSpec<C extends AnyContract> = { readonly checks?: Checks<C> } & Needed<'optimistic', OptimisticAnswers<C>> &
  Needed<'queries', Queries<C>>

/** The stateless side as a component of an app. */
export interface Stateless<C extends AnyContract> {
  readonly side: 'stateless'
  readonly contract: C
  readonly spec: StatelessSpec<C>
}

/** Any stateless side, as the gateway runs it. */
export interface AnyStateless {
  readonly side: 'stateless'
  readonly contract: AnyContract
  readonly spec: {
    readonly checks?: Readonly<
      Record<string, ((input: unknown, context: CheckContext<Record<string, never>>) => void | Promise<void>) | undefined>
    >
    readonly optimistic?: Readonly<Record<string, (input: unknown, context: OptimisticContext) => unknown>>
    readonly queries?: Readonly<Record<string, (input: unknown, context: QueryContext<string>) => unknown>>
  }
}

/** Declares the stateless side: checks, optimistic answers, queries. */
export function stateless<C extends AnyContract>(contract: C, spec: StatelessSpec<C>): Stateless<C> {
  return { side: 'stateless', contract, spec }
}
