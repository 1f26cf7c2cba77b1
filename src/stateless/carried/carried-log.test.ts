import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Envelope } from '../../contract/envelope.ts'
import { TwofoldError } from '../../errors.ts'
import { CarriedCommandLog, type CarriedLogOptions } from './carried-log.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

const envelope: Envelope = { id: '0190b1d2-7000-7000-8000-000000000001', service: 's', command: 'c', keys: ['k'], input: '{}' }

/** A log on a broker that keeps what it gets, and what it asked PostgreSQL's log. */
function carried(changed: Partial<CarriedLogOptions> = {}): { log: CarriedCommandLog; published: string[]; spilled: string[] } {
  const published: string[] = []
  const spilled: string[] = []
  const log = new CarriedCommandLog({
    name: 'memory',
    carrier: { isAway: false, publish: ({ id }) => Promise.resolve(void published.push(id)) },
    features: { durable: true, replies: false, messageBytesMax: 1000, exclusive: true, keepsInHand: false },
    claims: { claim: () => Promise.resolve(undefined), commandOf: () => Promise.resolve(envelope) },
    slots: { partitionCount: 1, partitionOf: Array.from({ length: 4096 }, () => 0) },
    whenAway: 'refuse',
    waiting: { append: (entry: { envelope: Envelope }) => Promise.resolve(void spilled.push(entry.envelope.id)) } as never,
    waitsInLog: () => Promise.resolve(true),
    anyInLog: () => Promise.resolve(false),
    ...changed,
  })
  return { log, published, spilled }
}

test('who asks again and again for what is not finished has it published once in a while', async () => {
  const { log, published } = carried()
  for (let time = 0; time < 3; time += 1) await log.appendAgain('hash', envelope.id)
  expect(published).toEqual([envelope.id])
  vi.advanceTimersByTime(5001)
  await log.appendAgain('hash', envelope.id)
  expect(published).toEqual([envelope.id, envelope.id])
})

test('what could not be published again is tried with the next request', async () => {
  let away = true
  const published: string[] = []
  const publish = ({ id }: { id: string }): Promise<void> =>
    away ? Promise.reject(new TwofoldError('UNAVAILABLE', 'away')) : Promise.resolve(void published.push(id))
  const { log } = carried({ carrier: { isAway: false, publish } })
  await expect(log.appendAgain('hash', envelope.id)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  away = false
  await log.appendAgain('hash', envelope.id)
  expect(published).toEqual([envelope.id])
})

test('a log that another program still appends to is seen within a second', async () => {
  let any = false
  let asked = 0
  const { log, published, spilled } = carried({ anyInLog: () => Promise.resolve(((asked += 1), any)) })
  await log.append({ envelope })
  any = true
  await log.append({ envelope })
  expect([published.length, spilled.length, asked]).toEqual([2, 0, 1])
  vi.advanceTimersByTime(1001)
  await log.append({ envelope })
  expect([published.length, spilled.length]).toEqual([2, 1])
})

test('while PostgreSQL is away what was seen of its log last holds', async () => {
  let away = false
  const { log, published } = carried({ anyInLog: () => (away ? Promise.reject(new Error('away')) : Promise.resolve(false)) })
  await log.append({ envelope })
  away = true
  vi.advanceTimersByTime(1001)
  await log.append({ envelope })
  expect(published.length).toBe(2)
})

test('what the broker could never carry is refused, also where it would wait in the log first', async () => {
  const { log, spilled } = carried({ whenAway: 'log' })
  const large = { ...envelope, input: JSON.stringify('ü'.repeat(500)) }
  await expect(log.append({ envelope: large })).rejects.toMatchObject({ code: 'BODY_TOO_LARGE', commandId: envelope.id })
  expect(spilled).toEqual([])
})
