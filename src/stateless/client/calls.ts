// The types of a client: what a call takes and what it gives, from the contract alone.
import type { AnyContract, TypesOf } from '../../contract/define-contract.ts'
import type { CommandTypes, Respond } from '../../contract/command.ts'
import type { Outcome, Rejected } from '../../contract/outcome.ts'
import type { QueryTypes } from '../../contract/query.ts'

/** A command that is durable. As a rule it is not finished yet. */
export interface Accepted<Optimistic, Reply, Rejections> {
  readonly status: 'accepted'
  readonly commandId: string
  /**
   * What the stateless side expects to come of it. Undefined where the contract declares no such answer, and where the
   * Idempotency-Key was used before by a call that was answered with its outcome.
   */
  readonly optimistic: Optimistic | undefined
  /**
   * Waits for the final word, 30 seconds unless told otherwise.
   * @throws TwofoldError OUTCOME_TIMEOUT, COMMAND_DEAD, PRECONDITION_FAILED, UNREACHABLE
   */
  readonly outcome: (options?: WaitOptions) => Promise<Outcome<Reply, Rejections>>
}

/** How long a caller is ready to wait. */
export interface WaitOptions {
  /** In milliseconds. Default 30,000. A server waits in whole seconds, so that it may take one second more. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** What may accompany a command. */
export interface CallOptions<R extends Respond = Respond> extends WaitOptions {
  /** `accepted` asks for a 202 at once, `result` for the outcome; the default is the contract's. It decides the type of the result. */
  readonly respond?: R | undefined
  /**
   * Names this request, so that a repetition changes nothing: 1 to 255 visible ASCII characters. Default: a new one per call, kept
   * through the client's own retries.
   */
  readonly idempotencyKey?: string | undefined
  /** The version the caller has seen. */
  readonly ifMatch?: number | undefined
}

/**
 * A command as a function. With `accepted` it gives what is durable, or the rejection it met already: by a check, or as the known
 * outcome of the call that used the Idempotency-Key first.
 */
export interface CommandCall<T extends CommandTypes> {
  <R extends Respond = T['respond']>(
    input: T['input'],
    options?: CallOptions<R>,
  ): Promise<
    R extends 'accepted'
      ? Accepted<T['optimistic'], T['reply'], T['rejections']> | Rejected<T['rejections']>
      : Outcome<T['reply'], T['rejections']>
  >
}

/** What may accompany a query. */
export interface QueryOptions {
  /** A `consistencyToken`: the answer includes what that command did. */
  readonly after?: string | undefined
  /** In milliseconds. Default 30,000. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

/** A query as a function. */
export interface QueryCall<T extends QueryTypes> {
  (input: T['input'], options?: QueryOptions): Promise<T['output']>
}

/** A function for every command and query of a contract. */
export type Client<C extends AnyContract> = { readonly [N in keyof C['commands']]: CommandCall<TypesOf<C['commands'][N]>> } & {
  readonly [N in keyof C['queries']]: QueryCall<TypesOf<C['queries'][N]>>
}
