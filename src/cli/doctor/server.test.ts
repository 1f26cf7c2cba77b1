import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { poolerTo } from '../../../test/support/pooler.ts'
import { proxyTo } from '../../../test/support/proxy.ts'
import { within } from '../../../test/support/within.ts'
import { bounded } from './check.ts'
import { lookAtClock } from './clock.ts'
import { lookAtPooler } from './pooler.ts'
import { lookThrough } from './server.ts'
import { openSession, type Session } from './session.ts'
import { lookAtSnapshots } from './snapshots.ts'

let own: TestDatabase
let session: Session

beforeAll(async () => {
  own = await testDatabase()
})
beforeEach(async () => {
  session = await openSession(own.url)
})
afterEach(() => session.end())
afterAll(() => own.drop())

test('a look that never ends is a fault when its time is over', async () => {
  const never = new Promise<never>(() => undefined)
  expect(
    await within(
      'the look is over',
      bounded('it', () => never, { atMostMs: 50 }),
    ),
  ).toEqual({ name: 'it', status: 'fault', found: 'no answer within 0.05 s' })
  const named = bounded('it', () => never, { of: 'the broker at somewhere:1', advice: 'start it', atMostMs: 50 })
  expect(await within('the look is over', named)).toEqual({
    name: 'it',
    status: 'fault',
    found: 'the broker at somewhere:1 does not answer within 0.05 s',
    advice: 'start it',
  })
})

test('who holds the oldest snapshot is named, and how to end it', async () => {
  const holder = new pg.Client({ connectionString: own.url, application_name: 'forgotten report' })
  await holder.connect()
  await holder.query('begin isolation level repeatable read')
  const { rows } = await holder.query<{ pid: number }>('select pg_backend_pid() as pid')
  const who = `forgotten report (pid ${rows[0]?.pid}, role twofold, idle in transaction)`
  // Whoever else uses this server may hold an older one for a moment.
  const patience = { timeout: 15_000 }
  await expect.poll(() => lookAtSnapshots(session), patience).toMatchObject({ status: 'ok', found: expect.stringContaining(`by ${who}`) })
  await expect
    .poll(() => lookAtSnapshots(session, 0), patience)
    .toMatchObject({
      status: 'warning',
      found: expect.stringContaining(`by ${who}: nothing that was consumed since then is cleaned up`),
      advice: `let it finish, or end it: select pg_terminate_backend(${rows[0]?.pid})`,
    })
  await holder.end()
})

test('clocks that are apart are told with the direction', async () => {
  expect((await lookAtClock(session)).status).toBe('ok')
  expect(await lookAtClock(session, () => Date.now() + 90_000)).toMatchObject({
    status: 'warning',
    found: expect.stringMatching(/ \d+ s ahead of/),
  })
  expect(await lookAtClock(session, () => Date.now() - 90_000)).toMatchObject({
    status: 'warning',
    found: expect.stringMatching(/ \d+ s behind/),
  })
})

test('a pooler is seen, and whether it lends one backend to several sessions', async () => {
  for (const [mode, status] of [
    ['session', 'ok'],
    ['transaction', 'fault'],
  ] as const) {
    const pooler = await poolerTo(own.url, mode)
    const through = await openSession(pooler.url)
    expect(await lookAtPooler(through)).toMatchObject({ status, found: expect.stringContaining(`a pooler in ${mode} mode`) })
    await through.end()
    await pooler.close()
  }
})

test('a connection that falls silent ends the look at its first question', async () => {
  const proxy = await proxyTo(own.url)
  const frozen = await openSession(proxy.url)
  proxy.freeze()
  const checks = await lookThrough(frozen)
  expect(checks).toMatchObject([{ status: 'fault' }])
  await frozen.end()
  await proxy.close()
}, 60_000)
