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
  /** What this very process has begun so far: when it is run again, it was a connection that ended and not the process. */
  readonly begunHere: Set<string>
  /** Waits until these may run, `alone` or beside handlers of SQL commands; what it returns lets others go on. Undefined: they are not ours any more. */
  readonly turn: (works: readonly Work[], alone: boolean) => Promise<(() => void) | undefined>
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
export async function runLeftBehind(
  left: readonly Work[],
  { session, committer, begunHere, turn, crash, shared }: LeftBehindOptions,
): Promise<boolean> {
  const again = left.map(({ envelope }) => envelope.id).filter((id) => begunHere.has(id))
  if (again.length > 0) await session.survived(again)
  const before = await session.begunBefore(left.map(({ envelope }) => envelope.id))
  for (const { works, rows, isSuspect } of groupsOf(left, ({ envelope }) => before.has(envelope.id), shared)) {
    const end = await turn(works, isSuspect)
    if (end === undefined) return false
    try {
      const ids = works.map(({ envelope }) => envelope.id)
      for (const id of ids) begunHere.add(id)
      await session.began(ids)
      await crash?.reach('left-behind.begun')
      const begun = works.map((work) => ({ ...work, begun: (before.get(work.envelope.id) ?? 0) + 1 }))
      const { givenBack } = committer
      await committer.commit(await committer.prepare(begun, rows))
      if (committer.givenBack !== givenBack) return false
      await crash?.reach('left-behind.run')
      await session.survived(ids)
      for (const id of ids) begunHere.delete(id)
    } finally {
      end()
    }
  }
  return true
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
