// Claims as rows: the columns, how they are found, and what becomes of NULL.
import type { StoredClaim } from '../../ports/command-log.ts'

export const CLAIM_COLUMNS = 'hash, fingerprint, command_id as "commandId", answer'

/** The claims of these hashes. */
export const CLAIMS_BY_HASH = `select ${CLAIM_COLUMNS} from twofold._claim where hash = any($1::text[])`

/** `_claim` as pg returns it. */
export interface ClaimRow {
  readonly hash: string
  readonly fingerprint: string
  readonly commandId: string
  readonly answer: string | null
}

export function storedClaim({ commandId, fingerprint, answer }: ClaimRow): StoredClaim {
  return { commandId, fingerprint, answer: answer === null ? undefined : JSON.parse(answer) }
}
