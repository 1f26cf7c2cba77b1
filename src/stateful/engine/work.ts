// A command in the engine's hands, wherever it came from.
import type { Envelope } from '../../contract/envelope.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'

/** Where a command came from. `log`: in a row that this batch consumes. `parked`: held back, retried now. `direct`: a caller waits. */
export type Origin =
  | { readonly from: 'log'; readonly row: string }
  | { readonly from: 'parked'; readonly seq: string; readonly attempts: number }
  | { readonly from: 'direct'; readonly settle: (result: DirectResult) => void }

export interface Work {
  readonly envelope: Envelope
  /** Of the home key. */
  readonly partition: number
  readonly origin: Origin
  /** How often it was begun since its owner died, this time included. Left out: as usual, nobody counts. */
  readonly begun?: number
}

/** Tells the direct caller, if there is one. */
export function settle(work: Work, result: DirectResult): void {
  if (work.origin.from === 'direct') work.origin.settle(result)
}
