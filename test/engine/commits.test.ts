// How batches are committed, whatever is in them: one at a time for each partition, and without a write to what all of them read.
import { createHash } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Envelope } from '../../src/contract/envelope.ts'
import type { EffectBatch, EffectSession } from '../../src/ports/effect-store.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())

const accounts = Array.from({ length: 20 }, (_, at) => `k${at}`)

/** So many credits to each account at once: more than a batch takes, so that the next is planned while one is committed. */
async function keepBusy(engine: Awaited<ReturnType<EngineDatabase['engine']>>, each: number): Promise<void> {
  const sent = Array.from({ length: each }, () => accounts.map((account) => bank.call(engine, 'credit', { account, amount: 1 }))).flat()
  await Promise.all(sent)
}

// Rule 4
test('a partition has one commit under way, however much waits', { timeout: 60_000 }, async () => {
  const underWay = new Map<number, number>()
  let most = 0
  let commits = 0
  let planned = 0
  let wasHeld = false
  const counted = (real: EffectSession): EffectSession =>
    but(real, {
      encode: (batch: EffectBatch) => {
        planned += 1
        real.encode(batch)
      },
      commit: async (batch: EffectBatch) => {
        commits += 1
        for (const { partition } of batch.fences) underWay.set(partition, (underWay.get(partition) ?? 0) + 1)
        most = Math.max(most, ...underWay.values())
        try {
          // Behind the first that is no lone command the next one is planned meanwhile, and has its time to begin.
          if (!wasHeld && batch.outcomes.length > 1) {
            wasHeld = true
            const before = planned
            await until('the next batch is planned', () => planned > before)
          }
          for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate)
          await real.commit(batch)
        } finally {
          for (const { partition } of batch.fences) underWay.set(partition, (underWay.get(partition) ?? 0) - 1)
        }
      },
    })
  const engine = await bank.engine(undefined, { session: counted, overlapMin: 2, batchSizeMax: 50 })
  await keepBusy(engine, 150)
  expect([most, commits > 1]).toEqual([1, true])
  expect(Object.values(await bank.balances())).toEqual(accounts.map(() => 150))
})

// Rule 25
test('no batch writes to the tables that all batches read', async () => {
  const engine = await bank.engine()
  const rows = async (): Promise<unknown> => {
    const tables = ['_partition', '_slot', '_app', '_instance']
    const text = tables.map((table) => `select '${table}' as of, xmin::text, ctid::text from twofold.${table}`).join(' union all ')
    return (await bank.client.query(`${text} order by 1, 3`)).rows
  }
  const before = await rows()
  await keepBusy(engine, 20)
  expect(await rows()).toEqual(before)
})

// Rule 15
test('all events of a command go to the log of its home key, with the version of its home entity', async () => {
  const engine = await bank.engine()
  const partition = (account: string): number => partitionOf(bank.slots, 'bank', account)
  const [from = ''] = accounts
  const to = accounts.find((account) => partition(account) !== partition(from)) ?? ''
  await bank.call(engine, 'credit', { account: from, amount: 5 })
  const move: Envelope = bank.envelope('move', { from, to, amount: 2 })
  await engine.call(move, AbortSignal.timeout(10_000))
  const { rows } = await bank.client.query('select partition, key, data from twofold.event where id like $1 order by seq', [`${move.id}%`])
  expect(rows).toEqual([
    { partition: partition(from), key: from, data: { account: from, by: -2 } },
    { partition: partition(from), key: from, data: { account: to, by: 2 } },
  ])
})

// Rule 17
test('a batch writes, checks and claims in one order, in whatever order its commands came', async () => {
  const batches: EffectBatch[] = []
  const noted = (real: EffectSession): EffectSession =>
    but(real, {
      commit(batch: EffectBatch) {
        batches.push(batch)
        return real.commit(batch)
      },
    })
  const engine = await bank.engine(undefined, { session: noted })
  await keepBusy(engine, 1)
  batches.length = 0
  const backwards = accounts.toSorted().toReversed()
  const claimed = (text: string): NonNullable<Envelope['claim']> => {
    const hash = createHash('sha256').update(text).digest('hex')
    return { hash, fingerprint: hash }
  }
  const sent = backwards.map((account, at) => ({
    ...bank.envelope(at % 2 === 0 ? 'credit' : 'look', { account, amount: 1 }),
    claim: claimed(account),
  }))
  await Promise.all(sent.map((envelope) => engine.call(envelope, AbortSignal.timeout(10_000))))
  expect(batches.some(({ writes, reads, claims }) => writes.length > 1 && reads.length > 1 && claims.length > 1)).toBe(true)
  for (const { writes, reads, claims } of batches) {
    for (const rows of [writes.map(({ key }) => key), reads.map(({ key }) => key), claims.map(({ hash }) => hash)])
      expect(rows).toEqual(rows.toSorted())
  }
})
