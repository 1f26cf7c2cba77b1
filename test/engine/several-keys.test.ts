// Commands of several keys: together or not at all, without deadlock, fair, and right also about what does not exist yet.
import pg from 'pg'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { DirectResult } from '../../src/ports/direct-carrier.ts'
import { emptyBatch, type EffectBatch } from '../../src/ports/effect-store.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import type { Engine } from '../../src/stateful/engine/engine.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())

const isFirsts = (account: string): boolean => partitionOf(bank.slots, 'bank', account) < bank.partitions.length / 2

/** So many accounts of the first owner, or of the second one. */
function accountsOf(owner: 'first' | 'second', count: number): string[] {
  const accounts: string[] = []
  for (let at = 0; accounts.length < count; at += 1) if (isFirsts(`account-${at}`) === (owner === 'first')) accounts.push(`account-${at}`)
  return accounts
}

async function twoOwners(): Promise<[Engine, Engine]> {
  const half = bank.partitions.length / 2
  return [await bank.engine(bank.partitions.slice(0, half)), await bank.engine(bank.partitions.slice(half))]
}

test('sixteen keys of two owners change together, with their home at either of them', async () => {
  const [first, second] = await twoOwners()
  const accounts = [...accountsOf('first', 8), ...accountsOf('second', 8)]
  const spread = (engine: Engine, of: string[]): Promise<DirectResult> => bank.call(engine, 'spread', { accounts: of, amount: 1 })
  const results = await Promise.all([
    ...Array.from({ length: 20 }, () => spread(first, accounts)),
    ...Array.from({ length: 20 }, () => spread(second, accounts.toReversed())),
  ])
  expect(results.map((result) => result.status === 'finished' && result.outcome.status)).toEqual(results.map(() => 'succeeded'))
  expect(await bank.balances()).toEqual(Object.fromEntries(accounts.map((account) => [account, 40])))
})

test('a key that is named twice in one command is one state', async () => {
  const engine = await bank.engine()
  await bank.call(engine, 'spread', { accounts: ['a', 'b', 'a'], amount: 3 })
  expect(await bank.balances()).toEqual({ a: 3, b: 3 })
  await bank.call(engine, 'move', { from: 'a', to: 'a', amount: 2 })
  expect(await bank.balances()).toEqual({ a: 3, b: 3 })
})

test('two owners who move to and fro between the same keys lock nobody out, and nobody starves', { timeout: 120_000 }, async () => {
  const engines = await twoOwners()
  const [x = '', y = ''] = [...accountsOf('first', 1), ...accountsOf('second', 1)]
  for (const [at, account] of [x, y].entries()) await bank.call(engines[at] as Engine, 'credit', { account, amount: 1_000_000 })
  const CLIENTS = 8
  const COMMANDS = 400
  const endsAt = performance.now() + 15_000
  const done = engines.map(() => Array.from({ length: CLIENTS }, () => 0))
  let total = 0
  const client = async (owner: number, at: number): Promise<void> => {
    const [from, to] = owner === 0 ? [x, y] : [y, x]
    while (total < COMMANDS && performance.now() < endsAt) {
      // The fixture gives each command 10 s; whoever waits longer fails here.
      expect(await bank.call(engines[owner] as Engine, 'move', { from, to, amount: 1 })).toMatchObject({ status: 'finished' })
      total += 1
      const own = done[owner] ?? []
      own[at] = (own[at] ?? 0) + 1
    }
  }
  await Promise.all(done.flatMap((own, owner) => own.map((_, at) => client(owner, at))))
  const shares = done.map((own) => own.reduce((sum, each) => sum + each, 0))
  expect(Math.min(...shares), `done by the two owners: ${shares.join(' and ')}`).toBeGreaterThan(total / 5)
  const mean = total / (2 * CLIENTS)
  expect(Math.min(...done.flat()), `done for each client: ${done.flat().join(' ')}`).toBeGreaterThan(mean / 4)
  // Statistics are told when a connection ends.
  for (const engine of engines) await engine.stop()
  const { rows } = await bank.client.query('select deadlocks::int from pg_stat_database where datname = current_database()')
  expect(rows).toEqual([{ deadlocks: 0 }])
  expect(Object.values(await bank.balances()).reduce((sum, each) => sum + each, 0)).toBe(2_000_000)
})

// Rule 17
test('keys of several owners are locked in one order, whatever order a command names them in', async () => {
  const [first] = await twoOwners()
  const [low = '', middle = '', high = ''] = [...accountsOf('first', 2), ...accountsOf('second', 1)].toSorted()
  const named = [high, middle, low].toSorted((a, b) => Number(isFirsts(b)) - Number(isFirsts(a)))
  await bank.client.query(`insert into twofold._entity select 'bank', key, 1, 1, '{"balance":0}' from unnest($1::text[]) key`, [named])
  const rival = new pg.Client({ connectionString: bank.url })
  await rival.connect()
  await rival.query('begin')
  await rival.query('select 1 from twofold._entity where key = $1 for update', [middle])
  const call = bank.call(first, 'spread', { accounts: named, amount: 1 })
  await until('it waits for the one in the middle', () => waiting('twofold locks %'))
  const { rows } = await bank.client.query('select key from twofold._entity where key <> $1 for update skip locked', [middle])
  await rival.end()
  expect(rows).toEqual([{ key: high }])
  expect(await call).toMatchObject({ status: 'finished' })
})

test('a key that conflicted is locked before it is read for 30 s, and read as usual after that', async () => {
  let locked = 0
  let rival = false
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        locked: (...given) => {
          locked += 1
          return real.locked(...given)
        },
        commit: async (batch) => {
          if (rival) await bank.client.query('update twofold._entity set version = version + 1')
          rival = false
          await real.commit(batch)
        },
      }),
  })
  const credit = async (): Promise<unknown> => bank.call(engine, 'credit', { account: 'a', amount: 1 })
  await credit()
  expect(locked).toBe(0)
  rival = true
  await credit()
  expect(locked).toBe(1)
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 29_000 })
  try {
    await credit()
    expect(locked).toBe(2)
    vi.setSystemTime(Date.now() + 2000)
    await credit()
    expect(locked).toBe(2)
  } finally {
    vi.useRealTimers()
  }
  expect(await bank.balances()).toEqual({ a: 4 })
})

const nothing: EffectBatch = { ...emptyBatch, fences: [{ partition: 0, epoch: '0' }] }

const waiting = async (name: string): Promise<boolean> => {
  const text = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and application_name like $1`
  return ((await bank.client.query(text, [name])).rowCount ?? 0) > 0
}

test('keys that do not exist yet are locked as well: no two commands decide on each other’s absence', async () => {
  const [one, two] = [await bank.store().open(), await bank.store().open()]
  const keys = ['a', 'b'].map((key) => ({ service: 'bank', key }))
  const write = { service: 'bank', from: 0, version: 1, shape: 1, state: '{"balance":1}' }
  const order: string[] = []
  try {
    let second: Promise<unknown> = Promise.resolve()
    await one.locked(keys, [], async (locked) => {
      second = two.locked(keys.slice(1), [], async (other) => {
        order.push(`second sees ${(await other.load(keys.slice(1))).length}`)
      })
      second.catch(() => undefined)
      await until('the second waits, or is through', async () => order.length > 0 || (await waiting('twofold locks %')))
      order.push('first writes')
      await locked.commit({ ...nothing, writes: keys.map((key) => ({ ...write, ...key })) })
    })
    await expect(second).rejects.toMatchObject({ failure: 'conflict' })
    expect(order).toEqual(['first writes'])
  } finally {
    await Promise.all([one.close(), two.close()])
  }
})

test('a batch that was decided on a missing key is not stored when somebody is just making that key', async () => {
  const [maker, decider] = [await bank.store().open(), await bank.store().open()]
  const a = { service: 'bank', key: 'a' }
  try {
    let decided: Promise<unknown> = Promise.resolve()
    await maker.locked([a], [], async (locked) => {
      const own = { service: 'bank', key: 'b', from: 0, version: 1, shape: 1, state: '{"balance":1}' }
      let over = false
      decided = decider.commit({ ...nothing, reads: [{ ...a, version: 0 }], writes: [own] }).finally(() => (over = true))
      decided.catch(() => undefined)
      await until('it waits, or is through', async () => over || (await waiting('twofold engine')))
      await locked.commit({ ...nothing, writes: [{ ...a, from: 0, version: 1, shape: 1, state: '{"balance":1}' }] })
    })
    await expect(decided).rejects.toMatchObject({ failure: 'conflict' })
    expect(await bank.balances()).toEqual({ a: 1 })
  } finally {
    await Promise.all([maker.close(), decider.close()])
  }
})
