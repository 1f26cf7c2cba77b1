// What is left of a command that failed for good, and who goes on meanwhile.
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import type { Envelope } from '../../src/contract/envelope.ts'
import { until } from '../e2e/program.ts'
import { engineDatabase, exploding, type EngineDatabase } from './fixture.ts'

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
