// The stateful side of a service whose state lies in tables of its own: asynchronous functions, each in a transaction of its command.
import type { Command, CommandTypes } from '../contract/command.ts'
import type { AnyContract } from '../contract/define-contract.ts'
import type { HandlerContext } from '../contract/handler-context.ts'
import type { Transaction } from '../ports/database.ts'

/** What an SQL handler gets besides its input. */
export interface SqlContext<Events, Rejections> extends HandlerContext<Events, Rejections> {
  /** All keys of the command, the home key first. Commands that share one of them never run at the same time. */
  readonly keys: readonly string[]
  /**
   * The transaction of this command. Twofold commits it together with the outcome and the events, or rolls it back; what would begin or end
   * one is refused. `kysely(tx)` of `twofold/kysely` makes a typed query builder of it.
   */
  readonly tx: Transaction
  /** Aborted when the handler is cut: at its deadline (`sqlHandlerMs`), or when this instance gives up the key. */
  readonly signal: AbortSignal
}

// A conditional type, not a plain function type, for the reason given at `Handler`: literals in replies keep their type.
/** The SQL handler of one command. */
export type SqlHandler<Cmd, C extends AnyContract> =
  Cmd extends Command<infer T extends CommandTypes>
    ? (input: T['parsed'], context: SqlContext<C['events'], T['rejections']>) => Promise<T['reply']>
    : never

/** A handler for every command of the contract. */
export type SqlHandlers<C extends AnyContract> = { readonly [N in keyof C['commands']]: SqlHandler<C['commands'][N], C> }

/** The stateful side as a component of an app. */
export interface StatefulSql<C extends AnyContract> {
  readonly side: 'stateful-sql'
  readonly contract: C
  readonly handlers: SqlHandlers<C>
}

/** Any SQL side, as the engine runs it. */
export interface AnyStatefulSql {
  readonly side: 'stateful-sql'
  readonly contract: AnyContract
  readonly handlers: Readonly<Record<string, AnySqlHandler | undefined>>
}

/** A handler whose command is not known to the compiler here. */
export type AnySqlHandler = (input: unknown, context: AnySqlContext) => Promise<unknown>

/** Its context: `emit` and `reject` are made from the contract at run time. */
export type AnySqlContext = SqlContext<Readonly<Record<string, never>>, Readonly<Record<string, never>>>

/**
 * Declares a stateful side that works on tables of yours: a handler for every command, with a transaction each. The outcome, the events and
 * the deduplication are stored in that same transaction; commands of one key run one after the other, all others side by side.
 */
export function statefulSql<C extends AnyContract>(contract: C, spec: { handlers: SqlHandlers<C> }): StatefulSql<C> {
  return { side: 'stateful-sql', contract, ...spec }
}
