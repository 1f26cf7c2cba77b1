import { afterAll, beforeAll, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { encodeEnvelope } from '../../contract/envelope.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import { lowestIdAt } from './command-ids.ts'
import { PostgresDatabase } from './database.ts'
import { migrate } from './migrate.ts'
import { PENDING, PostgresOutcomes } from './outcomes.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
let own: TestDatabase
let database: PostgresDatabase
let ring: () => void = () => undefined
const signals = {
  listen(_: 'outcome', wake: () => void) {
    ring = wake
    return () => void (ring = () => undefined)
  },
}

beforeAll(async () => {
  own = await testDatabase()
  await migrate(own.url, { appName: 'test', partitionCount: 4 })
  database = new PostgresDatabase({ url: own.url, applicationName: 'test', log: quiet })
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

let ids = 1_000_000_000
const newId = (): string => lowestIdAt((ids += 1))
const store = (id: string): Promise<unknown> =>
  database.query(
    `insert into twofold._outcome (id, service, command, status, body, version, partition, event_seq) values ($1, 's', 'c', 'succeeded', '{"n":1}', 3, 2, 40)`,
    [id],
  )
const outcomes = (inHand?: (id: string) => boolean): PostgresOutcomes => new PostgresOutcomes({ database, signals, log: quiet, inHand })

test('an outcome that is there is found at once, with numbers as numbers and no nulls', async () => {
  const id = newId()
  await store(id)
  const found = {
    id,
    service: 's',
    command: 'c',
    status: 'succeeded',
    code: undefined,
    body: '{"n":1}',
    version: 3,
    partition: 2,
    eventSeq: 40,
  }
  expect(await outcomes().find(id, 0)).toEqual({ ...found, finishedAt: expect.any(Date) })
  expect(await outcomes().find(newId(), 0)).toBeUndefined()
})

test('whoever waits is woken by a ring, and by polling when no ring comes', async () => {
  const [rung, polled] = [newId(), newId()]
  const waiting = outcomes()
  const first = waiting.find(rung, 5000)
  await store(rung)
  ring()
  expect((await first)?.id).toBe(rung)
  const second = waiting.find(polled, 5000)
  await store(polled)
  expect((await second)?.id).toBe(polled)
})

test('waiting ends at its time, or when the caller stops', async () => {
  const waiting = outcomes()
  expect(await waiting.find(newId(), 50)).toBeUndefined()
  const stop = new AbortController()
  const stopped = waiting.find(newId(), 60_000, stop.signal)
  stop.abort()
  expect(await stopped).toBeUndefined()
})

test('what this process has committed itself is told without asking the database', async () => {
  const id = newId()
  const waiting = outcomes()
  const told = waiting.find(id, 5000)
  const outcome = { id, status: 'succeeded' } as StoredOutcome
  waiting.committed([outcome])
  expect([await told, await waiting.find(id, 0)]).toEqual([outcome, outcome])
})

test('a command without outcome is queued, running, or unknown', async () => {
  const [queued, parked, retried, held] = [newId(), newId(), newId(), newId()]
  const envelope = encodeEnvelope({ id: queued, service: 's', command: 'c', keys: ['k'], input: '{}' })
  await database.query('insert into twofold._command (partition, first_id, last_id, count, body) values (0, $1, $2, 1, $3)', [
    queued,
    newId(),
    envelope,
  ])
  const park = (id: string, attempts: number): Promise<unknown> =>
    database.query(
      `insert into twofold._parked (partition, service, key, id, envelope, attempts, due_at) values (0, 's', 'k', $1, '', $2, clock_timestamp())`,
      [id, attempts],
    )
  await park(parked, 0)
  await park(retried, 2)
  const known = outcomes((id) => id === held)
  const statuses = await Promise.all([queued, parked, retried, held, newId()].map((id) => known.pending(id)))
  expect(statuses.map((pending) => pending && [pending.status, pending.attempts])).toEqual([
    ['queued', 0],
    ['queued', 0],
    ['running', 2],
    ['running', 0],
    undefined,
  ])
})

test('a command that goes from the log to the parked ones meanwhile is never unknown', async () => {
  const id = newId()
  const body = encodeEnvelope({ id, service: 's', command: 'c', keys: ['k'], input: '{}' })
  await database.query('insert into twofold._command (partition, first_id, last_id, count, body) values (0, $1, $1, 1, $2)', [id, body])
  const moved = async (): Promise<void> => {
    const { rowCount } = await database.query('delete from twofold._command where first_id = $1', [id])
    if (rowCount === 0) return
    await database.query(
      `insert into twofold._parked (partition, service, key, id, envelope, attempts, due_at) values (0, 's', 'k', $1, '', 1, clock_timestamp())`,
      [id],
    )
  }
  const query = async (...asked: Parameters<typeof database.query>): Promise<never> => {
    const answer = await database.query(...asked)
    await moved()
    return answer as never
  }
  const known = new PostgresOutcomes({ database: { query, transaction: () => Promise.reject(new Error('none')) }, signals, log: quiet })
  expect(await known.pending(id)).toMatchObject({ id, status: 'queued' })
  expect(await known.pending(id)).toMatchObject({ id, status: 'running', attempts: 1 })
})

test('a waiting command is found among many, also when it travelled long before it was appended', async () => {
  const [first, slow, last] = [1_500_000_000_000, 1_500_000_060_000, 1_500_000_200_000]
  const id = lowestIdAt(slow)
  const body = encodeEnvelope({ id, service: 's', command: 'c', keys: ['k'], input: '{}' })
  await database.query('insert into twofold._command (partition, first_id, last_id, count, body) values (0, $1, $2, 1, $3)', [
    lowestIdAt(first),
    lowestIdAt(last),
    body,
  ])
  const known = outcomes()
  expect(await known.pending(id)).toEqual({ id, status: 'queued', attempts: 0 })
  // Its span covers this one too, but it is not in there.
  expect(await known.pending(lowestIdAt(slow + 1))).toBeUndefined()
})

test('asking for a waiting command visits its own row, not those of the backlog', async () => {
  await database.query(`insert into twofold._command (partition, first_id, last_id, count, body)
    select n % 4, id, id, 1, id::text from (
      select n, ('01a00000-' || lpad(to_hex(n % 65536), 4, '0') || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid as id
        from generate_series(1, 60000) n) x`)
  await database.query('analyze twofold._command')
  const { rows } = await database.query<{ 'QUERY PLAN': string }>(`explain (analyze, costs off, timing off) ${PENDING}`, [
    '01a00000-8000-7000-8000-000000008000',
    lowestIdAt(0),
  ])
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
  expect(plan).toContain('_command_span')
  expect(plan).toMatch(/Index Cond: .*last_id >=/)
  expect(plan).not.toContain('Rows Removed by Filter')
})

test('the answer to a claim is stored once, and only while its command has no outcome', async () => {
  const answer = { status: 202, headers: { location: '/commands/x' }, body: '{}', afterWait: true } as const
  const claimed = async (hash: string): Promise<string> => {
    const id = newId()
    const text = 'insert into twofold._claim (hash, fingerprint, command_id) values ($1, $1, $2)'
    await database.query(text, [hash, id])
    return id
  }
  const [waits, ended] = ['a'.repeat(64), 'b'.repeat(64)]
  const first = await claimed(waits)
  const second = await claimed(ended)
  await store(second)
  const stored = outcomes()
  expect(await stored.answered(waits, second, answer), 'of another command').toBe(false)
  expect(await stored.answered(waits, first, answer)).toBe(true)
  expect(await stored.answered(waits, first, { ...answer, body: '{"other":1}' })).toBe(false)
  expect(await stored.answered(ended, second, answer)).toBe(false)
  expect(await stored.claim(waits)).toEqual({ commandId: first, fingerprint: waits, answer })
  expect((await stored.claim(ended))?.answer).toBeUndefined()
})
