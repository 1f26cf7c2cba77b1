// A command of an SQL service in the engine's hands: from where it was handed over until it is stored, or given back.
import { cellKey } from '../engine/cells.ts'
import type { ParkedKey } from '../engine/plan-batch.ts'
import type { Work } from '../engine/work.ts'

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
  /** Aborted: it is given up, and stores nothing any more. */
  readonly cut: AbortController
  /** It has its keys and a connection; before that it can be given back at once. */
  running: boolean
  /** Its handler was begun by the last attempt. */
  begun: boolean
  /** A commit of it was refused or its answer lost: what the numbers of events rest on has to be read again. */
  doubtful: boolean
}

export function jobOf(work: Work, { row, parked }: Partial<Pick<Job, 'row' | 'parked'>> = {}): Job {
  const { service, keys } = work.envelope
  const names = keys.map((key) => cellKey(service, key))
  return { work, names, row, parked, cut: new AbortController(), running: false, begun: false, doubtful: false }
}
