// Rule 21: that a command was begun under watch is held against it only where its process has ended, and by nobody else.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BatchAborted, type EffectSession } from '../../src/ports/effect-store.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())

const counts = async (): Promise<unknown[]> => (await bank.client.query('select id, count from twofold._attempt order by id')).rows

/** What happens between the moment in which it is stored that commands begin, and their run. */
const onceBegun = (happens: (real: EffectSession, ids: readonly string[]) => Promise<void>): ((real: EffectSession) => EffectSession) => {
  let isFirst = true
  return (real) =>
    but(real, {
      began: async (ids) => {
        await real.began(ids)
        if (!isFirst) return
        isFirst = false
        await happens(real, ids)
      },
    })
}

test('who gives commands back in the middle of a run under watch, and lives, holds nothing against them', async () => {
  const command = bank.envelope('credit', { account: 'a', amount: 1 })
  await bank.append([command])
  let mayWrite = true
  let begun = 0
  const session = onceBegun(async () => {
    begun = (await counts()).length
    mayWrite = false
  })
  const engine = await bank.engine(undefined, { abandoned: true, mayWrite: () => mayWrite, session })
  await until('it was begun', () => begun > 0)
  await engine.drop(bank.partitions)
  expect([begun, await counts(), await bank.count('outcome')]).toEqual([1, [], 0])
})

test('who loses its partitions in the middle of such a run takes back what it has counted itself, and no more', async () => {
  const command = bank.envelope('credit', { account: 'a', amount: 1 })
  await bank.append([command])
  let isLost = false
  const session = onceBegun(async (_, ids) => {
    await bank.takeOver(bank.partitions)
    // The next owner has begun it meanwhile, and may have ended by it.
    await bank.client.query('update twofold._attempt set count = count + 1 where id = any($1)', [ids])
    isLost = true
  })
  const engine = await bank.engine(undefined, { abandoned: true, session })
  await until('the partitions were lost', () => isLost)
  await engine.drop(bank.partitions)
  expect(await counts()).toEqual([{ id: command.id, count: 1 }])
})

test('a connection that ends in the middle of such a run counts for nobody', async () => {
  const command = bank.envelope('credit', { account: 'a', amount: 1 })
  await bank.append([command])
  const began: number[] = []
  const cut = `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'twofold engine'`
  const session = onceBegun(async () => {
    began.push((await counts()).length)
    await bank.client.query(cut)
    throw new Error('the connection ended')
  })
  await bank.engine(undefined, { abandoned: true, session })
  await until('it has run', async () => (await bank.count('outcome')) === 1)
  await until('nothing is suspected', async () => (await counts()).length === 0)
  expect([began, await bank.balances()]).toEqual([[1], { a: 1 }])
})

test('what is run again after its connection was lost is counted while it runs', async () => {
  await bank.append([bank.envelope('credit', { account: 'a', amount: 1 })])
  const seen: unknown[] = []
  const losing = (real: EffectSession): EffectSession =>
    but(real, {
      commit: async (batch) => {
        if (batch.outcomes.length > 0) seen.push((await counts()).length)
        if (seen.length === 1) throw new BatchAborted('lost', 'the connection ended')
        await real.commit(batch)
      },
    })
  await bank.engine(undefined, { abandoned: true, session: losing })
  await until('it has run', async () => (await bank.count('outcome')) === 1)
  await until('nothing is suspected', async () => (await counts()).length === 0)
  expect([seen, await bank.balances()]).toEqual([[1, 1], { a: 1 }])
})
