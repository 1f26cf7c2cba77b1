import { expect, test, vi } from 'vitest'
import { PostgresProjectionProgress } from '../../src/adapters/postgres/projection-progress.ts'
import { projection } from '../../src/subscribers/projection.ts'
import { runProjection } from '../../src/subscribers/run-projection.ts'
import { PARTITIONS, scene, shop } from './scene.ts'

const given = scene()
const none = Array.from({ length: PARTITIONS }, () => 0)
const progress = (projections: Record<string, readonly string[]>): PostgresProjectionProgress =>
  new PostgresProjectionProgress({ database: given.database, signals: given, projections: new Map(Object.entries(projections)) })

test('a service without a read model is caught up, without a look at the database', async () => {
  const query = vi.spyOn(given.database, 'query')
  expect(await progress({}).caughtUp('shop', { partition: 1, eventSeq: 9 }, 0)).toBe(true)
  expect(query).not.toHaveBeenCalled()
  query.mockRestore()
})

test('a token waits until the last of its read models has passed it', async () => {
  const { log } = await given.instance()
  for (const name of ['one', 'two']) await log.register(name, { start: 'beginning', tables: '' })
  const waiting = progress({ shop: ['one', 'two'] }).caughtUp('shop', { partition: 3, eventSeq: 5 }, 5000)
  let passed: boolean | undefined
  void waiting.then((answer) => (passed = answer))
  const one = await log.hold('one')
  await log.advance(one!, none.with(3, 8))
  const two = await log.advance((await log.hold('two'))!, none.with(3, 4))
  expect(await progress({ shop: ['one'] }).caughtUp('shop', { partition: 3, eventSeq: 5 }, 5000)).toBe(true)
  expect(passed).toBeUndefined()
  await log.advance(two, none.with(3, 5))
  expect(await waiting).toBe(true)
})

test('a token behind events that no read model cares about is passed at once all the same', async () => {
  const { log } = await given.instance()
  const idle = projection('idle', { from: { shop }, tables: '', batch: () => Promise.resolve() })
  await given.run(runProjection(idle, { log, logger: given.logger }))
  for (let seq = 1; seq <= 5; seq++) {
    await given.append(2, [{ service: 'elsewhere', data: {} }])
    expect(await progress({ shop: ['idle'] }).caughtUp('shop', { partition: 2, eventSeq: seq }, 500)).toBe(true)
  }
})

test('a token that is not reached in time is not caught up, nor one whose caller went away', async () => {
  const { log } = await given.instance()
  await log.register('behind', { start: 'beginning', tables: '' })
  const behind = progress({ shop: ['behind'] })
  expect(await behind.caughtUp('shop', { partition: 0, eventSeq: 1 }, 30)).toBe(false)
  const gone = new AbortController()
  const waiting = behind.caughtUp('shop', { partition: 0, eventSeq: 1 }, 60_000, gone.signal)
  gone.abort()
  expect(await waiting).toBe(false)
})

test('a hundred waiters share their looks at the database', async () => {
  const { log } = await given.instance()
  await log.register('shared', { start: 'beginning', tables: '' })
  const shared = progress({ shop: ['shared'] })
  const query = vi.spyOn(given.database, 'query')
  const waiting = Array.from({ length: 100 }, (_, n) => shared.caughtUp('shop', { partition: 0, eventSeq: n + 1 }, 5000))
  const held = await log.hold('shared')
  await log.advance(held!, none.with(0, 100))
  expect(await Promise.all(waiting)).toEqual(waiting.map(() => true))
  expect(query.mock.calls.length).toBeLessThan(10)
  query.mockRestore()
})
