import { afterEach, beforeEach, expect, test } from 'vitest'
import { partitionOf } from '../../src/ports/slots.ts'
import { lowestIdAt } from '../../src/adapters/postgres/command-ids.ts'
import { engineDatabase, exploding, type EngineDatabase } from './fixture.ts'

let database: EngineDatabase
beforeEach(async () => {
  database = await engineDatabase()
})
afterEach(async () => {
  exploding.clear()
  await database.close()
})

const HOUR_MS = 3_600_000

/** Accounts of that partition. */
function accountsOf(partition: number, count: number): string[] {
  const names: string[] = []
  for (let number = 0; names.length < count; number += 1)
    if (partitionOf(database.slots, 'bank', `account-${number}`) === partition) names.push(`account-${number}`)
  return names
}

async function drained(): Promise<void> {
  await expect.poll(() => database.count('_command'), { timeout: 30_000, interval: 20 }).toBe(0)
}

test('what waits in one partition keeps no other one waiting: its log rows are run in turn, and its direct commands at once', async () => {
  const [busy = '', quiet = '', other = ''] = [1, 2, 3].map((partition) => accountsOf(partition, 1)[0])
  // More than any take answers, row by row; appended before everything else.
  for (let row = 0; row < 60; row += 1)
    await database.append(Array.from({ length: 200 }, () => database.envelope('credit', { account: busy, amount: 1 })))
  const logged = database.envelope('credit', { account: other, amount: 1 })
  await database.append([logged])
  const engine = await database.engine()
  const direct = await database.call(engine, 'credit', { account: quiet, amount: 5 })
  expect(direct.status).toBe('finished')
  expect(await database.count('_command')).toBeGreaterThan(10)
  const { rows } = await database.client.query(
    'select (select count(*) from twofold._outcome) as before, 1 from twofold._outcome where id = $1',
    [logged.id],
  )
  expect(Number(rows[0]?.before)).toBeLessThan(10_000)
  await drained()
  expect(await database.balances()).toEqual({ [busy]: 12_000, [quiet]: 5, [other]: 1 })
})

test('a direct command behind a backlog of its own partition joins the log, so that it overtakes nothing', async () => {
  const [account = ''] = accountsOf(1, 1)
  for (let row = 0; row < 30; row += 1)
    await database.append(Array.from({ length: 200 }, () => database.envelope('credit', { account, amount: 1 })))
  const engine = await database.engine()
  const result = await database.call(engine, 'debit', { account, amount: 6000 })
  expect(result.status).toBe('deferred')
  await drained()
  expect(await database.balances()).toEqual({ [account]: 6000 })
})

test('a command of the log that is older than outcomes are kept is a dead letter and has no effect; a younger one runs', async () => {
  const now = Date.UTC(2026, 0, 2)
  await database.engine(database.partitions, { now: () => now, carriedMsMax: () => 23 * HOUR_MS })
  const [old, young] = [lowestIdAt(now - 23.5 * HOUR_MS), lowestIdAt(now - 22.5 * HOUR_MS)]
  await database.append([database.envelope('credit', { account: 'a', amount: 1 }, old)])
  await database.append([database.envelope('credit', { account: 'a', amount: 10 }, young)])
  await drained()
  expect(await database.balances()).toEqual({ a: 10 })
  const { rows } = await database.client.query('select id, status, code from twofold._outcome order by id')
  expect(rows).toEqual([
    { id: old, status: 'dead', code: 'EXPIRED' },
    { id: young, status: 'succeeded', code: null },
  ])
  const letters = await database.client.query('select id, error from twofold._dead_letter')
  expect(letters.rows).toEqual([{ id: old, error: expect.stringMatching(/^it waited 23\.5 hours to be run; .* so it was not run$/) }])
})

test('thousands that wait behind a failing head run in their order once it is over, before newer ones', { timeout: 60_000 }, async () => {
  exploding.add('a')
  const engine = await database.engine(database.partitions, { retry: { attempts: 10_000, minMs: 20, maxMs: 100 } })
  await database.append([database.envelope('explode', { account: 'a', amount: 0 })])
  await expect.poll(() => database.count('_parked'), { timeout: 10_000 }).toBe(1)
  const followers = 3000
  for (let row = 0; row < 6; row += 1)
    await database.append(Array.from({ length: followers / 6 }, () => database.envelope('credit', { account: 'a', amount: 1 })))
  await drained()
  exploding.clear()
  // Each newer one joins the end, until none is left before it.
  const results = []
  for (let call = 0; call < 5; call += 1) results.push(await database.call(engine, 'debit', { account: 'a', amount: 1 }))
  await expect.poll(() => database.count('_parked'), { timeout: 30_000 }).toBe(0)
  expect(await database.balances()).toEqual({ a: 1000 + followers - 5 })
  const { rows } = await database.client.query(
    `select count(*) as count, count(*) filter (where version <> place) as misplaced from (
      select version, row_number() over (order by id) as place from twofold._outcome where status = 'succeeded') o`,
  )
  expect(rows).toEqual([{ count: String(1 + followers + 5), misplaced: '0' }])
})
