// Idempotency-Keys, stored before their commands: for carriers that cannot store both in one transaction.
import type { Envelope } from '../contract/envelope.ts'
import type { LogEntry, StoredClaim } from './command-log.ts'

export interface Claims {
  /**
   * Stores the claim of a keyed command, with the answer to repeat and the command itself. Undefined: it is ours now. Otherwise the claim
   * that is there: perhaps this very command's, made by an earlier try.
   * @throws TwofoldError UNAVAILABLE, STORAGE_FULL
   */
  claim(entry: LogEntry): Promise<StoredClaim | undefined>
  /** The command that a claim was made for; undefined where the two were stored together, or the claim is gone. @throws TwofoldError UNAVAILABLE */
  commandOf(hash: string, commandId: string): Promise<Envelope | undefined>
}
