// What is left of a command that failed for good, and who goes on meanwhile.
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { encodeEnvelope, type Envelope } from '../../src/contract/envelope.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import { BatchAborted } from '../../src/ports/effect-store.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, exploding, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())
afterAll(() => exploding.clear())

test('a dead letter holds all that its command was, so that it can be sent again, and what it died of', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 3 } })
  exploding.add('bad')
  const claim = { hash: 'a'.repeat(64), fingerprint: 'b'.repeat(64) }
  const dead: Envelope = { ...bank.envelope('explode', { account: 'bad', amount: 7 }), claim, condition: 'absent' }
  await bank.append([dead])
  await until('the failing command is dead', async () => (await bank.count('dead_letter')) === 1)
  const { rows } = await bank.client.query('select * from twofold.dead_letter')
  const [letter] = rows as { message: Omit<Envelope, 'input'> & { input: object } }[]
  expect(letter).toMatchObject({
    kind: 'command',
    id: dead.id,
    service: 'bank',
    name: 'explode',
    key: 'bad',
    attempts: 3,
    error: 'bad explodes',
    stack: expect.stringMatching(/^Error: bad explodes\n\s+at /),
    message: { ...dead, input: JSON.parse(dead.input) },
  })
  // The fault is mended, and the message is all that is needed: the same command under an id of its own.
  exploding.delete('bad')
  const { claim: _, ...message } = letter?.message ?? (dead as never)
  const again = { ...message, id: bank.nextId(), input: JSON.stringify(message.input) } as Envelope
  expect(await engine.call(again, AbortSignal.timeout(10_000))).toMatchObject({ status: 'finished', outcome: { status: 'succeeded' } })
  expect(await bank.balances()).toEqual({ bad: 1000 })
})

test('a rejection is an outcome: it is not tried again, holds nobody up and leaves no dead letter', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 1000 } })
  const refused = await bank.call(engine, 'debit', { account: 'poor', amount: 1 })
  expect(refused).toMatchObject({ status: 'finished', outcome: { status: 'rejected', code: 'insufficient', body: '{"balance":0}' } })
  expect([await bank.count('parked'), await bank.count('dead_letter'), await bank.count('event')]).toEqual([0, 0, 0])
  expect(await bank.call(engine, 'credit', { account: 'poor', amount: 1 })).toMatchObject({ outcome: { status: 'succeeded' } })
})

test('a copy of a finished command that fails is dropped: it is not tried again, and holds nobody up', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 1000 } })
  const first = bank.envelope('explode', { account: 'copied', amount: 1 })
  expect(await engine.call(first, AbortSignal.timeout(10_000))).toMatchObject({ outcome: { status: 'succeeded' } })
  exploding.add('copied')
  await bank.append([first])
  expect(await bank.call(engine, 'credit', { account: 'copied', amount: 1 })).toMatchObject({ outcome: { status: 'succeeded' } })
  expect(await bank.count('parked')).toBe(0)
})

test('a copy of a finished command does not wait behind a failing one of its key', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 1000, minMs: 60_000, maxMs: 60_000 } })
  const first = bank.envelope('credit', { account: 'behind', amount: 1 })
  expect(await engine.call(first, AbortSignal.timeout(10_000))).toMatchObject({ outcome: { status: 'succeeded' } })
  exploding.add('behind')
  expect(await bank.call(engine, 'explode', { account: 'behind', amount: 1 })).toEqual({ status: 'held' })
  await bank.append([first])
  await until('the copy left the log', async () => (await bank.count('_command')) === 0, 5000)
  expect(await bank.count('parked')).toBe(1)
})

test.each(['succeeds', 'fails'])('one that is parked although a copy of it has finished leaves its key, also where it %s', async (way) => {
  const first = bank.envelope('explode', { account: 'parked', amount: 1 })
  const engine = await bank.engine()
  expect(await engine.call(first, AbortSignal.timeout(10_000))).toMatchObject({ outcome: { status: 'succeeded' } })
  await engine.stop()
  // A commit whose answer was lost may be stored after the command was parked.
  await bank.client.query(
    `insert into twofold._parked (partition, service, key, id, envelope, attempts, due_at) select partition, service, 'parked', id, $1, 1, now()
      from twofold._outcome where id = $2`,
    [encodeEnvelope(first), first.id],
  )
  if (way === 'fails') exploding.add('parked')
  const next = await bank.engine(undefined, { retry: { attempts: 1000 } })
  await until('nothing is parked', async () => (await bank.count('parked')) === 0, 5000)
  expect(await bank.call(next, 'credit', { account: 'parked', amount: 1 })).toMatchObject({ outcome: { status: 'succeeded', version: 2 } })
})

test('commands behind a failing one of their key wait on when it fails again, also where each runs by itself', async () => {
  const retry = { attempts: 1000 }
  const other = ['x', 'y', 'z', 'w'].find((key) => partitionOf(bank.slots, 'bank', key) !== partitionOf(bank.slots, 'bank', 'head')) ?? ''
  exploding.add('head')
  const head = bank.envelope('explode', { account: 'head', amount: 0 })
  const behind = [bank.envelope('credit', { account: 'head', amount: 1 }), bank.envelope('move', { from: 'head', to: other, amount: 1 })]
  // The last one has a key that this engine does not own: it runs in a transaction of its own.
  const first = await bank.engine([partitionOf(bank.slots, 'bank', 'head')], { retry })
  await bank.append([head, ...behind])
  const attempts = async (): Promise<number> => (await bank.client.query('select max(attempts) as max from twofold._parked')).rows[0].max
  await until('it was tried again, with those behind it', async () => (await bank.count('parked')) === 3 && (await attempts()) > 3)
  expect(await bank.count('outcome')).toBe(0)
  await first.stop()
  // All of them were in hand when a process ended.
  for (const { id } of [head, ...behind]) await bank.client.query('insert into twofold._attempt values ($1, 1)', [id])
  const before = await attempts()
  await bank.engine([partitionOf(bank.slots, 'bank', 'head')], { retry, abandoned: true })
  await until('it was tried again by the next owner', async () => (await attempts()) > before + 2)
  expect(await bank.count('outcome')).toBe(0)
  exploding.delete('head')
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  expect(await bank.balances()).toEqual({ head: 1000, [other]: 1 })
})

test('one that died goes on holding its key where the answer to its commit was lost', async () => {
  let isLost = false
  const engine = await bank.engine(undefined, {
    retry: { attempts: 2 },
    afterDeath: 'park',
    session: (real) =>
      but(real, {
        commit: async (batch) => {
          await real.commit(batch)
          if (batch.deadLetters.length === 0 || isLost) return
          isLost = true
          throw new BatchAborted('lost', 'its answer is lost by this test')
        },
      }),
  })
  exploding.add('held')
  await bank.append([bank.envelope('explode', { account: 'held', amount: 1 })])
  await until('it is dead', () => isLost)
  expect(await bank.call(engine, 'credit', { account: 'free', amount: 1 })).toMatchObject({ outcome: { status: 'succeeded' } })
  expect(await bank.call(engine, 'credit', { account: 'held', amount: 1 })).toEqual({ status: 'held' })
  expect([await bank.count('parked'), await bank.count('dead_letter')]).toEqual([2, 1])
})
