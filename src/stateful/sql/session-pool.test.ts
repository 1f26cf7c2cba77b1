// Connections of SQL handlers: who gets one, and what becomes of those that are of no use any more.
import { expect, test } from 'vitest'
import type { SqlSession } from '../../ports/sql-store.ts'
import { SessionPool } from './session-pool.ts'

const never = new AbortController().signal

function session(close: () => Promise<void> = async () => undefined, usable = true): SqlSession {
  return { usable, close } as unknown as SqlSession
}

test('the pool is closed once the sessions that could not be used again are closed', async () => {
  const closing = Promise.withResolvers<void>()
  const pool = new SessionPool({ open: async () => session(() => closing.promise, false) }, 1)
  await pool.with(async () => undefined, never)
  let closed = false
  const close = pool.close().then(() => (closed = true))
  // Its place is free meanwhile.
  await new Promise(setImmediate)
  expect(closed).toBe(false)
  closing.resolve()
  await close
})

test('whoever is given up while it waits for a session leaves its place to the next one', async () => {
  const pool = new SessionPool({ open: async () => session() }, 1)
  const hold = Promise.withResolvers<void>()
  const first = pool.with(() => hold.promise, never)
  const cut = new AbortController()
  const second = pool.with(async () => 'second', cut.signal)
  const third = pool.with(async () => 'third', never)
  cut.abort()
  await expect(second).rejects.toMatchObject({ failure: 'lost' })
  hold.resolve()
  await first
  expect(await third).toBe('third')
  await expect(pool.with(async () => 'fourth', cut.signal)).resolves.toBe('fourth')
  await pool.close()
})
