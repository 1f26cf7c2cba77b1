// What an owner that died had in hand may be what ended it: a handler that never returns, or one that ends its process. So the commands it
// left run under watch: that they begin is stored before, and what was begun before runs alone.
//
// A batch of unknown commands costs one more statement than usual. Only when its process dies too are they suspects, and run one by one;
// the culprit is the one that is begun again and again, and dies as a dead letter after `BEGUN_MAX` of these runs. Its neighbours survive
// their lonely run and are forgotten. Running all of them one by one at once would need one death less, and minutes for a large backlog.
import type { EffectSession } from '../../ports/effect-store.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Committer } from './commit-works.ts'
import type { Work } from './work.ts'

export interface LeftBehindOptions {
  readonly session: EffectSession
  readonly committer: Committer
  /** What this very process has begun and not brought to an end: when it is run again, it was a connection that ended and not the process. */
  readonly begunHere: Set<string>
  /** Waits until these may run, `alone` or beside handlers of SQL commands; what it returns lets others go on. Undefined: they are not ours any more. */
  readonly turn: (works: readonly Work[], alone: boolean) => Promise<(() => void) | undefined>
  /** False: its partition was lost, and it was not run to its end here. */
  readonly isOurs: (work: Work) => boolean
  /** Others wait for this lane: what has not begun goes back to where it came from. */
  readonly mustPause: () => boolean
  readonly crash?: CrashPoints | undefined
  /** Rows that others consume, because they hold commands of SQL services too. */
  readonly shared?: ReadonlySet<string> | undefined
}

interface Group {
  readonly isSuspect: boolean
  readonly works: Work[]
  readonly rows: string[]
}

/** Runs them in order, one group after the other. False: something was given back, and nothing may overtake it. */
export async function runLeftBehind(left: readonly Work[], options: LeftBehindOptions): Promise<boolean> {
  const { session, begunHere, turn, crash, shared } = options
  await takeBack(session, begunHere, [...begunHere])
  const before = await session.begunBefore(left.map(({ envelope }) => envelope.id))
  for (const { works, rows, isSuspect } of groupsOf(left, ({ envelope }) => before.has(envelope.id), shared)) {
    const end = await turn(works, isSuspect)
    if (end === undefined) return false
    const ids = works.map(({ envelope }) => envelope.id)
    try {
      for (const id of ids) begunHere.add(id)
      await session.began(ids)
      await crash?.reach('left-behind.begun')
      const begun = works.map((work) => ({ ...work, begun: (before.get(work.envelope.id) ?? 0) + 1 }))
      if (!(await haveRun(begun, rows, options))) return false
      await crash?.reach('left-behind.run')
      await session.survived(ids)
      for (const id of ids) begunHere.delete(id)
    } finally {
      end()
      // Whoever serves these partitions next must not hold it against them. Where the connection is gone that is done on the next one.
      await takeBack(session, begunHere, ids).catch(() => undefined)
    }
  }
  return true
}

/** In one batch or, where they are slow, in several. False: some of it was given back. */
async function haveRun(
  works: readonly Work[],
  rows: readonly string[],
  { committer, mustPause, isOurs }: LeftBehindOptions,
): Promise<boolean> {
  const { givenBack } = committer
  let rest: Pick<Group, 'works' | 'rows'> = { works: [...works], rows: [...rows] }
  while (rest.works.length + rest.rows.length > 0) {
    if (mustPause()) return false
    const pieces = await committer.commit(await committer.prepare(rest.works, rest.rows), true)
    if (committer.givenBack !== givenBack) return false
    rest = { works: pieces.flatMap((piece) => piece.works), rows: pieces.flatMap((piece) => piece.consumed) }
  }
  return works.every(isOurs)
}

/** These were begun here, and this process is still there: whether they have run or not, that was no run that ended it. */
export async function takeBack(session: Pick<EffectSession, 'takeBack'>, begunHere: Set<string>, ids: readonly string[]): Promise<void> {
  const begun = ids.filter((id) => begunHere.has(id))
  if (begun.length === 0) return
  await session.takeBack(begun)
  for (const id of begun) begunHere.delete(id)
}

/** Suspects alone, the others together, all in their order. A log row is consumed by the group that has its last command. */
function groupsOf(works: readonly Work[], wasBegun: (work: Work) => boolean, shared?: ReadonlySet<string>): Group[] {
  const groups: Group[] = []
  const lastGroup = new Map<string, Group>()
  let open: Group | undefined
  for (const work of works) {
    const isSuspect = wasBegun(work)
    let group = isSuspect ? undefined : open
    if (group === undefined) groups.push((group = { isSuspect, works: [], rows: [] }))
    open = isSuspect ? undefined : group
    group.works.push(work)
    if (work.origin.from === 'log') lastGroup.set(work.origin.row, group)
  }
  for (const [row, group] of lastGroup) if (shared?.has(row) !== true) group.rows.push(row)
  return groups
}
