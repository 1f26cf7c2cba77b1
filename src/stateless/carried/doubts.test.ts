import { expect, test, vi } from 'vitest'
import type { Envelope } from '../../contract/envelope.ts'
import { TwofoldError } from '../../errors.ts'
import type { LogEntry, StoredClaim } from '../../ports/command-log.ts'
import { Doubts, type DoubtsOptions } from './doubts.ts'

const away = (): Promise<never> => Promise.reject(new TwofoldError('UNAVAILABLE', 'away'))
const entry = (number: number, more: Partial<Envelope> = {}): LogEntry => ({
  envelope: { id: `0190b1d2-7000-7000-8000-00000000000${number}`, service: 's', command: 'c', keys: ['k'], input: '{}', ...more },
})
const claim = { hash: 'h', fingerprint: 'f' }

/** Doubts of a broker and a PostgreSQL that are there, or not. */
function doubtsOf(changed: Partial<DoubtsOptions> = {}): {
  readonly doubts: Doubts
  readonly stored: string[][]
  readonly published: string[]
  readonly said: object[]
} {
  const stored: string[][] = []
  const [published, said]: [string[], object[]] = [[], []]
  const doubts = new Doubts({
    store: { keep: (envelopes) => Promise.resolve(void stored.push(envelopes.map(({ id }) => id))) },
    claims: { claim: () => Promise.resolve(undefined) },
    carrier: { isAway: false, publish: ({ id }) => Promise.resolve(void published.push(id)) },
    slots: { partitionCount: 1, partitionOf: Array.from({ length: 4096 }, () => 0) },
    mayRun: () => true,
    log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: (fields: object) => void said.push(fields) },
    ...changed,
  })
  return { doubts, stored, published, said }
}

test('commands in doubt are stored together, and certain once they are', async () => {
  const { doubts, stored, published } = doubtsOf()
  expect(await Promise.all([doubts.keep(entry(1)), doubts.keep(entry(2)), doubts.keep(entry(2))])).toEqual([true, true, true])
  expect([stored, published]).toEqual([[[entry(1).envelope.id, entry(2).envelope.id]], []])
  expect(await doubts.keep(entry(3))).toBe(true)
})

test('while PostgreSQL is away the broker is asked again', async () => {
  const { doubts, published } = doubtsOf({ store: { keep: away } })
  expect(await doubts.keep(entry(1))).toBe(true)
  expect(published).toEqual([entry(1).envelope.id])
})

test('while neither is there its caller is told so, and it goes on until one of them is', async () => {
  let isThere = false
  const stored: Envelope[] = []
  const keep: DoubtsOptions['store']['keep'] = (envelopes) => (isThere ? Promise.resolve(void stored.push(...envelopes)) : away())
  const { doubts, published } = doubtsOf({ store: { keep }, carrier: { isAway: true, publish: away } })
  expect(await doubts.keep(entry(1))).toBe(false)
  isThere = true
  await vi.waitUntil(() => stored.length > 0, 5000)
  expect([stored, published]).toEqual([[entry(1).envelope], []])
})

test('one with an Idempotency-Key is sent nowhere before it has its claim', async () => {
  let claimed = 0
  const { doubts, stored, published } = doubtsOf({ claims: { claim: () => ((claimed += 1) < 3 ? away() : Promise.resolve(undefined)) } })
  expect(await Promise.all([doubts.keep(entry(1, { claim })), doubts.keep(entry(2))])).toEqual([true, true])
  expect([stored, published, claimed]).toEqual([[[entry(2).envelope.id], [entry(1).envelope.id]], [], 3])
})

test('one whose Idempotency-Key is another command\u2019s by now is sent nowhere', async () => {
  const others: StoredClaim = { commandId: entry(9).envelope.id, fingerprint: 'f', answer: undefined }
  const { doubts, stored, published } = doubtsOf({ claims: { claim: () => Promise.resolve(others) } })
  expect(await doubts.keep(entry(1, { claim }))).toBe(true)
  expect([stored, published]).toEqual([[], []])
})

test('those that can only wait for PostgreSQL hold up none that the broker takes', async () => {
  const keyed = Array.from({ length: 1500 }, (_, at) => {
    const { envelope } = entry(1, { claim })
    return { envelope: { ...envelope, id: `0190b1d2-7000-7000-8000-1${String(at).padStart(11, '0')}` } }
  })
  const { doubts, published } = doubtsOf({ store: { keep: away }, claims: { claim: away } })
  for (const each of keyed) void doubts.keep(each)
  expect(await doubts.keep(entry(2))).toBe(true)
  expect(published).toEqual([entry(2).envelope.id])
  await doubts.stop()
})

test('one that is too old to be run is forgotten', async () => {
  const { doubts, stored } = doubtsOf({ mayRun: (id) => id !== entry(1).envelope.id })
  await Promise.all([doubts.keep(entry(1)), doubts.keep(entry(2))])
  expect(stored).toEqual([[entry(2).envelope.id]])
})

test('they are bounded', async () => {
  const { doubts } = doubtsOf({ store: { keep: away }, carrier: { isAway: true, publish: away } })
  doubts.admit()
  void doubts.keep(entry(1, { input: `"${'x'.repeat(64 * 1024 * 1024)}"` }))
  expect(() => doubts.admit()).toThrow(expect.objectContaining({ code: 'OVERLOADED' }))
  await doubts.stop()
})

test('whoever stops says which it has to leave', async () => {
  const { doubts, said } = doubtsOf({ store: { keep: away }, carrier: { isAway: true, publish: away } })
  void doubts.keep(entry(1))
  await doubts.stop()
  await vi.waitUntil(() => said.length > 0, 5000)
  expect(said).toEqual([{ ids: [entry(1).envelope.id], count: 1 }])
})
