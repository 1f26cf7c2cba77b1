// What is bounded on the way between two instances, and that being over a bound costs nobody else anything.
import { afterEach, expect, test } from 'vitest'
import { within } from '../../../test/support/within.ts'
import type { Envelope } from '../../contract/envelope.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import { callsTo, closeAll, Engine, envelope, finished, mute, open, SECRET } from './calls-fixture.ts'
import { credential, encodeCall, PATH, PENDING_CHARACTERS_MAX, PENDING_MAX, RESULT_CHARACTERS_MAX, RESULTS_CHARACTERS_MAX } from './wire.ts'

afterEach(closeAll)

const MEBI = 1024 * 1024
/** So many large commands fit between two instances. */
const FITTING = Math.floor(PENDING_CHARACTERS_MAX / MEBI) - 1

function large(): Envelope {
  return { ...envelope('a'), input: JSON.stringify('x'.repeat(MEBI)) }
}

test('a result that is too long for the connection is told as stored, and costs nobody else the connection', async () => {
  const engine = new Engine()
  const slow = Promise.withResolvers<DirectResult>()
  const [first, long] = [envelope('slow'), envelope('long')]
  engine.answer = (given) => (given === long || given.id === long.id ? finished(given, 'x'.repeat(RESULT_CHARACTERS_MAX)) : slow.promise)
  const { calls } = callsTo([await open('owner', engine)])
  const waiting = calls.call(first)
  expect(await calls.call(long)).toEqual({ status: 'held' })
  slow.resolve(finished(first))
  expect(await waiting).toEqual(finished(first))
})

test('however many results wait for a caller, what may have begun is told as that', { timeout: 60_000 }, async () => {
  const engine = new Engine()
  const { promise, resolve } = Promise.withResolvers<void>()
  const long = Array.from({ length: RESULTS_CHARACTERS_MAX / RESULT_CHARACTERS_MAX }, () => envelope('long'))
  const isLong = new Set(long.map(({ id }) => id))
  engine.answer = async (given) => {
    await promise
    return isLong.has(given.id) ? finished(given, 'x'.repeat(RESULT_CHARACTERS_MAX - 1000)) : { status: 'deferred', begun: true }
  }
  const { calls } = callsTo([await open('owner', engine)])
  const results = long.map((each) => calls.call(each))
  // Behind the long ones there is room for some of these, and not for all.
  const doubtful = Array.from({ length: 500 }, () => calls.call(envelope('doubtful')))
  await expect.poll(() => engine.called.length, { timeout: 30_000 }).toBe(long.length + doubtful.length)
  resolve()
  const begun = (await Promise.all(doubtful)).map((result) => result.status === 'deferred' && result.begun)
  expect(new Set(begun)).toEqual(new Set([true]))
  await Promise.all(results)
})

test('a command that comes in the place of one that is taken back costs nobody the connection', { timeout: 60_000 }, async () => {
  const engine = new Engine()
  const results: ((result: DirectResult) => void)[] = []
  engine.answer = () => new Promise((resolve) => results.push(resolve))
  const { calls } = callsTo([await open('owner', engine)])
  const waiting = new AbortController()
  const left = calls.call(envelope('a'), waiting.signal).catch(() => 'left')
  const all = Array.from({ length: PENDING_MAX - 1 }, () => calls.call(envelope('a')))
  await expect.poll(() => results.length, { timeout: 30_000 }).toBe(PENDING_MAX)
  waiting.abort(new Error('the wait is over'))
  all.push(calls.call(envelope('a')))
  expect(await left).toBe('left')
  await expect.poll(() => results.length, { timeout: 10_000 }).toBe(PENDING_MAX + 1)
  for (const resolve of results) resolve({ status: 'held' })
  expect(new Set((await Promise.all(all)).map(({ status }) => status))).toEqual(new Set(['held']))
})

test('calls to one owner are bounded by their size too; what is beyond goes to the log', { timeout: 60_000 }, async () => {
  const { calls } = callsTo([{ id: 'mute', address: await mute() }])
  const all = Array.from({ length: FITTING }, () => calls.call(large()))
  // Sooner than an owner that says nothing is given up.
  const beyond = within('what is beyond the bound is told so', calls.call(large()), 1500)
  await expect(beyond).resolves.toEqual({ status: 'deferred', begun: false })
  await Promise.all(all)
})

test('what has its result makes room for others', { timeout: 60_000 }, async () => {
  const engine = new Engine()
  const { calls } = callsTo([await open('owner', engine)])
  for (let round = 0; round < 3; round += 1) {
    const results = await Promise.all(Array.from({ length: FITTING }, () => calls.call(large())))
    expect(new Set(results.map(({ status }) => status))).toEqual(new Set(['finished']))
  }
})

test('an owner takes no more of one caller than it may, whatever that caller thinks', { timeout: 60_000 }, async () => {
  const engine = new Engine()
  const over = new AbortController()
  engine.answer = () => new Promise(() => undefined)
  const { address } = await open('owner', engine)
  const sent = FITTING + 4
  const lines = Array.from({ length: sent }, () => encodeCall({ envelope: large(), deadline: undefined }))
  const headers = { authorization: credential(SECRET), 'twofold-instance': 'owner' }
  const { body } = await fetch(`${address}${PATH}`, { method: 'POST', headers, body: `${lines.join('\n')}\n`, signal: over.signal })
  let refused = ''
  for await (const piece of body ?? []) refused += Buffer.from(piece as Uint8Array).toString()
  expect(refused.split('\n').filter((line) => line.includes('deferred')).length).toBe(sent - engine.called.length)
  expect(engine.called.length).toBeLessThanOrEqual(PENDING_CHARACTERS_MAX / MEBI)
})
