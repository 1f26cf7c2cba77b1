// Outcomes as rows: one place for the columns and for what becomes of NULL and bigint.
import type { StoredOutcome } from '../../ports/outcomes.ts'

export const OUTCOME_COLUMNS =
  'id, service, command, status, code, body, rejected_with as "rejectedWith", version, partition, event_seq as "eventSeq", finished_at as "finishedAt"'

/** A row as pg returns it: bigints are texts, missing texts are null. */
export type OutcomeRow = Omit<StoredOutcome, 'code' | 'body' | 'rejectedWith' | 'version' | 'eventSeq'> & {
  readonly code: string | null
  readonly body: string | null
  readonly rejectedWith: number | null
  readonly version: string
  readonly eventSeq: string
}

export function storedOutcome(row: OutcomeRow): StoredOutcome {
  const { code, body, rejectedWith, version, eventSeq, ...rest } = row
  return {
    ...rest,
    code: code ?? undefined,
    body: body ?? undefined,
    rejectedWith: rejectedWith ?? undefined,
    version: Number(version),
    eventSeq: Number(eventSeq),
  }
}
