// Where commands are kept of which nobody knows whether the broker has them: durable, until the owner of their partition has handed them on.
import type { Envelope } from '../contract/envelope.ts'

export interface DoubtStore {
  /**
   * Resolves once they are durable. They wait in PostgreSQL's log, and nobody waits behind them: no one was told that they are taken, so
   * they have no place before others.
   */
  keep(envelopes: readonly Envelope[]): Promise<void>
}
