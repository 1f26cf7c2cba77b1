import { expect, test } from 'vitest'
import type { Database } from '../../ports/database.ts'
import { lowestIdAt, PostgresCommandIds } from './command-ids.ts'

/** A database whose clock is `aheadMs` ahead of the process's. */
const clockAhead = (aheadMs: number, now: () => number): Database => ({
  query: <Row>() => Promise.resolve({ rows: [{ ms: String(now() + aheadMs) } as Row], rowCount: 1 }),
  transaction: () => Promise.reject(new Error('not used here')),
})

test('ids carry the database clock, whatever this process thinks the time is', async () => {
  const clock = (): number => 1_000_000
  const ids = new PostgresCommandIds({ database: clockAhead(7_200_000, clock), clock })
  await ids.start()
  expect(ids.now()).toBe(8_200_000)
  expect(ids.next().slice(0, 13)).toBe(lowestIdAt(8_200_000).slice(0, 13))
  await ids.stop()
})

test('ids are uuidv7, differ, and rise, also within a millisecond and when the clock goes back', async () => {
  let now = 1_700_000_000_000
  const ids = new PostgresCommandIds({ database: clockAhead(0, () => now), clock: () => now })
  await ids.start()
  const made = Array.from({ length: 10_000 }, (_, at) => {
    if (at === 5000) now -= 60_000
    return ids.next()
  })
  expect(made.every((id) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(id))).toBe(true)
  expect(made).toEqual([...new Set(made)].toSorted())
  await ids.stop()
})

test('the lowest id of a millisecond is below every id made in it and above those before', async () => {
  let now = 1_700_000_000_000
  const ids = new PostgresCommandIds({ database: clockAhead(0, () => now), clock: () => now })
  await ids.start()
  const before = ids.next()
  now += 1
  const after = ids.next()
  expect([before < lowestIdAt(now), lowestIdAt(now) <= after]).toEqual([true, true])
  await ids.stop()
})
