// A command in the engine's hands, wherever it came from.
import type { Envelope } from '../../contract/envelope.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import type { ParkedKey } from './plan-batch.ts'

/**
 * Where a command came from. `log`: in a row that this batch consumes. `parked`: held back, retried now, by this look at its key; `error`: what it
 * failed with last. `direct`: a caller waits, until `deadline` (on the database's clock, in milliseconds since 1970).
 * `carried`: a broker keeps it until it is settled; one that is settled as `deferred` is delivered again, and all that came behind it.
 */
export type Origin =
  | { readonly from: 'log'; readonly row: string }
  | {
      readonly from: 'parked'
      readonly seq: string
      readonly attempts: number
      readonly error?: string | undefined
      readonly look: ParkedKey
    }
  | { readonly from: 'direct'; readonly deadline?: number | undefined; readonly settle: (result: DirectResult) => void }
  | { readonly from: 'carried'; readonly leftBehind: boolean; readonly settle: (result: DirectResult) => void }

export interface Work {
  readonly envelope: Envelope
  /** Of the home key. */
  readonly partition: number
  readonly origin: Origin
  /** How often it was begun since its owner died, this time included. Left out: as usual, nobody counts. */
  readonly begun?: number
  /** A commit of it was sent whose answer was lost: nobody is told that it has not begun, wherever it is given back from. */
  readonly mayBeStored?: true
  /** A copy of it has run, or may have: what is stored of it is looked up before its handler runs. Left out: its outcome's primary key is enough. */
  readonly mayHaveRun?: true
  /** Why it can never run: it dies at once. */
  readonly fault?: Error
  /** A copy of it has run: it does not run again, and only leaves its parked key. */
  readonly finished?: StoredOutcome
}

/** Tells whoever waits: a direct caller, or the broker. Only the first word counts. */
export function settle({ origin, mayBeStored }: Work, result: DirectResult): void {
  if (origin.from !== 'direct' && origin.from !== 'carried') return
  origin.settle(mayBeStored && result.status === 'deferred' ? { ...result, begun: true } : result)
}
