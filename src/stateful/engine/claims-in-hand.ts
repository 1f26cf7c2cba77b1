// Idempotency-Keys of direct commands that are under way here: their claims are stored with their effects, so nobody can read them before.
import type { Envelope } from '../../contract/envelope.ts'
import type { StoredClaim } from '../../ports/command-log.ts'

/** Bounded by the commands that wait in this engine. */
export class ClaimsInHand {
  readonly #byHash = new Map<string, StoredClaim>()

  /** The claim of another command that is under way with this one's key; otherwise this one is noted. */
  begin({ id, claim }: Envelope): StoredClaim | undefined {
    if (claim === undefined) return undefined
    const first = this.#byHash.get(claim.hash)
    if (first !== undefined) return first.commandId === id ? undefined : first
    this.#byHash.set(claim.hash, { commandId: id, fingerprint: claim.fingerprint, answer: undefined })
    return undefined
  }

  /** It has been answered, or was taken back. */
  end({ id, claim }: Envelope): void {
    if (claim !== undefined && this.#byHash.get(claim.hash)?.commandId === id) this.#byHash.delete(claim.hash)
  }
}
