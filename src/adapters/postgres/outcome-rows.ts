// Outcomes as rows: one place for the columns and for what becomes of NULL and bigint.
import type { StoredOutcome } from '../../ports/outcomes.ts'

export const OUTCOME_COLUMNS =
  'id, service, command, status, code, body, version, partition, event_seq as "eventSeq", finished_at as "finishedAt"'

/** A row as pg returns it: bigints are texts, missing texts are null. */
export type OutcomeRow = Omit<StoredOutcome, 'code' | 'body' | 'version' | 'eventSeq'> & {
  readonly code: string | null
  readonly body: string | null
  readonly version: string
  readonly eventSeq: string
}

export function storedOutcome(row: OutcomeRow): StoredOutcome {
  return { ...row, code: row.code ?? undefined, body: row.body ?? undefined, version: Number(row.version), eventSeq: Number(row.eventSeq) }
}
