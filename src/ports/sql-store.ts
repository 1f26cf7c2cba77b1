// What SQL handlers need of a database: a transaction for each command, in which the handler's own changes, the outcome, the events and the
// consumption are stored together.
import type { StoredClaim } from './command-log.ts'
import type { Transaction } from './database.ts'
import type { EffectBatch } from './effect-store.ts'
import type { StoredOutcome } from './outcomes.ts'

/** What is known of a command before its handler runs. */
export interface Standing {
  readonly outcome: StoredOutcome | undefined
  /** It waits among the parked ones. */
  readonly parked: boolean
  /** Whoever has used its Idempotency-Key before. */
  readonly claim: StoredClaim | undefined
}

/** Which command a transaction is for. */
export interface SqlStart {
  readonly commandId: string
  readonly service: string
  /** They are locked until the transaction ends, against whoever runs commands of theirs elsewhere. */
  readonly keys: readonly string[]
  /**
   * Whether it is looked up what is known of it. Without that nothing is, and one that has run before is refused when it is stored, as a
   * `conflict`.
   */
  readonly look: boolean
  /** The hash of its Idempotency-Key, where that has to be looked up. */
  readonly claimHash: string | undefined
}

/**
 * Why a handler's statements failed. `again`: the database asks to run the transaction anew (serialization, deadlock, a lock that was not to
 * be had). `idle`: it stood still inside its transaction for too long and was ended. `lost`: the connection or the server failed.
 */
export type SqlTrouble = 'again' | 'idle' | 'lost'

/** One connection of SQL handlers, with one transaction at a time. */
export interface SqlSession {
  /** Begins a transaction and locks the keys. @throws BatchAborted */
  begin(start: SqlStart): Promise<Standing>
  /** The transaction under way, as a handler sees it. */
  readonly transaction: Transaction
  /** What went wrong in the transaction under way, whether or not the handler let it out. */
  readonly trouble: SqlTrouble | undefined
  /** Stores the batch in the transaction under way and commits both, in one round trip. @throws BatchAborted */
  commit(batch: EffectBatch): Promise<void>
  /** Rolls back whatever is under way, then stores the batch by itself, in one round trip. @throws BatchAborted */
  commitWithout(batch: EffectBatch): Promise<void>
  rollback(): Promise<void>
  /** The number of the partition's last stored event, and whether that row of the log still waits. */
  look(partition: number, row: string | undefined): Promise<{ readonly lastEvent: number; readonly rowWaits: boolean }>
  /** Ends the connection and the transaction with it, also in the middle of a statement. Returns when its locks are free, or after a moment. */
  cut(): Promise<void>
  /** False: it cannot be used again. */
  readonly usable: boolean
  close(): Promise<void>
}

export interface SqlStore {
  /** Opens a session; @throws BatchAborted `lost` when the database cannot be reached. */
  open(): Promise<SqlSession>
}
