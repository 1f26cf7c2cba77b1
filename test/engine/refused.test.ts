// A batch is refused and run again while the next one is planned on top of it.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { DirectResult } from '../../src/ports/direct-carrier.ts'
import { BatchAborted, type EffectSession } from '../../src/ports/effect-store.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import type { Engine } from '../../src/stateful/engine/engine.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, exploding, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(async () => {
  exploding.clear()
  await bank.close()
})

const accounts = Array.from({ length: 40 }, (_, at) => `k${at}`)

/** Of each partition how many events there are, and the number of the last. */
async function eventCounts(): Promise<[string, string][]> {
  const { rows } = await bank.client.query<{ count: string; last: string }>(
    'select sum(count) as count, max(seq) as last from twofold._event group by partition',
  )
  return rows.map(({ count, last }) => [count, last])
}

/**
 * A batch with an answered command in it is refused, and found out about while `meanwhile` is planned on what seems to be there. Returns what
 * became of that.
 */
async function plannedWhileRefused(
  first: (engine: Engine) => Promise<DirectResult>[],
  meanwhile: (engine: Engine) => Promise<DirectResult>,
): Promise<DirectResult> {
  let planned = 0
  let answer: Promise<DirectResult> | undefined
  const engine: Engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        encode: (batch) => {
          planned += 1
          real.encode(batch)
        },
        recover: async (...asked) => {
          if (answer === undefined) {
            const before = planned
            answer = meanwhile(engine)
            await until('the next batch is planned', () => planned > before)
          }
          return real.recover(...asked)
        },
      }),
  })
  const answered = bank.envelope('credit', { account: 'k0', amount: 1 })
  await engine.call(answered, AbortSignal.timeout(10_000))
  // So many that the next batch does not wait for this one.
  await Promise.all([engine.call(answered, AbortSignal.timeout(10_000)), ...first(engine)])
  if (answer === undefined) throw new Error('the batch was not refused')
  return answer
}

const hundred = (engine: Engine, account = 'k0'): Promise<DirectResult>[] =>
  Array.from({ length: 100 }, () => bank.call(engine, 'credit', { account, amount: 1 }))

test('what is planned while a refused batch is run again leaves no gap behind its events', async () => {
  const neighbour = accounts.find(
    (each) => each !== 'k0' && partitionOf(bank.slots, 'bank', each) === partitionOf(bank.slots, 'bank', 'k0'),
  )
  const result = await plannedWhileRefused(hundred, (engine) => bank.call(engine, 'credit', { account: neighbour ?? '', amount: 1 }))
  expect(result).toMatchObject({ status: 'finished' })
  expect(await bank.balances()).toEqual({ k0: 101, [neighbour ?? '']: 1 })
  expect(await eventCounts()).toEqual([['102', '102']])
})

test('what is planned while a refused batch is run again does not overtake a command of it that fails', async () => {
  exploding.add('broken')
  const result = await plannedWhileRefused(
    (engine) => [...hundred(engine), bank.call(engine, 'explode', { account: 'broken', amount: 1 })],
    (engine) => bank.call(engine, 'look', { account: 'broken', amount: 1 }),
  )
  expect(result).toEqual({ status: 'held' })
})

test('what was planned behind a batch that is given back is given back too: it must not overtake', async () => {
  const refused = new Set<string>()
  let planned = 0
  let second: Promise<DirectResult> | undefined
  const engine: Engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        encode: (batch) => {
          planned += 1
          real.encode(batch)
        },
        commit: async (batch) => {
          if (!batch.outcomes.some(({ id }) => refused.has(id))) return real.commit(batch)
          if (second === undefined) {
            const before = planned
            second = bank.call(engine, 'credit', { account: 'k0', amount: 1 })
            await until('the next batch is planned', () => planned > before)
          }
          throw new BatchAborted('conflict', 'refused by this test')
        },
      }),
  })
  const envelopes = Array.from({ length: 100 }, () => bank.envelope('credit', { account: 'k0', amount: 1 }))
  for (const { id } of envelopes) refused.add(id)
  const results = await Promise.all(envelopes.map((envelope) => engine.call(envelope, AbortSignal.timeout(10_000))))
  expect(new Set(results.map(({ status }) => status))).toEqual(new Set(['deferred']))
  expect(await second).toEqual({ status: 'deferred' })
  expect(await bank.balances()).toEqual({})
})

/** The answer to the first commit that parks something is lost, and whoever connects anew finds nothing of it yet. */
function parkingInDoubt(): (real: EffectSession) => EffectSession {
  let isLost = false
  return (real) =>
    but(real, {
      commit: async (batch) => {
        await real.commit(batch)
        if (isLost || batch.parked.length === 0) return
        isLost = true
        throw new BatchAborted('lost', 'its answer is lost')
      },
      parkedHeads: (partitions) => (isLost ? Promise.resolve([]) : real.parkedHeads(partitions)),
    })
}

test('a command that is parked by a commit whose answer was lost, and which shows only later, is tried again', async () => {
  exploding.add('k0')
  const engine = await bank.engine(undefined, { session: parkingInDoubt() })
  const envelope = bank.envelope('explode', { account: 'k0', amount: 1 })
  expect(await engine.call(envelope, AbortSignal.timeout(10_000))).toEqual({ status: 'held' })
  exploding.clear()
  await until('it has an outcome', async () => (await bank.client.query('select 1 from twofold._outcome')).rowCount === 1, 5000)
  expect(await bank.balances()).toEqual({ k0: 1000 })
})

test('one that dies in such a commit holds its key all the same', async () => {
  exploding.add('k0')
  const engine = await bank.engine(undefined, { session: parkingInDoubt(), retry: { attempts: 1 }, afterDeath: 'park' })
  expect(await bank.call(engine, 'explode', { account: 'k0', amount: 1 })).toMatchObject({
    status: 'finished',
    outcome: { status: 'dead' },
  })
  expect(await bank.call(engine, 'credit', { account: 'k0', amount: 1 })).toEqual({ status: 'held' })
})
