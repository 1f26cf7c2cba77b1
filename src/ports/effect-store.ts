// What the engine needs from a database: take commands, load states, commit a batch in one checked statement.
import type { Envelope } from '../contract/envelope.ts'
import type { StoredClaim } from './command-log.ts'
import type { PackedEvents } from './event-log.ts'
import type { StoredOutcome } from './outcomes.ts'

/** One packed row of the log: the commands of one append batch and one partition. It is consumed whole. */
export interface LogRow {
  readonly seq: string
  readonly partition: number
  readonly commands: readonly Envelope[]
}

/** What a take of the log answers. */
export interface TakenLog {
  readonly rows: readonly LogRow[]
  /** Partitions that may hold more than that. */
  readonly more: ReadonlySet<number>
}

/** A command held back because the head of its key keeps failing, or because it is that head. */
export interface ParkedCommand {
  readonly seq: string
  readonly partition: number
  readonly envelope: Envelope
  /** How often it has been tried; 0 for one that waits behind the head. */
  readonly attempts: number
  /** When the next attempt is due, in milliseconds since 1970 on the database clock; `Infinity`: it is dead, and its key waits for an operator. */
  readonly dueAt: number
  /** What it failed with last. */
  readonly error?: string | undefined
}

/** A parked key and where it is. */
export interface ParkedAt {
  readonly partition: number
  readonly service: string
  readonly key: string
}

export interface LoadedEntity {
  readonly service: string
  readonly key: string
  readonly version: number
  readonly shape: number
  /** Undefined: it was removed; its version goes on from there. */
  readonly state: string | undefined
}

/** A state to store. `from` is the version it was read at, 0 for a new one. `state` undefined: the entity is removed, its version stays. */
export interface EntityWrite {
  readonly service: string
  readonly key: string
  readonly from: number
  readonly version: number
  readonly shape: number
  readonly state: string | undefined
}

export interface EntityRead {
  readonly service: string
  readonly key: string
  readonly version: number
}

/** The one order in which entities are locked and written: whoever keeps it never waits in a circle. */
export function byKey(a: Pick<EntityRead, 'service' | 'key'>, b: Pick<EntityRead, 'service' | 'key'>): number {
  if (a.service !== b.service) return a.service < b.service ? -1 : 1
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0
}

export interface EventAppend extends PackedEvents {
  readonly partition: number
  /** The number of the last of `lines`; they are numbered without gaps. */
  readonly last: number
}

export interface ParkWrite {
  readonly partition: number
  readonly envelope: Envelope
  readonly attempts: number
  /** Milliseconds from now until the next attempt; `Infinity`: the command is dead, and its key waits for an operator. */
  readonly delayMs: number
  readonly error: string | undefined
}

/** The head of a parked key failed again: it keeps its place. */
export interface RetryWrite {
  readonly seq: string
  /** How many attempts are stored of it; with any other number it was tried by somebody else meanwhile, and this is a conflict. */
  readonly was: number
  readonly attempts: number
  readonly delayMs: number
  readonly error: string
}

export interface DeadLetter {
  readonly envelope: Envelope
  readonly partition: number
  readonly attempts: number
  readonly error: string
  readonly stack: string | undefined
}

/** All that one batch does. Either everything of it is stored or nothing. */
export interface EffectBatch {
  /** Every partition the batch touched, with the epoch under which this instance holds it. */
  readonly fences: readonly { readonly partition: number; readonly epoch: string }[]
  readonly writes: readonly EntityWrite[]
  /** Entities that were read and not written, also by a command that only rejected. */
  readonly reads: readonly EntityRead[]
  readonly outcomes: readonly StoredOutcome[]
  readonly claims: readonly { readonly hash: string; readonly fingerprint: string; readonly commandId: string }[]
  readonly events: readonly EventAppend[]
  readonly consumed: readonly string[]
  /** Parked commands that this batch finishes. */
  readonly unparked: readonly string[]
  readonly retried: readonly RetryWrite[]
  readonly parked: readonly ParkWrite[]
  readonly deadLetters: readonly DeadLetter[]
  /** Partitions whose log was not read before: nothing is stored if anything waits there that may be older than these commands. Default: none. */
  readonly unread?: readonly number[] | undefined
  /**
   * Where its commands are of one partition: nothing is stored if something waits in the log of that one above this number. Default: the log was
   * read.
   */
  readonly unreadAbove?: number | undefined
  /** Commands that were begun under watch and have come to an end, whatever it is, with the process still there. Default: none. */
  readonly survived?: readonly string[] | undefined
}

/** Does nothing: what a batch is made of that does little. */
export const emptyBatch: EffectBatch = {
  fences: [],
  writes: [],
  reads: [],
  outcomes: [],
  claims: [],
  events: [],
  consumed: [],
  unparked: [],
  retried: [],
  parked: [],
  deadLetters: [],
}

/**
 * Why a batch stored nothing. `fenced`: a partition is no longer ours. `conflict`: a version, an outcome, a claim or a log row is
 * not as it was when the batch began. `behind`: something waits in a log that was not read before. `data`: the database refused a value
 * (SQLSTATE class 22 or 23). `lost`: the connection or the server failed; the batch may have been stored.
 */
export type BatchFailure = 'fenced' | 'conflict' | 'behind' | 'data' | 'lost'

export class BatchAborted extends Error {
  override readonly name = 'BatchAborted'
  readonly failure: BatchFailure

  constructor(failure: BatchFailure, message: string, cause?: unknown) {
    super(message, { cause })
    this.failure = failure
  }
}

/** What a batch finds out about ids and keys after a conflict. */
export interface Recovery {
  readonly outcomes: readonly StoredOutcome[]
  readonly claims: ReadonlyMap<string, StoredClaim>
  /** Of the ids asked for, those that are parked: durable, and not to be run from here. */
  readonly parked: ReadonlySet<string>
  /** Of those, the ones that died in their place and hold their key until somebody lets it go on. */
  readonly holding: ReadonlySet<string>
  /** Of the consumed rows asked for, those that still exist. */
  readonly waiting: ReadonlySet<string>
}

/** One lane's connections. At most one commit is in flight; what only reads may be called meanwhile, and may have to wait for it. */
export interface EffectSession {
  /** Unconsumed rows of these partitions, each partition's in order, but for `inHand`; about `limit` commands, no partition before others. */
  take(partitions: readonly number[], limit: number, inHand: readonly string[]): Promise<TakenLog>
  /** These rows, as far as they are still there. */
  rows(seqs: readonly string[]): Promise<readonly LogRow[]>
  /** The last takes have found nothing, and none is due: the next commit may look for itself, see `EffectBatch.unread`. */
  isQuiet(): boolean
  /** Nothing of this partition waits at or below this number. */
  floorOf(partition: number): number
  load(keys: readonly { readonly service: string; readonly key: string }[]): Promise<readonly LoadedEntity[]>
  /** Makes ready what `commit` will send of this batch: whoever calls it while another commit is under way saves that time later. */
  encode(batch: EffectBatch): void
  /** Commits the batch. @throws BatchAborted */
  commit(batch: EffectBatch): Promise<void>
  recover(ids: readonly string[], claims: readonly string[], consumed: readonly string[]): Promise<Recovery>
  /** The number of the last stored event of each partition. */
  lastEvents(partitions: readonly number[]): Promise<ReadonlyMap<number, number>>
  /** Parked keys of these partitions: the head of each. */
  parkedHeads(partitions: readonly number[]): Promise<readonly ParkedCommand[]>
  /** The next parked commands of these keys, key by key in order, at most `limit` of each. */
  parked(keys: readonly ParkedAt[], limit: number): Promise<readonly ParkedCommand[]>
  /** The number of the newest row of the log, appended or about to be. */
  lastRow(): Promise<bigint>
  /** Of these commands, those that have an outcome. */
  ended(commandIds: readonly string[]): Promise<readonly string[]>
  /** How often these commands were begun and never came to an end; those that were not are left out. */
  begunBefore(commandIds: readonly string[]): Promise<ReadonlyMap<string, number>>
  /** Stores that they are about to run: a command that ends its process cannot say so itself. */
  began(commandIds: readonly string[]): Promise<void>
  /** They came to an end, and the process is still there. */
  survived(commandIds: readonly string[]): Promise<void>
  /** That they began does not count: they did not come to an end, and the process is still there. What others have counted stays. */
  takeBack(commandIds: readonly string[]): Promise<void>
  /** Of these partitions, those that are still ours under these epochs. */
  stillHeld(fences: EffectBatch['fences']): Promise<ReadonlySet<number>>
  /**
   * Locks the rows of these keys in order and runs `work` on a session inside that transaction; its one `commit` ends it.
   * For commands whose keys have several owners.
   */
  locked<Result>(
    keys: readonly { readonly service: string; readonly key: string }[],
    fences: EffectBatch['fences'],
    work: (session: Pick<EffectSession, 'load' | 'commit'>) => Promise<Result>,
  ): Promise<Result>
  close(): Promise<void>
}

export interface EffectStore {
  /** Opens a session; @throws BatchAborted `lost` when the database cannot be reached. */
  open(): Promise<EffectSession>
}
