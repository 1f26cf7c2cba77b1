// Takes the commands of SQL services out of what the lane has collected. Their order among themselves and the direct ones stays as it is;
// between a key of theirs and one of an entity service there is none.
import type { Parking } from '../engine/parking.ts'
import { cellKey } from '../engine/cells.ts'
import { settle, type Work } from '../engine/work.ts'
import type { SqlExecutor } from './executor.ts'

/** What a lane has collected for a batch. */
export interface Collected {
  readonly works: readonly Work[]
  /** Log rows that the batch consumes. */
  readonly rows: readonly string[]
  /** What an owner that died has left: to be run first, under watch. */
  readonly left: readonly Work[]
  /** Partitions whose log was not read: the commit looks into it. */
  readonly unread?: readonly number[] | undefined
  /** Something was taken out for SQL services. */
  readonly diverted?: boolean
  /** Rows that hold commands of both kinds: their SQL commands wait until the others are stored, and consume the row. */
  readonly shared?: ReadonlySet<string>
  /** Told whether those others were stored. */
  readonly stored?: (yes: boolean) => void
}

export interface DivertOptions {
  readonly sql: SqlExecutor
  readonly parking: Parking
  readonly now: number
  /** `sql.givenBack` from before the log was read. */
  readonly givenBack: number | undefined
  /** Where the log was not read: above which number of it a partition's commands have to look for themselves. */
  readonly unreadAbove?: ((partition: number) => number) | undefined
  /** How often those that an owner that died has left were begun before, by id. */
  readonly begunBefore?: ReadonlyMap<string, number> | undefined
  /** Told of what a broker delivered and there is no room for: it stays in hand. */
  readonly noRoom: (works: readonly Work[]) => void
}

/** What is left for the lane. */
export function divert(collected: Collected, { sql, parking, now, givenBack, unreadAbove, begunBefore, noRoom }: DivertOptions): Collected {
  const isSql = ({ envelope, fault }: Work): boolean => fault === undefined && sql.serves(envelope.service)
  const all = [...collected.left, ...collected.works]
  if (!all.some(isSql)) return collected
  // What was given back meanwhile is missing in what was taken, and what came behind it must not overtake it.
  const open = sql.givenBack === givenBack
  let diverted = false
  const ofDead = new Set(collected.left)
  const watched = (work: Work): Work => (ofDead.has(work) ? sql.watched(work, begunBefore?.get(work.envelope.id) ?? 0) : work)
  for (const group of parkedOf(all.filter(isSql))) {
    const [head] = group
    const { service, keys } = head.envelope
    const key = { service, key: keys[0] ?? '', partition: head.partition, dueAt: now + NO_ROOM_MS, leftBehind: ofDead.has(head) }
    // One that finds no room is looked at again in a moment.
    if (sql.takes(head.partition)) sql.addParked(key, group.map(watched))
    else parking.set(key)
  }
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const shared = new Set<string>()
  const consumedThere = new Set<string>()
  // From the first row on that finds no room nothing of its partition is taken: what comes later would overtake.
  const refused = new Set<number>()
  const stays = new Set<string>()
  const returned: Work[] = []
  for (const [seq, works] of rowsOf(all)) {
    const theirs = works.filter(isSql)
    const partition = works[0]?.partition ?? 0
    if (theirs.length > 0 && !(open && sql.takes(partition))) refused.add(partition)
    if (refused.has(partition)) stays.add(seq)
    else if (theirs.length > 0) {
      const mixed = theirs.length < works.length
      if (mixed) shared.add(seq)
      consumedThere.add(seq)
      diverted = true
      sql.addRow(seq, theirs.map(watched), mixed ? promise : undefined)
    }
  }
  const kept = (work: Work): boolean => {
    const { origin, partition } = work
    if (origin.from === 'log') return !isSql(work) && !stays.has(origin.row)
    if (origin.from === 'parked') return !isSql(work)
    if (refused.has(partition) || (isSql(work) && !(open && sql.takes(partition)))) {
      if (origin.from === 'carried') returned.push(work)
      else settle(work, { status: 'deferred' })
      return false
    }
    if (!isSql(work)) return true
    diverted = true
    sql.addDirect(watched(work), unreadAbove?.(work.partition))
    return false
  }
  const [left, works] = [collected.left.filter(kept), collected.works.filter(kept)]
  noRoom(returned)
  const rows = collected.rows.filter((row) => !consumedThere.has(row) && !stays.has(row))
  return { works, rows, left, diverted, unread: collected.unread, ...(shared.size > 0 ? { shared, stored: resolve } : {}) }
}

/** The parked ones, key by key. */
function parkedOf(works: readonly Work[]): (readonly [Work, ...Work[]])[] {
  const parked = works.filter(({ origin }) => origin.from === 'parked')
  const keys = Map.groupBy(parked, ({ envelope }) => cellKey(envelope.service, envelope.keys[0] ?? ''))
  return [...keys.values()] as [Work, ...Work[]][]
}

const NO_ROOM_MS = 100

/** The commands of each log row, in the order of the rows. */
function rowsOf(works: readonly Work[]): Map<string, Work[]> {
  const rows = new Map<string, Work[]>()
  for (const work of works) {
    if (work.origin.from !== 'log') continue
    const row = rows.get(work.origin.row)
    if (row === undefined) rows.set(work.origin.row, [work])
    else row.push(work)
  }
  return rows
}
