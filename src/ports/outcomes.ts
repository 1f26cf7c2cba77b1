// What became of commands: the final word, or how far they are.
import type { StoredAnswer, StoredClaim } from './command-log.ts'

/** The final word on a command, as stored. */
export interface StoredOutcome {
  readonly id: string
  readonly service: string
  readonly command: string
  readonly status: 'succeeded' | 'rejected' | 'dead'
  /** The code of the rejection, or of the error a dead command ended with. */
  readonly code: string | undefined
  /** JSON text: the reply, the rejection's data, or for a dead command `{ "message", "attempts" }`. */
  readonly body: string | undefined
  /**
   * The HTTP status that the contract gave the rejection when it was decided: a later contract may give it another one, and a repeated
   * request gets the first answer. Left out: no rejection of a contract, or decided by a program that did not store it yet.
   */
  readonly rejectedWith?: number | undefined
  /** The home entity's version after the command; 0 where it has never been written. */
  readonly version: number
  /** The home partition, and its last event's number when the command committed: together the consistency token. */
  readonly partition: number
  readonly eventSeq: number
  readonly finishedAt: Date
}

/** A command that has no outcome yet. `running`: an owner has it in hand, or it failed before and will be tried again. */
export interface PendingCommand {
  readonly id: string
  readonly status: 'queued' | 'running'
  readonly attempts: number
}

export interface Outcomes {
  /** The outcome, waiting up to `timeoutMs` (0: no wait) for it. `undefined`: none so far. */
  find(commandId: string, timeoutMs: number, signal?: AbortSignal): Promise<StoredOutcome | undefined>
  /** How far a command without outcome is; `undefined`: nobody knows this id. */
  pending(commandId: string): Promise<PendingCommand | undefined>
  /** The claim of a hashed Idempotency-Key, if it was used before. */
  claim(hash: string): Promise<StoredClaim | undefined>
  /**
   * Stores what the first request under a claim is about to be answered with before its command has an outcome. False: nothing was stored,
   * because it has one by now, or has no such claim.
   * @throws TwofoldError UNAVAILABLE
   */
  answered(hash: string, commandId: string, answer: StoredAnswer): Promise<boolean>
}
