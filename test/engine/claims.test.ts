// Idempotency-Keys of commands that go straight to their owner: the claim is stored in the transaction of the effect, or not at all.
import { createHash } from 'node:crypto'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import type { Envelope } from '../../src/contract/envelope.ts'
import type { DirectResult } from '../../src/ports/direct-carrier.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import { BatchAborted } from '../../src/ports/effect-store.ts'
import { within } from '../support/within.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, exploding, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())
afterAll(() => exploding.clear())

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

/** A command under an Idempotency-Key; its fingerprint is that of what it asks for. */
const keyed = (key: string, ...given: Parameters<EngineDatabase['envelope']>): Envelope => {
  const envelope = bank.envelope(...given)
  return { ...envelope, claim: { hash: sha256(key), fingerprint: sha256(`${envelope.command} ${envelope.input}`) } }
}

const send = (engine: Awaited<ReturnType<EngineDatabase['engine']>>, envelope: Envelope): Promise<DirectResult> =>
  engine.call(envelope, AbortSignal.timeout(10_000))

test('the claim of a direct command is stored with its effect, and a second command under it changes nothing', async () => {
  const engine = await bank.engine()
  const first = keyed('k', 'credit', { account: 'a', amount: 5 })
  expect(await send(engine, first)).toMatchObject({ status: 'finished' })
  const again = keyed('k', 'credit', { account: 'a', amount: 5 })
  expect(await send(engine, again)).toEqual({
    status: 'claimed',
    claim: { commandId: first.id, fingerprint: first.claim?.fingerprint, answer: undefined },
  })
  expect([await bank.balances(), await bank.count('_claim'), await bank.count('outcome')]).toEqual([{ a: 5 }, 1, 1])
})

test('who repeats a request whose command is under way is told at once, and not after it', async () => {
  let store: (() => void) | undefined
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        commit: async (batch) => {
          if (store === undefined) await new Promise<void>((resolve) => (store = resolve))
          return real.commit(batch)
        },
      }),
  })
  const first = keyed('k', 'credit', { account: 'a', amount: 5 })
  const answer = send(engine, first)
  const other = keyed('k', 'credit', { account: 'a', amount: 6 })
  const claim = { commandId: first.id, fingerprint: first.claim?.fingerprint, answer: undefined }
  expect(await within('whoever repeats it is told', send(engine, other))).toEqual({ status: 'claimed', claim })
  await until('it is being stored', () => store !== undefined)
  store?.()
  expect(await answer).toMatchObject({ status: 'finished' })
  // What is remembered meanwhile is forgotten with the answer; from here on the stored claim says it.
  expect(await send(engine, keyed('k', 'credit', { account: 'b', amount: 1 }))).toEqual({ status: 'claimed', claim })
  expect(await bank.balances()).toEqual({ a: 5 })
})

test('where the effect is not stored, neither is the claim', async () => {
  let refuse = true
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        commit: (batch) => (refuse ? Promise.reject(new BatchAborted('lost', 'the connection is gone')) : real.commit(batch)),
      }),
  })
  const lost = keyed('k', 'credit', { account: 'a', amount: 5 })
  // Whether it was stored is not known here: whoever appends it now must do so however much waits.
  expect(await send(engine, lost)).toEqual({ status: 'deferred', begun: true })
  expect([await bank.count('_claim'), await bank.count('outcome')]).toEqual([0, 0])
  refuse = false
  expect(await send(engine, lost)).toMatchObject({ status: 'finished' })
})

test('one key for two entities with two owners has one effect: both change at once, and one of them finds the other’s claim', async () => {
  const half = bank.partitions.length / 2
  const owners = [await bank.engine(bank.partitions.slice(0, half)), await bank.engine(bank.partitions.slice(half))] as const
  const names = Array.from({ length: 400 }, (_, at) => `k${at}`)
  const [left, right] = [
    names.filter((name) => partitionOf(bank.slots, 'bank', name) < half),
    names.filter((name) => partitionOf(bank.slots, 'bank', name) >= half),
  ]
  for (let round = 0; round < 20; round += 1) {
    const results = await Promise.all([
      send(owners[0], keyed(`race ${round}`, 'credit', { account: left[round] ?? '', amount: 1 })),
      send(owners[1], keyed(`race ${round}`, 'credit', { account: right[round] ?? '', amount: 1 })),
    ])
    expect(results.map((result) => result.status).toSorted()).toEqual(['claimed', 'finished'])
  }
  const total = Object.values(await bank.balances()).reduce((sum, amount) => sum + amount, 0)
  expect([total, await bank.count('_claim'), await bank.count('outcome')]).toEqual([20, 20, 20])
})

test('a command that fails at first keeps its claim while it waits: its repetition finds it, and does not wait beside it', async () => {
  exploding.add('slow')
  const engine = await bank.engine(undefined, { retry: { attempts: 1000 } })
  const first = keyed('k', 'explode', { account: 'slow', amount: 0 })
  expect(await send(engine, first)).toEqual({ status: 'held' })
  expect(await send(engine, keyed('k', 'explode', { account: 'slow', amount: 0 }))).toMatchObject({
    status: 'claimed',
    claim: { commandId: first.id },
  })
  exploding.delete('slow')
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  expect([await bank.balances(), await bank.count('outcome')]).toEqual([{ slow: 1000 }, 1])
})
