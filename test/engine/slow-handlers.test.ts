// Handlers that are slow and not stuck: what they hold up is bounded, and nothing of it is lost, doubled or reordered.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BatchAborted, type EffectBatch, type EffectSession } from '../../src/ports/effect-store.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, exploding, toiling, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
  toiling.eachMs = 10
  toiling.ran.length = 0
  exploding.clear()
})
afterEach(() => bank.close())

/** Notes what was stored, and how many commands each commit held. */
const counted = (sizes: number[]) => (real: EffectSession) =>
  but(real, {
    commit: async (batch: EffectBatch) => {
      await real.commit(batch)
      sizes.push(batch.outcomes.length)
    },
  })

const namesOf = (isMeant: (partition: number) => boolean, count: number): string[] =>
  Array.from({ length: 200 }, (_, at) => `k${at}`)
    .filter((name) => isMeant(partitionOf(bank.slots, 'bank', name)))
    .slice(0, count)

const sent = (accounts: readonly string[], count: number): ReturnType<EngineDatabase['envelope']>[] =>
  Array.from({ length: count }, (_, at) => bank.envelope('toil', { account: accounts[at % accounts.length] ?? '', amount: 1 }))

test('a batch of slow handlers is stored in parts, each command once and in order', async () => {
  const commands = sent(['a', 'b', 'c'], 60)
  await bank.append(commands)
  const sizes: number[] = []
  await bank.engine(undefined, { session: counted(sizes) })
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  // 50 ms each, where a handler takes 10 ms.
  expect(Math.max(...sizes)).toBeLessThan(20)
  expect(toiling.ran.length).toBe(60)
  for (const account of ['a', 'b', 'c']) {
    const own = commands.filter(({ keys }) => keys[0] === account).map(({ id }) => id)
    expect(toiling.ran.filter((id) => own.includes(id))).toEqual(own)
  }
  expect(await bank.balances()).toEqual({ a: 20, b: 20, c: 20 })
})

test('a direct command that comes while a slow batch runs does not overtake it', async () => {
  await bank.append(sent(['a'], 30))
  const engine = await bank.engine()
  await until('some have run', () => toiling.ran.length > 5)
  expect(toiling.ran.length).toBeLessThan(30)
  expect(await bank.call(engine, 'look', { account: 'a', amount: 0 })).toMatchObject({ outcome: { body: '{"balance":30}' } })
})

test('partitions are given up in the middle of a slow batch, and the next owner runs what is left of theirs', async () => {
  const half = bank.partitions.length / 2
  const [mine, theirs] = [namesOf((partition) => partition < half, 3), namesOf((partition) => partition >= half, 3)]
  await bank.append(sent([...mine, ...theirs], 120))
  const left = await bank.engine()
  await until('some have run', () => toiling.ran.length > 5)
  await left.drop(bank.partitions.filter((partition) => partition >= half))
  expect(toiling.ran.length).toBeLessThan(60)
  await bank.engine(bank.partitions.filter((partition) => partition >= half))
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  expect(await bank.count('outcome')).toBe(120)
  expect(await bank.balances()).toEqual(Object.fromEntries([...mine, ...theirs].toSorted().map((account) => [account, 20])))
})

test('what was planned behind a batch that turns out slow does not overtake a command of it that fails', async () => {
  const [first, second] = [sent(['a'], 2), [...sent(['b'], 4), bank.envelope('explode', { account: 'x', amount: 0 })]]
  const [look, ...others] = ['x', 'y'].map((account) => bank.envelope('look', { account, amount: 0 }))
  const planned = new Set<string>()
  const isPlanned = (id: string | undefined) => until(`${id} is planned`, () => planned.has(id ?? ''))
  let commits = 0
  toiling.eachMs = 0
  exploding.add('x')
  await bank.append(first)
  await bank.engine(undefined, {
    overlapMin: 2,
    retry: { attempts: 1000 },
    session: (real) =>
      but(real, {
        encode: (batch) => {
          for (const { id } of batch.outcomes) planned.add(id)
          real.encode(batch)
        },
        commit: async (batch) => {
          commits += 1
          if (commits === 1) {
            // The second batch was planned in a moment, has to be planned again, and takes long then.
            await bank.append(second)
            await isPlanned(second[0]?.id)
            toiling.eachMs = 30
            throw new BatchAborted('conflict', 'somebody else was in the way')
          }
          if (batch.outcomes.some(({ id }) => id === second[0]?.id)) {
            await bank.append([look, ...others].filter((each) => each !== undefined))
            await isPlanned(look?.id)
          }
          return real.commit(batch)
        },
      }),
  })
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  exploding.delete('x')
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  const { rows } = await bank.client.query('select body from twofold._outcome where id = $1', [look?.id])
  expect(rows).toEqual([{ body: '{"balance":1000}' }])
})

test('slow commands of several owners hold their locks for a part of a batch only', async () => {
  const half = bank.partitions.length / 2
  const [from = '', to = ''] = [namesOf((partition) => partition < half, 1)[0], namesOf((partition) => partition >= half, 1)[0]]
  const commands = Array.from({ length: 60 }, () => bank.envelope('toilBoth', { from, to, amount: 1 }))
  await bank.append(commands)
  const batches: number[] = []
  const locking = (real: EffectSession): EffectSession =>
    but(real, {
      locked: (keys, fences, work) =>
        real.locked(keys, fences, (session) =>
          work({
            load: (loaded) => session.load(loaded),
            commit: async (batch) => {
              batches.push(batch.outcomes.length)
              await session.commit(batch)
            },
          }),
        ),
    })
  await bank.engine(
    bank.partitions.filter((partition) => partition < half),
    { session: locking },
  )
  await bank.engine(bank.partitions.filter((partition) => partition >= half))
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  expect(Math.max(...batches)).toBeLessThan(20)
  expect([await bank.balances(), toiling.ran]).toEqual([{ [from]: -60, [to]: 60 }, commands.map(({ id }) => id)])
})

test('what a dead owner left and is slow is stored in parts too, and nothing of it stays suspected', async () => {
  await bank.append(sent(['a', 'b'], 40))
  const sizes: number[] = []
  await bank.engine(undefined, { abandoned: true, session: counted(sizes) })
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  await until('nothing is suspected', async () => (await bank.count('_attempt')) === 0)
  expect(Math.max(...sizes)).toBeLessThan(20)
  expect([await bank.balances(), toiling.ran.length]).toEqual([{ a: 20, b: 20 }, 40])
})
