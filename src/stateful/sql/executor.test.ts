// What SQL commands in hand wait for, and what must not wait for them.
import { expect, test } from 'vitest'
import { z } from 'zod'
import { command, defineContract, statefulSql } from 'twofold'
import { within } from '../../../test/support/within.ts'
import { BatchAborted, type EffectBatch } from '../../ports/effect-store.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import type { SqlSession, Standing } from '../../ports/sql-store.ts'
import { HeldPartitions } from '../engine/held-partitions.ts'
import { Parking } from '../engine/parking.ts'
import { settle, type Origin, type Work } from '../engine/work.ts'
import type { AnyStatefulSql } from '../stateful-sql.ts'
import { SqlExecutor } from './executor.ts'

const shop = defineContract('shop', { commands: { act: command({ input: z.object({ key: z.string() }), key: (given) => given.key }) } })

const NOW = 1_700_000_000_000
const parkedStanding: Standing = { outcome: undefined, parked: true, claim: undefined }
const succeeded: StoredOutcome = {
  id: '0190b1d2-7000-7000-8000-ffffffffffff',
  service: 'shop',
  command: 'act',
  status: 'succeeded',
  code: undefined,
  body: undefined,
  version: 0,
  partition: 1,
  eventSeq: 0,
  finishedAt: new Date(NOW),
}

interface Given {
  readonly begin?: () => Promise<Standing>
  readonly handler?: () => Promise<void>
  readonly connectionsMax?: number
  readonly commit?: () => Promise<void>
  readonly commitWithout?: (batch: EffectBatch) => Promise<void>
  readonly behind?: (works: readonly Work[]) => void
}

/** An executor whose sessions answer at once, and store nothing. */
function scene({
  begin = async () => parkedStanding,
  handler = async () => undefined,
  connectionsMax = 8,
  commit,
  commitWithout,
  behind = () => undefined,
}: Given) {
  const cuts: string[] = []
  const stored: EffectBatch[] = []
  const session: SqlSession = {
    began: async () => undefined,
    begin,
    beginLater: () => undefined,
    hasBegun: true,
    waitsForKeys: false,
    mustNotBeRefused: () => undefined,
    transaction: { query: async () => ({ rows: [], rowCount: 0 }) },
    trouble: undefined,
    asksAgain: () => false,
    commit: commit ?? (async (batch) => void stored.push(batch)),
    commitWithout: commitWithout ?? (async (batch) => void stored.push(batch)),
    rollback: async () => undefined,
    look: async () => ({ lastEvent: 0, rowWaits: true }),
    cut: async () => void cuts.push('cut'),
    usable: true,
    close: async () => undefined,
  }
  const [held, parking] = [new HeldPartitions(), new Parking()]
  for (const partition of [1, 2]) held.take(partition, '1', 0, undefined)
  const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
  const executor = new SqlExecutor(
    {
      sides: [statefulSql(shop, { handlers: { act: handler as () => Promise<undefined> } }) as unknown as AnyStatefulSql],
      store: { open: async () => session },
      connectionsMax,
      handlerMs: 60_000,
      log: silent,
      now: () => NOW,
      mayWrite: () => true,
      carriedMsMax: undefined,
    },
    { held, parking, fenced: () => undefined, ring: () => undefined, behind },
  )
  return { executor, parking, cuts, stored }
}

function parked(seq: string, attempts: number): Origin {
  return { from: 'parked', seq, attempts, look: { service: 'shop', key: 'a', partition: 1, dueAt: 0 } }
}

let ids = 0

function work(key: string, partition: number, origin: Origin): Work {
  ids += 1
  const id = `0190b1d2-7000-7000-8000-${ids.toString(16).padStart(12, '0')}`
  return { envelope: { id, service: 'shop', command: 'act', keys: [key], input: JSON.stringify({ key }) }, partition, origin }
}

test('a row whose other commands wait for PostgreSQL does not hold up a stop', async () => {
  const { executor } = scene({})
  executor.addRow('1', [work('a', 1, { from: 'log', row: '1' })], new Promise(() => undefined))
  await within('it has stopped', executor.stop())
  expect(executor.rows).toEqual([])
})

test('a partition is given up without waiting for the connections that handlers of another one have', async () => {
  const [running, hold] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const handler = async (): Promise<void> => {
    running.resolve()
    await hold.promise
  }
  const { executor } = scene({ handler, connectionsMax: 1 })
  executor.addParked({ service: 'shop', key: 'a', partition: 1, dueAt: 0 }, [work('a', 1, parked('1', 1))])
  await running.promise
  const second = work('b', 2, parked('2', 1))
  executor.addParked({ service: 'shop', key: 'b', partition: 2, dueAt: 0 }, [second])
  // Not before it waits for the one connection.
  await new Promise(setImmediate)
  await within('the partition is given up', executor.leave([2]))
  expect(executor.inHand(second.envelope.id)).toBe(false)
  hold.resolve()
  await executor.stop()
})

test('a partition is given up without waiting for a key that is locked elsewhere', async () => {
  const begun = Promise.withResolvers<void>()
  const begin = (): Promise<Standing> => {
    begun.resolve()
    return new Promise(() => undefined)
  }
  const { executor, cuts } = scene({ begin })
  executor.addParked({ service: 'shop', key: 'a', partition: 1, dueAt: 0 }, [work('a', 1, parked('1', 1))])
  await begun.promise
  await within('the partition is given up', executor.leave([1]))
  expect(cuts).toEqual(['cut'])
  await executor.stop()
})

test('a parked command that still runs is not taken up a second time when those around it are given back', async () => {
  const [running, hold] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const handler = async (): Promise<void> => {
    running.resolve()
    await hold.promise
  }
  const { executor, parking } = scene({ handler })
  const works = [work('a', 1, parked('1', 1)), work('a', 1, parked('2', 0))]
  executor.addParked({ service: 'shop', key: 'a', partition: 1, dueAt: 0 }, works)
  await running.promise
  executor.addRow('9', [work('b', 1, { from: 'log', row: '9' })], Promise.resolve(false))
  await expect.poll(() => executor.rows).toEqual([])
  expect(parking.due(NOW + 3_600_000, 10)).toEqual([])
  hold.resolve()
  await expect.poll(() => parking.due(NOW + 3_600_000, 10)).toMatchObject([{ key: 'a' }])
  expect(executor.inHand(works[0]?.envelope.id ?? '')).toBe(false)
  await executor.stop()
})

test('a row whose other commands were not stored goes back at once, whoever has its keys', async () => {
  const [running, hold] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const handler = async (): Promise<void> => {
    running.resolve()
    await hold.promise
  }
  const { executor } = scene({ handler })
  executor.addDirect(work('a', 1, { from: 'direct', settle: () => undefined }))
  await running.promise
  const stored = Promise.withResolvers<boolean>()
  const { givenBack } = executor
  executor.addRow('9', [work('a', 1, { from: 'log', row: '9' })], stored.promise)
  stored.resolve(false)
  // Before the log is read again.
  await new Promise(setImmediate)
  expect([executor.rows, executor.givenBack]).toEqual([[], givenBack + 1])
  hold.resolve()
  await executor.stop()
})

test('a key that is locked elsewhere again and again is no failure of the command, however often', async () => {
  let busy = 0
  const begin = async (): Promise<Standing> => {
    busy += 1
    if (busy <= 30) throw new BatchAborted('conflict', 'canceling statement due to lock timeout')
    return parkedStanding
  }
  const { executor, parking, stored } = scene({ begin })
  parking.set({ service: 'shop', key: 'a', partition: 1, dueAt: NOW })
  executor.addParked({ service: 'shop', key: 'a', partition: 1, dueAt: 0 }, [work('a', 1, parked('1', 1))])
  await expect
    .poll(() => stored, { timeout: 10_000 })
    .toMatchObject([{ outcomes: [{ status: 'succeeded' }], retried: [], deadLetters: [] }])
  await executor.stop()
})

test('of two copies of an SQL command in hand the second is looked up before its handler runs', async () => {
  const [running, hold] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let runs = 0
  const handler = async (): Promise<void> => {
    runs += 1
    running.resolve()
    await hold.promise
  }
  const begin = async (): Promise<Standing> => ({ ...parkedStanding, parked: false, outcome: succeeded })
  const { executor } = scene({ handler, begin })
  const first = Promise.withResolvers<DirectResult>()
  const second = Promise.withResolvers<DirectResult>()
  const one = work('a', 1, { from: 'direct', settle: first.resolve })
  executor.addDirect(one)
  await running.promise
  executor.addDirect({ ...one, origin: { from: 'direct', settle: second.resolve } })
  hold.resolve()
  expect([(await first.promise).status, await second.promise, runs]).toEqual(['finished', { status: 'finished', outcome: succeeded }, 1])
  await executor.stop()
})

test('an SQL command that was put back behind the log is looked up before its handler runs again', async () => {
  let runs = 0
  const handler = async (): Promise<void> => void (runs += 1)
  const begin = async (): Promise<Standing> => ({ ...parkedStanding, parked: false, outcome: succeeded })
  const commit = async (): Promise<void> => {
    if (runs === 1) throw new BatchAborted('behind', 'something waits in the log')
  }
  const back: Work[] = []
  const { executor } = scene({ handler, begin, commit, behind: (works) => void back.push(...works) })
  const { promise, resolve } = Promise.withResolvers<DirectResult>()
  executor.addDirect(work('a', 1, { from: 'direct', settle: resolve }), 0)
  await expect.poll(() => back.length).toBe(1)
  // Its copy was in the log, and has run meanwhile.
  for (const one of back) executor.addDirect(one)
  expect([await promise, runs]).toEqual([{ status: 'finished', outcome: succeeded }, 1])
  await executor.stop()
})

test.each(['given back while PostgreSQL is away', 'put back behind the log, and given back from there'])(
  'an SQL command whose COMMIT may be stored is not told as one that has not begun: %s',
  async (how) => {
    const failures = [new BatchAborted('lost', 'no answer'), new BatchAborted('behind', 'something waits in the log')]
    const commit = (): Promise<void> => Promise.reject(failures.shift() ?? new Error('not a third time'))
    const isAway = how.startsWith('given')
    const begin = async (): Promise<Standing> => {
      if (isAway) throw new BatchAborted('lost', 'PostgreSQL is away')
      return { ...parkedStanding, parked: false }
    }
    const behind = (works: readonly Work[]): void => works.forEach((one) => settle(one, { status: 'deferred' }))
    const { executor } = scene({ begin, commit, behind })
    const { promise, resolve } = Promise.withResolvers<DirectResult>()
    executor.addDirect(work('a', 1, { from: 'direct', settle: resolve }), isAway ? undefined : 0)
    expect(await promise).toEqual({ status: 'deferred', begun: true })
    await executor.stop()
  },
)

test('an SQL command whose COMMIT was refused is told as one that has not begun', async () => {
  const { executor } = scene({ commit: () => Promise.reject(new BatchAborted('fenced', 'somebody else owns it')) })
  const { promise, resolve } = Promise.withResolvers<DirectResult>()
  executor.addDirect(work('a', 1, { from: 'direct', settle: resolve }))
  expect(await promise).toEqual({ status: 'deferred' })
  await executor.stop()
})

test.each([
  ['conflict', 1],
  ['fenced', 2],
] as const)(
  'what was begun here and could not be taken back (%s) does not count again, unless it is another owner’s',
  async (failure, begun) => {
    const [running, hold] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const handler = async (): Promise<void> => {
      running.resolve()
      await hold.promise
    }
    const { executor } = scene({ handler, commitWithout: () => Promise.reject(new BatchAborted(failure, 'not now')) })
    const left = executor.watched(work('a', 1, { from: 'log', row: '1' }), 0)
    expect(left.begun).toBe(1)
    executor.addRow('1', [left])
    await running.promise
    expect([...executor.watching]).toEqual([1])
    await executor.leave([1])
    expect([executor.watched(left, 1).begun, executor.watched(left, 1).begun, executor.watching.size]).toEqual([begun, 2, 0])
    await executor.stop()
  },
)
