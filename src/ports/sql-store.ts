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
  /** How many attempts are stored of the parked command that was asked for. */
  readonly attempts?: number | undefined
  /** Whoever has used its Idempotency-Key before. */
  readonly claim: StoredClaim | undefined
}

/** Which command a transaction is for. */
export interface SqlStart {
  readonly commandId: string
  readonly service: string
  /** They are locked until the transaction ends, against whoever runs commands of theirs elsewhere. */
  readonly keys: readonly string[]
  /** The hash of its Idempotency-Key, where that has to be looked up. */
  readonly claimHash: string | undefined
  /** Its number among the parked commands, where it comes from there. */
  readonly parkedSeq: string | undefined
}

/**
 * Why a handler's statements failed. `again`: the database asks to run the transaction anew (serialization, deadlock, a lock that was not to
 * be had), and it has not gone back to a savepoint since. `idle`: it stood still inside its transaction for too long and was ended. `ended`: a statement of it ended the transaction.
 * `lost`: the connection or the server failed.
 */
export type SqlTrouble = 'again' | 'idle' | 'ended' | 'lost'

/** One connection of SQL handlers, with one transaction at a time. */
export interface SqlSession {
  /**
   * Stores, before its transaction begins, that a command is about to run for the `count`th time since its owner died: a handler that ends
   * its process cannot say so itself. @throws BatchAborted
   */
  began(commandId: string, count: number): Promise<void>
  /** Begins a transaction, locks the keys and looks up what is known of the command. @throws BatchAborted */
  begin(start: SqlStart): Promise<Standing>
  /**
   * The same with the first statement that is said in the transaction, in one round trip, and without looking anything up: a command that has
   * run before is refused when it is stored, as a `conflict`.
   */
  beginLater(start: Pick<SqlStart, 'service' | 'keys'>): void
  /** The transaction has begun, and its keys are locked. */
  readonly hasBegun: boolean
  /** Its first statement is under way; perhaps it waits for the keys. */
  readonly waitsForKeys: boolean
  /** @throws BatchAborted where it was to begin and was refused, whatever the handler made of that */
  mustNotBeRefused(): void
  /** The transaction under way, as a handler sees it. */
  readonly transaction: Transaction
  /** What went wrong in the transaction under way, whether or not the handler let it out. */
  readonly trouble: SqlTrouble | undefined
  /** Whether the database has asked by this very error to run the transaction anew, whatever the handler has made of it. */
  asksAgain(error: unknown): boolean
  /** Stores the batch in the transaction under way and commits both, in one round trip. @throws BatchAborted */
  commit(batch: EffectBatch): Promise<void>
  /** Rolls back whatever is under way, then stores the batch by itself, in one round trip. @throws BatchAborted */
  commitWithout(batch: EffectBatch): Promise<void>
  rollback(): Promise<void>
  /** The number of the partition's last stored event, and whether that row of the log still waits. */
  look(partition: number, row: string | undefined): Promise<{ readonly lastEvent: number; readonly rowWaits: boolean }>
  /** Ends the connection and the transaction with it, also in the middle of a statement. Returns when its locks are free, or after a moment. */
  cut(): Promise<void>
  /** False: it cannot be used for another command. */
  readonly usable: boolean
  close(): Promise<void>
}

export interface SqlStore {
  /** Opens a session; @throws BatchAborted `lost` when the database cannot be reached. */
  open(): Promise<SqlSession>
}
