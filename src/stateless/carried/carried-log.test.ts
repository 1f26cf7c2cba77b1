import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Envelope } from '../../contract/envelope.ts'
import { TwofoldError, type ErrorCode } from '../../errors.ts'
import type { LogEntry } from '../../ports/command-log.ts'
import { CarriedCalls } from './carried-calls.ts'
import { CarriedCommandLog, type CarriedLogOptions } from './carried-log.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => void vi.useRealTimers())

const envelope: Envelope = { id: '0190b1d2-7000-7000-8000-000000000001', service: 's', command: 'c', keys: ['k'], input: '{}' }

/** A log on a broker that keeps what it gets, and what it asked PostgreSQL's log. */
function carried(changed: Partial<CarriedLogOptions> = {}): {
  readonly log: CarriedCommandLog
  readonly published: string[]
  readonly spilled: LogEntry[]
  readonly kept: LogEntry[]
} {
  const published: string[] = []
  const [spilled, kept]: [LogEntry[], LogEntry[]] = [[], []]
  const log = new CarriedCommandLog({
    name: 'memory',
    carrier: { isAway: false, publish: ({ id }) => Promise.resolve(void published.push(id)) },
    features: { durable: true, replies: false, messageBytesMax: 1000, exclusive: true, keepsInHand: false },
    claims: { claim: () => Promise.resolve(undefined), commandOf: () => Promise.resolve(envelope) },
    slots: { partitionCount: 1, partitionOf: Array.from({ length: 4096 }, () => 0) },
    whenAway: 'refuse',
    waiting: { append: (entry: LogEntry) => Promise.resolve(void spilled.push(entry)) } as never,
    doubts: { admit: () => undefined, keep: (entry: LogEntry) => Promise.resolve(kept.push(entry) > 0) },
    waitsInLog: () => Promise.resolve(true),
    anyInLog: () => Promise.resolve(false),
    ...changed,
  })
  return { log, published, spilled, kept }
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
  await expect(log.appendAgain('hash', envelope.id)).rejects.toMatchObject({ code: 'IN_DOUBT', commandId: envelope.id })
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
  await expect(log.append({ envelope: large })).rejects.toMatchObject({ code: 'BODY_TOO_LARGE', commandId: undefined })
  expect(spilled).toEqual([])
})

test('what is refused as too large has claimed nothing: a repeated request is refused as well', async () => {
  const claimed: LogEntry[] = []
  const claims = { claim: (entry: LogEntry) => Promise.resolve(void claimed.push(entry)), commandOf: () => Promise.resolve(envelope) }
  const { log, published } = carried({ claims })
  const large = { ...envelope, input: JSON.stringify('ü'.repeat(500)), claim: { hash: 'h', fingerprint: 'f' } }
  await expect(log.append({ envelope: large })).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' })
  const calls = new CarriedCalls({
    carrier: { request: ({ id }) => Promise.resolve(String(published.push(id))) },
    features: { messageBytesMax: 1000 },
    claims,
    doubts: { admit: () => undefined },
    slots: { partitionCount: 1, partitionOf: Array.from({ length: 4096 }, () => 0) },
    direct: { reaches: () => false, call: () => Promise.resolve({ status: 'deferred' }) },
    isPerPath: () => false,
    isBehindLog: () => Promise.resolve(false),
  })
  expect(await calls.call(large)).toEqual({ status: 'deferred' })
  expect([claimed, published]).toEqual([[], []])
})

const failing = (code: ErrorCode): CarriedLogOptions['carrier'] => ({
  isAway: false,
  publish: () => Promise.reject(new TwofoldError(code, 'no')),
})

test.each(['UNAVAILABLE', 'BACKLOG_FULL', 'OVERLOADED', 'BODY_TOO_LARGE'] as const)(
  'what was refused (%s) is kept nowhere, and names no command',
  async (code) => {
    const { log, kept, spilled } = carried({ carrier: failing(code) })
    await expect(log.append({ envelope })).rejects.toMatchObject({ code, commandId: undefined })
    expect([kept, spilled]).toEqual([[], []])
  },
)

test('what may have been taken is kept, and named', async () => {
  const { log, kept } = carried({ carrier: failing('IN_DOUBT') })
  await expect(log.append({ envelope })).rejects.toMatchObject({ code: 'IN_DOUBT', commandId: envelope.id, message: /takes effect once/ })
  expect(kept).toEqual([{ envelope }])
})

test('a carrier that fails in words of its own leaves a command in doubt', async () => {
  const { log, kept } = carried({ carrier: { isAway: false, publish: () => Promise.reject(new Error('oops')) } })
  await expect(log.append({ envelope })).rejects.toMatchObject({ code: 'IN_DOUBT', message: expect.stringContaining('oops') })
  expect(kept).toHaveLength(1)
})

test.each(['UNAVAILABLE', 'BACKLOG_FULL', 'OVERLOADED', 'IN_DOUBT'] as const)(
  'what may have begun elsewhere is kept, however it is refused here (%s)',
  async (code) => {
    const { log, kept } = carried({ carrier: failing(code) })
    await expect(log.append({ envelope, begun: true })).rejects.toMatchObject({ code: 'IN_DOUBT', commandId: envelope.id })
    expect(kept).toHaveLength(1)
  },
)

test('a claim that cannot be made for what may have begun keeps it, and refuses what has not', async () => {
  const keyed = { ...envelope, claim: { hash: 'h', fingerprint: 'f' } }
  const claims = { claim: () => Promise.reject(new TwofoldError('UNAVAILABLE', 'away')), commandOf: () => Promise.resolve(undefined) }
  const { log, kept } = carried({ claims })
  await expect(log.append({ envelope: keyed })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  await expect(log.append({ envelope: keyed, begun: true })).rejects.toMatchObject({ code: 'IN_DOUBT' })
  expect(kept).toEqual([{ envelope: keyed, begun: true }])
})

test.each([
  ['IN_DOUBT', undefined, true],
  ['UNAVAILABLE', undefined, false],
  ['UNAVAILABLE', true, true],
] as const)('with `log`, after %s, the log is told whether it may have begun (%s)', async (code, begun, told) => {
  const { log, spilled, kept } = carried({ carrier: failing(code), whenAway: 'log', waitsInLog: () => Promise.resolve(false) })
  await log.append({ envelope, begun })
  expect([spilled, kept]).toEqual([[{ envelope, begun: told }], []])
})

test('with `log`, what neither the broker has confirmed nor the log has taken is in doubt', async () => {
  const waiting = { append: () => Promise.reject(new TwofoldError('UNAVAILABLE', 'away')) } as never
  const options = { whenAway: 'log', waiting, waitsInLog: () => Promise.resolve(false) } as const
  const { log, kept } = carried({ ...options, carrier: failing('IN_DOUBT') })
  await expect(log.append({ envelope })).rejects.toMatchObject({ code: 'IN_DOUBT' })
  expect(kept).toHaveLength(1)
  const refused = carried({ ...options, carrier: failing('UNAVAILABLE') })
  await expect(refused.log.append({ envelope })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(refused.kept).toEqual([])
})

test('who asks again while it is being published waits for that', async () => {
  const { promise, reject } = Promise.withResolvers<void>()
  const { log } = carried({ carrier: { isAway: false, publish: () => promise } })
  const both = [log.appendAgain('hash', envelope.id), log.appendAgain('hash', envelope.id)]
  reject(new TwofoldError('IN_DOUBT', 'lost'))
  expect((await Promise.allSettled(both)).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
})

test('while too many are in doubt new ones are refused, and those that may have begun are not', async () => {
  const admit = (): void => {
    throw new TwofoldError('OVERLOADED', 'too many')
  }
  const { log, published } = carried({ doubts: { admit, keep: () => Promise.resolve(true) } })
  await expect(log.append({ envelope })).rejects.toMatchObject({ code: 'OVERLOADED', commandId: undefined })
  await log.append({ envelope, begun: true })
  expect(published).toEqual([envelope.id])
})
