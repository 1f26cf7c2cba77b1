// Direct commands whose callers stop waiting: what no batch has by then has not begun, and its caller is told so.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { DirectResult } from '../../src/ports/direct-carrier.ts'
import { BatchAborted } from '../../src/ports/effect-store.ts'
import type { Engine } from '../../src/stateful/engine/engine.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())

interface Held {
  readonly engine: Engine
  readonly first: Promise<DirectResult>
  readonly letGo: () => void
}

/** An engine whose commits wait until they are let go, and a first command whose commit does. */
async function held(now: () => number = Date.now, signal?: AbortSignal): Promise<Held> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let begun = false
  const engine = await bank.engine(undefined, {
    now,
    session: (real) =>
      but(real, {
        commit: async (batch) => {
          begun = true
          await promise
          return real.commit(batch)
        },
      }),
  })
  const first = engine.call(bank.envelope('credit', { account: 'a', amount: 1 }), signal)
  first.catch(() => undefined)
  await until('a commit is under way', () => begun)
  return { engine, first, letGo: resolve }
}

test('a direct command that no batch took before its deadline is left alone, and told as not begun', async () => {
  let at = Date.now()
  const { engine, first, letGo } = await held(() => at)
  const [late, early] = [1000, 5000].map((waitMs) =>
    engine.call(bank.envelope('credit', { account: 'a', amount: 10 }), undefined, { waitMs }),
  )
  at += 2000
  letGo()
  expect((await Promise.all([first, late, early])).map((result) => result?.status)).toEqual(['finished', 'deferred', 'finished'])
  expect(await bank.balances()).toEqual({ a: 11 })
})

test('a direct command that its caller takes back has not begun, unless a batch has it', async () => {
  const [waiting, waitingToo] = [new AbortController(), new AbortController()]
  const { engine, first, letGo } = await held(undefined, waiting.signal)
  const behind = engine.call(bank.envelope('credit', { account: 'b', amount: 1 }), waitingToo.signal)
  waitingToo.abort(new Error('the wait is over'))
  const told = await behind.catch((error: unknown) => error)
  waiting.abort(new Error('the wait is over'))
  await expect(first).rejects.toThrow('the wait is over')
  letGo()
  expect(told).toEqual({ status: 'deferred' })
  await until('what the batch had is stored', async () => (await bank.balances())['a'] === 1)
  expect(await bank.balances()).toEqual({ a: 1 })
})

test('a direct command whose commit lost its answer, and that is taken back from behind the log, is not told as not begun', async () => {
  const waiting = new AbortController()
  const failures = [new BatchAborted('lost', 'the answer never came'), new BatchAborted('behind', 'something waits in the log')]
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        commit: (batch) => {
          const failure = failures.shift()
          // Its caller stops waiting as soon as it is back in the mailbox, before the lane takes it from there.
          if (failure?.failure === 'behind') setImmediate(() => waiting.abort(new Error('the wait is over')))
          return failure === undefined ? real.commit(batch) : Promise.reject(failure)
        },
      }),
  })
  const told = await engine.call(bank.envelope('credit', { account: 'a', amount: 1 }), waiting.signal)
  expect([told, await bank.balances()]).toEqual([{ status: 'deferred', begun: true }, {}])
})
