// A command of an SQL service in the engine's hands: from where it was handed over until it is stored, or given back.
import type { Logger } from '../../runtime/logger.ts'
import { cellKey } from '../engine/cells.ts'
import type { HandlerTurns } from '../engine/handler-turns.ts'
import type { HeldPartitions } from '../engine/held-partitions.ts'
import type { Parking } from '../engine/parking.ts'
import type { ParkedKey } from '../engine/plan-batch.ts'
import type { Work } from '../engine/work.ts'
import type { SqlCommandRunner } from './run-sql-command.ts'
import type { SessionPool } from './session-pool.ts'
import type { Turns } from './turns.ts'

/** A packed row of the log whose commands run one by one. The last one that is stored consumes it. */
export interface RowInHand {
  readonly seq: string
  /** Commands that are still to be stored. */
  remaining: number
  /** Given back: it is taken from the log again, and whatever of it is still running does not consume it. */
  dropped: boolean
  /** False: what else is in the row was not stored, so it is given back. */
  readonly ready: Promise<boolean> | undefined
}

/** The commands of a parked key that are taken up again together. */
export interface ParkedInHand {
  readonly key: ParkedKey
  remaining: number
  /** One of them has failed again: those behind it wait on. */
  failed: boolean
  /** One of them was not run: they are looked at again a little later, once none of them runs any more. */
  givenBack: boolean
  /** Their partition is somebody else's, and so is when they are looked at again. */
  gone: boolean
}

export interface Job {
  work: Work
  /** Its keys, each with its service: whoever shares one waits. */
  readonly names: readonly string[]
  readonly row: RowInHand | undefined
  readonly parked: ParkedInHand | undefined
  /** The log was not read before it: its commit looks whether anything of its partition waits there above this number. */
  readonly unreadAbove: number | undefined
  /** Aborted: it is given up, and stores nothing any more. */
  readonly cut: AbortController
  /** Its handler runs, or waits for its keys; before that it can be given back at once. */
  running: boolean
  /** The last attempt had its keys, and ran the handler. */
  begun: boolean
  /** It is stored that its handler was begun under watch, or may be. */
  counted: boolean
  /** A commit of it was refused or its answer lost: what the numbers of events rest on has to be read again. */
  doubtful: boolean
  /** It waits in the mailbox again, with its caller. */
  putBack: boolean
}

export function jobOf(work: Work, { row, parked, unreadAbove }: Partial<Pick<Job, 'row' | 'parked' | 'unreadAbove'>> = {}): Job {
  const { service, keys } = work.envelope
  const names = keys.map((key) => cellKey(service, key))
  const fresh = { running: false, begun: false, counted: false, doubtful: false, putBack: false }
  return { work, names, row, parked, unreadAbove, cut: new AbortController(), ...fresh }
}

/** What running a command takes. */
export interface JobOptions {
  readonly runners: ReadonlyMap<string, SqlCommandRunner>
  readonly pool: SessionPool
  readonly held: HeldPartitions
  readonly parking: Parking
  /** Handlers run beside each other; one that may have ended a process runs alone. */
  readonly handlers: HandlerTurns
  /** One partition numbers its events one transaction after the other, whoever makes them. */
  readonly numbering: Turns<number>
  /** How long one run of a handler may take, in milliseconds. */
  readonly handlerMs: number
  readonly log: Logger
  readonly now: () => number
  readonly mayWrite: () => boolean
  /** How old a service's command of the log may be that is run, in milliseconds. */
  readonly carriedMsMax: ((service: string) => number) | undefined
  /** A partition is no longer ours. */
  readonly fenced: (partition: number) => void
  /** There may be something to do for the lane. */
  readonly ring: () => void
  /** Something waits in the log that these direct commands must not overtake: it is read before they are run again. */
  readonly behind: (works: readonly Work[]) => void
}
