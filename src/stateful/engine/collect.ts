// What a lane's next batch is made of: what a broker delivered or the log holds, parked keys whose time has come, and direct commands.
import type { EffectSession, LogRow, TakenLog } from '../../ports/effect-store.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import { divert, type Collected } from '../sql/divert.ts'
import type { SqlExecutor } from '../sql/executor.ts'
import type { CarriedWorks } from './carried-works.ts'
import type { HeldPartitions } from './held-partitions.ts'
import { withLarge } from './large-commands.ts'
import type { Mailbox } from './mailbox.ts'
import type { Parking } from './parking.ts'
import type { Relay } from './relay.ts'
import { takeParked } from './take-parked.ts'
import { settle, type Work } from './work.ts'

export const NOTHING: Collected = { works: [], rows: [], left: [] }

/** How many parked keys one batch takes up again. */
const PARKED_KEYS_MAX = 100

export interface CollectorOptions {
  readonly runners: ReadonlyMap<string, unknown>
  readonly held: HeldPartitions
  readonly parking: Parking
  readonly mailbox: Mailbox
  readonly sql: SqlExecutor | undefined
  /** Where a broker carries the commands: what it delivered. The log is not run then but relayed. */
  readonly carried: CarriedWorks | undefined
  readonly relay: Relay | undefined
  readonly batchSizeMax: number
  readonly overlapMin: number
  readonly now: () => number
  readonly mayWrite: () => boolean
  readonly session: () => Promise<EffectSession>
  /** Something was appended to the log, or found in it: it is read. */
  readonly mustRead: boolean
  /** Log rows that the batch under way consumes. */
  readonly rowsUnderWay: () => readonly string[]
  /** Whether no commit is under way. */
  readonly isIdle: () => boolean
  /** Once no commit is under way. */
  readonly settled: () => Promise<void>
  /** Called as soon as commands were taken for a batch: should what follows fail, they have to be given back. */
  readonly taken: (works: readonly Work[]) => void
  readonly crash?: CrashPoints | undefined
}

export async function collect(options: CollectorOptions): Promise<Collected> {
  const { batchSizeMax, mailbox, sql, carried, parking } = options
  const held = options.held.numbers.filter((partition) => sql?.isFull(partition) !== true)
  // The mailbox is emptied before the log is read: whatever was acknowledged before these direct commands is then in the answer.
  const arrived = mailbox.take(batchSizeMax)
  const served = new Set(held)
  const mine: Work[] = []
  const now = options.now()
  for (const work of arrived) {
    if (served.has(work.partition) && !isLate(work, now)) mine.push(work)
    else settle(work, { status: 'deferred' })
  }
  // Its own clock says that the lease may have ended: it is about to be renewed, or these partitions are about to be dropped.
  if (held.length === 0 || !options.mayWrite()) {
    for (const work of mine) settle(work, { status: 'deferred' })
    return NOTHING
  }
  // Before anything is taken: what is given back from here on must not be overtaken by what was taken before.
  const given = sql?.givenBack
  const brought = carried?.take(batchSizeMax, (partition) => served.has(partition)) ?? []
  options.taken([...brought, ...mine])
  const delivered = carried === undefined ? brought : await withLarge(brought, { ...options, carried })
  const noRoom = (works: readonly Work[]): void => carried?.putBack(works)
  const diverting = { parking, now: options.now(), givenBack: given, noRoom }
  const quiet = await mayLookLater(mine, options)
  if (quiet !== undefined) {
    const direct = { works: mine, rows: [], left: [], unread: held }
    return sql === undefined ? direct : divert(direct, { ...diverting, sql, unreadAbove: (partition) => quiet.floorOf(partition) })
  }
  // As of before: what has come to an end meanwhile is not in what was taken, and what was given back meanwhile is to run under watch again.
  const watching = options.held.abandoned.size === 0 ? undefined : sql?.watching
  const { rows, more } = await takeLog(held, options)
  if (rows.length + delivered.length > 0) await options.crash?.reach('engine.taken')
  const parked = await takeDueParked(options)
  const [left, rest] = leftBehind({ rows, more }, options.held, (partition) => served.has(partition) && watching?.has(partition) !== true)
  // Behind a backlog that did not fit, a direct command would overtake: it joins the log instead. Other partitions' are none of its business.
  const behind = more.size === 0 ? [] : mine.filter((work) => more.has(work.partition))
  for (const work of behind) settle(work, { status: 'deferred' })
  const direct = behind.length === 0 ? mine : mine.filter((work) => !more.has(work.partition))
  const [watched, plain] = [delivered.filter(isLeftBehind), delivered.filter((work) => !isLeftBehind(work))]
  const collected = {
    works: [...parked.works, ...rest.flatMap(worksOf), ...plain, ...direct],
    rows: [...rest.map((row) => row.seq), ...(options.relay?.takeRelayed() ?? [])],
    left: [...parked.left, ...left.flatMap(worksOf), ...watched],
  }
  if (sql === undefined) return collected
  const known = await withCopies(collected, sql, options)
  return divert(known, { ...diverting, sql, begunBefore: await countsOf(known.left, sql, options) })
}

/**
 * The session, where the log need not be read for a few direct commands: it has been empty for a while, and their commit looks into it itself. A
 * lone command is then stored in one round trip. Nothing is planned behind such a batch, so that all of it can be put back. An SQL command
 * that is put back has run in vain, so nothing is risked while some of the log are in hand.
 */
async function mayLookLater(mine: readonly Work[], options: CollectorOptions): Promise<EffectSession | undefined> {
  const { sql, runners, held, parking } = options
  if (mine.length === 0 || mine.length >= options.overlapMin || options.mustRead || options.relay !== undefined) return undefined
  if (!options.isIdle() || held.abandoned.size > 0 || parking.due(options.now(), 1).length > 0) return undefined
  const diverted = mine.filter(({ envelope }) => !runners.has(envelope.service))
  if (diverted.length > 0 && (sql === undefined || sql.rows.length > 0)) return undefined
  if (!diverted.every(({ envelope }) => sql?.serves(envelope.service) === true)) return undefined
  const session = await options.session()
  return session.isQuiet() ? session : undefined
}

const NO_ROWS: TakenLog = { rows: [], more: new Set() }

/** What the log holds, to be run; where a broker carries the commands it only gets there what waits here. */
async function takeLog(held: readonly number[], options: CollectorOptions): Promise<TakenLog> {
  const { relay, sql, batchSizeMax } = options
  const session = await options.session()
  if (relay !== undefined) {
    relay.retain((partition) => options.held.has(partition))
    if (relay.isDue()) relay.add((await session.take(held, batchSizeMax, [...options.rowsUnderWay(), ...relay.inHand])).rows)
    return NO_ROWS
  }
  const inHand = sql === undefined ? options.rowsUnderWay() : [...options.rowsUnderWay(), ...sql.rows]
  return session.take(held, batchSizeMax, inHand)
}

/**
 * Notes at SQL commands of the log, or of a broker, that a copy of them is in hand or has come to an end: the call of a caller who did not wait
 * to the end, or the rest of a row that is taken again. To run such a handler only to find its outcome would take as long as it does.
 */
async function withCopies(collected: Collected, sql: SqlExecutor, options: CollectorOptions): Promise<Collected> {
  const carried = [...collected.left, ...collected.works].filter(
    ({ origin, envelope }) => (origin.from === 'log' || origin.from === 'carried') && sql.serves(envelope.service),
  )
  if (carried.length === 0) return collected
  const ids = carried.map(({ envelope }) => envelope.id)
  // Before it is asked for those that have ended: one may end meanwhile.
  const copied = new Set(ids.filter((id) => sql.inHand(id)))
  for (const id of await (await options.session()).ended(ids)) copied.add(id)
  if (copied.size === 0) return collected
  const noted = (work: Work): Work => {
    if (!copied.has(work.envelope.id)) return work
    const known: Work = { ...work, mayHaveRun: true }
    return options.carried?.replace(work, known) ?? known
  }
  return { ...collected, works: collected.works.map(noted), left: collected.left.map(noted) }
}

/** How often the SQL commands among these were begun; what becomes of the others is asked for where they run. */
async function countsOf(left: readonly Work[], sql: SqlExecutor, options: CollectorOptions): Promise<ReadonlyMap<string, number>> {
  const ids = left.filter(({ envelope }) => sql.serves(envelope.service)).map(({ envelope }) => envelope.id)
  return ids.length === 0 ? new Map() : (await options.session()).begunBefore(ids)
}

/**
 * The rows of a take that a dead owner has left, and the others. A partition without any such row has run what was left there, if all of its
 * rows were asked for.
 */
function leftBehind(
  { rows, more }: TakenLog,
  held: HeldPartitions,
  wasAsked: (partition: number) => boolean,
): [readonly LogRow[], readonly LogRow[]] {
  if (held.abandoned.size === 0) return [[], rows]
  const left = rows.filter((row) => held.isLeftBehind(row.partition, row.seq))
  const still = new Set(left.map((row) => row.partition))
  for (const partition of held.abandoned) if (wasAsked(partition) && !more.has(partition) && !still.has(partition)) held.cleared(partition)
  return [left, rows.filter((row) => !left.includes(row))]
}

/** The commands of parked keys whose time has come, in their order; a key without any left goes on as usual. */
async function takeDueParked(options: CollectorOptions): Promise<Pick<Collected, 'works' | 'left'>> {
  const { parking, now, crash } = options
  if (parking.due(now(), 1).length === 0) return NOTHING
  // The commit under way may be about to finish them.
  await options.settled()
  const due = parking.due(now(), PARKED_KEYS_MAX)
  const taken = await takeParked(due, await options.session(), parking, options)
  if (taken.works.length + taken.left.length > 0) await crash?.reach('retry.taken')
  return taken
}

/** Its caller has stopped waiting, while this process stood still perhaps, and has handed it on. */
function isLate({ origin }: Work, now: number): boolean {
  return origin.from === 'direct' && origin.deadline !== undefined && origin.deadline <= now
}

function isLeftBehind({ origin }: Work): boolean {
  return origin.from === 'carried' && origin.leftBehind
}

function worksOf({ seq, partition, commands }: LogRow): Work[] {
  return commands.map((envelope) => ({ envelope, partition, origin: { from: 'log', row: seq } }))
}
