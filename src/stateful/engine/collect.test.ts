// When what a dead owner left has run: until then commands of its partition run under watch.
import { expect, test } from 'vitest'
import type { EffectSession, TakenLog } from '../../ports/effect-store.ts'
import type { SqlExecutor } from '../sql/executor.ts'
import { collect } from './collect.ts'
import { HeldPartitions } from './held-partitions.ts'
import { Mailbox } from './mailbox.ts'
import { Parking } from './parking.ts'

/** What is abandoned after a look at the log that finds `found`, of partitions 1 to 4 whose owner died. */
async function abandonedAfter(sql: Pick<SqlExecutor, 'isFull' | 'watching'>, found: TakenLog): Promise<number[]> {
  const held = new HeldPartitions()
  for (const partition of [1, 2, 3, 4]) held.take(partition, '1', 0, 100n)
  await collect({
    runners: new Map(),
    held,
    parking: new Parking(),
    mailbox: new Mailbox(10),
    sql: { rows: [], givenBack: 0, serves: () => true, ...sql } as unknown as SqlExecutor,
    carried: undefined,
    relay: undefined,
    batchSizeMax: 10,
    overlapMin: 10,
    now: () => 1000,
    mayWrite: () => true,
    mustRead: false,
    session: () => Promise.resolve({ take: () => Promise.resolve(found) } as unknown as EffectSession),
    rowsUnderWay: () => [],
    isIdle: () => true,
    settled: () => Promise.resolve(),
    taken: () => undefined,
  })
  return [...held.abandoned]
}

test('a partition is under watch as long as anything that was left there may wait in the log, or is in hand', async () => {
  const idle = { isFull: () => false, watching: new Set<number>() }
  const rows = [{ seq: '100', partition: 4, commands: [] }]
  expect(await abandonedAfter(idle, { rows, more: new Set([3]) })).toEqual([3, 4])
  // It is not read on, so it is not known what of it waits.
  expect(await abandonedAfter({ ...idle, isFull: (partition) => partition === 1 }, { rows: [], more: new Set() })).toEqual([1])
  expect(await abandonedAfter({ ...idle, watching: new Set([2]) }, { rows: [], more: new Set() })).toEqual([2])
})
