// Parked keys as the database has them: which there are, and the commands of those whose time has come.
import type { EffectSession, ParkedCommand } from '../../ports/effect-store.ts'
import { cellKey } from './cells.ts'
import { dueAfter, type Parking } from './parking.ts'
import type { ParkedKey } from './plan-batch.ts'
import type { Work } from './work.ts'

/** How many commands of each key are taken up at a time, at least. */
const COMMANDS_MIN = 20

/** The commands of keys that are due, in their order; a key without any goes on as usual. `left`: of keys whose former owner died. */
export async function takeParked(
  due: readonly ParkedKey[],
  session: Pick<EffectSession, 'parked'>,
  parking: Parking,
  { now, batchSizeMax }: { readonly now: () => number; readonly batchSizeMax: number },
): Promise<{ readonly works: readonly Work[]; readonly left: readonly Work[] }> {
  // A key alone may fill the batch: it must catch up with what arrives behind it meanwhile.
  const limit = Math.max(COMMANDS_MIN, Math.floor(batchSizeMax / Math.max(1, due.length)))
  const commands = await session.parked(due, limit)
  const waiting = new Set(commands.map(homeOf))
  for (const key of due) if (!waiting.has(cellKey(key.service, key.key))) parking.delete(key)
  // One that died holds its key once it is the first: what was parked before it goes on, what is behind it waits for its release.
  const [dead, held] = [new Set<string>(), new Set<string>()]
  const ready: ParkedCommand[] = []
  const begun = new Set<string>()
  for (const command of commands) {
    const home = homeOf(command)
    if (command.dueAt === Infinity) held.add(home)
    if (command.dueAt === Infinity && !begun.has(home)) dead.add(home)
    if (!held.has(home)) ready.push(command)
    begun.add(home)
  }
  for (const key of due) {
    if (dead.has(cellKey(key.service, key.key))) parking.set({ ...key, dueAt: dueAfter(now(), Infinity) })
  }
  const [works, left]: [Work[], Work[]] = [[], []]
  const looks = new Map(due.map((key) => [cellKey(key.service, key.key), key]))
  for (const command of ready) {
    const { envelope, partition, seq, attempts, error } = command
    const look = looks.get(homeOf(command))
    if (look === undefined) continue
    const work: Work = { envelope, partition, origin: { from: 'parked', seq, attempts, error, look } }
    ;(look.leftBehind === true ? left : works).push(work)
  }
  return { works, left }
}

/** Notes the keys that wait, by their heads. */
export function noteParked(heads: readonly ParkedCommand[], abandoned: ReadonlySet<number>, parking: Parking, now: () => number): void {
  for (const { envelope, partition, dueAt } of heads) {
    const looked = dueAt === Infinity ? dueAfter(now(), Infinity) : dueAt
    const key = envelope.keys[0] ?? ''
    parking.load({ service: envelope.service, key, partition, dueAt: looked, leftBehind: abandoned.has(partition) })
  }
}

function homeOf({ envelope }: ParkedCommand): string {
  return cellKey(envelope.service, envelope.keys[0] ?? '')
}
