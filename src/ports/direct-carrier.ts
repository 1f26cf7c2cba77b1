// The short way of a command: straight to the owner of its partition, without touching the log.
import type { Envelope } from '../contract/envelope.ts'
import type { StoredClaim } from './command-log.ts'
import type { StoredOutcome } from './outcomes.ts'

/**
 * `held`: the command failed or waits behind one that did; it is durable and will be tried again: wait for its outcome.
 * `finished`: the effect is committed. `claimed`: the Idempotency-Key was used before. `deferred`: nothing happened here
 * (moved, overloaded, behind a backlog, stopping): append the same envelope to the log. With `begun` that is not known: the owner may
 * have it, but its answer did not come.
 */
export type DirectResult =
  | { readonly status: 'finished'; readonly outcome: StoredOutcome }
  | { readonly status: 'claimed'; readonly claim: StoredClaim }
  | { readonly status: 'held' }
  | { readonly status: 'deferred'; readonly begun?: boolean }

/** What a caller sends along with a command. */
export interface CallContext {
  /** How long it waits for the result, in milliseconds: an owner that gets the command later leaves it alone. Left out: to the end. */
  readonly waitMs?: number | undefined
}

export interface DirectCarrier {
  /** Whether the owner of this command's home key can be reached directly from here. */
  reaches(envelope: Envelope): boolean
  /**
   * Hands the command to its owner. When the caller stops waiting (without a signal it waits to the end) it ends as `deferred` where the
   * command is certain not to have begun; otherwise it rejects with the signal's reason: the command may then still take effect, so the caller
   * appends the same envelope to the log and names its id.
   */
  call(envelope: Envelope, signal?: AbortSignal, context?: CallContext): Promise<DirectResult>
}
