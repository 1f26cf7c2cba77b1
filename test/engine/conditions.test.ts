// What If-Match and If-None-Match demand travels with the command and is decided where the state is, whichever way the command came.
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import type { Condition } from '../../src/contract/condition.ts'
import type { Envelope } from '../../src/contract/envelope.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import { until } from '../e2e/program.ts'
import { engineDatabase, exploding, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())
afterAll(() => exploding.clear())

const on = (condition: Condition, ...given: Parameters<EngineDatabase['envelope']>): Envelope => ({ ...bank.envelope(...given), condition })

const outcomesOf = async (...envelopes: Envelope[]): Promise<unknown[]> => {
  const text = 'select status, code, version::int from twofold.outcome where id = any($1) order by id'
  return (await bank.client.query(text, [envelopes.map(({ id }) => id)])).rows
}

const FAILED = { status: 'rejected', code: 'PRECONDITION_FAILED' }

test('of several that create an entity one does, also where its handler leaves the state as it begins', async () => {
  const engine = await bank.engine()
  const create = (): Promise<unknown> => engine.call(on('absent', 'look', { account: 'a', amount: 0 }), AbortSignal.timeout(10_000))
  expect(await Promise.all([create(), create()])).toMatchObject([
    { outcome: { status: 'succeeded', version: 1 } },
    { outcome: { ...FAILED, version: 1 } },
  ])
  expect([await create(), await bank.balances()]).toMatchObject([{ outcome: { ...FAILED, version: 1 } }, { a: 0 }])
  const present = engine.call(on({ versions: [1] }, 'credit', { account: 'a', amount: 1 }), AbortSignal.timeout(10_000))
  expect(await present).toMatchObject({ outcome: { status: 'succeeded', version: 2 } })
})

test('a command whose condition only a newer program knows waits alone, for that one', async () => {
  const engine = await bank.engine()
  const make = bank.envelope('credit', { account: 'a', amount: 1 })
  await bank.append([make, on({ dates: [1] } as unknown as Condition, 'credit', { account: 'a', amount: 1 })])
  await until('it is parked', async () => (await bank.count('_parked')) === 1)
  expect(await bank.call(engine, 'credit', { account: 'b', amount: 1 })).toMatchObject({ status: 'finished' })
  expect([await bank.balances(), await bank.count('dead_letter')]).toEqual([{ a: 1, b: 1 }, 0])
})

test('of commands in the log that saw the same version one succeeds', async () => {
  const make = on('absent', 'credit', { account: 'a', amount: 1 })
  const rivals = [1, 2].map((amount) => on({ versions: [1] }, 'credit', { account: 'a', amount }))
  await bank.append([make, ...rivals])
  await bank.engine()
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  expect(await outcomesOf(make, ...rivals)).toEqual([
    { status: 'succeeded', code: null, version: 1 },
    { status: 'succeeded', code: null, version: 2 },
    { ...FAILED, version: 2 },
  ])
  expect(await bank.balances()).toEqual({ a: 2 })
})

test('a command of several keys with several owners looks at its home key, on the state that it has locked', async () => {
  const half = bank.partitions.length / 2
  const [left, right] = [await bank.engine(bank.partitions.slice(0, half)), await bank.engine(bank.partitions.slice(half))]
  const names = Array.from({ length: 40 }, (_, at) => `k${at}`)
  const from = names.find((name) => partitionOf(bank.slots, 'bank', name) < half) ?? ''
  const to = names.find((name) => partitionOf(bank.slots, 'bank', name) >= half) ?? ''
  await bank.call(left, 'credit', { account: from, amount: 10 })
  await bank.call(right, 'credit', { account: to, amount: 10 })
  await bank.call(right, 'credit', { account: to, amount: 10 })
  // Somebody else writes the home key: what the owner has in memory is not what is there.
  await bank.client.query(`update twofold._entity set version = 5 where key = $1`, [from])
  const stale = on({ versions: [1] }, 'move', { from, to, amount: 1 })
  const fresh = on({ versions: [5] }, 'move', { from, to, amount: 1 })
  expect(await left.call(stale, AbortSignal.timeout(10_000))).toMatchObject({ outcome: { ...FAILED, version: 5 } })
  expect(await left.call(fresh, AbortSignal.timeout(10_000))).toMatchObject({ outcome: { status: 'succeeded', version: 6 } })
  expect(await bank.balances()).toEqual({ [from]: 9, [to]: 21 })
})

test('a command that failed, and those that wait behind it, are held against the version that is there when they run', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 1000 } })
  await bank.call(engine, 'credit', { account: 'p', amount: 1 })
  exploding.add('p')
  const head = on({ versions: [1] }, 'explode', { account: 'p', amount: 0 })
  const behind = [
    on({ versions: [1] }, 'credit', { account: 'p', amount: 5 }),
    on({ versions: [2] }, 'credit', { account: 'p', amount: 7 }),
  ]
  await bank.append([head, ...behind])
  await until('the key is parked', async () => (await bank.count('parked')) === 3)
  exploding.delete('p')
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  expect(await outcomesOf(head, ...behind)).toEqual([
    { status: 'succeeded', code: null, version: 2 },
    { ...FAILED, version: 2 },
    { status: 'succeeded', code: null, version: 3 },
  ])
})

test('a version that changed between a failed attempt and the next is seen', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 1000 } })
  await bank.call(engine, 'credit', { account: 'q', amount: 1 })
  exploding.add('q')
  const head = on({ versions: [1] }, 'explode', { account: 'q', amount: 0 })
  await bank.append([head])
  await until('the key is parked', async () => (await bank.count('parked')) === 1)
  await bank.client.query(`update twofold._entity set version = 7 where key = 'q'`)
  exploding.delete('q')
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  expect([await outcomesOf(head), await bank.balances()]).toEqual([[{ ...FAILED, version: 7 }], { q: 1 }])
})

test('what was removed does not exist: no version of it is current, and it may be created again, with a version of its own', async () => {
  const engine = await bank.engine()
  await bank.call(engine, 'credit', { account: 'r', amount: 1 })
  await bank.client.query(`update twofold._entity set version = 2, state = null where key = 'r'`)
  const ask = (condition: Condition): Promise<unknown> =>
    engine.call(on(condition, 'credit', { account: 'r', amount: 4 }), AbortSignal.timeout(10_000))
  expect(await ask({ versions: [2] })).toMatchObject({ outcome: { ...FAILED, version: 0 } })
  expect(await ask('present')).toMatchObject({ outcome: { ...FAILED, version: 0 } })
  expect(await ask('absent')).toMatchObject({ outcome: { status: 'succeeded', version: 3, body: '{"balance":4}' } })
})
