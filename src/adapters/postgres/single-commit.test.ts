// What one SQL command stores, and what it is refused for.
import { afterAll, beforeAll, expect, test } from 'vitest'
import pg from 'pg'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { encodeEvent } from '../../ports/event-log.ts'
import { emptyBatch, type EffectBatch } from '../../ports/effect-store.ts'
import { commitStatement } from './commit-statement.ts'
import { migrate } from './migrate.ts'
import { singleCommit } from './single-commit.ts'

let own: TestDatabase
let client: pg.Client

beforeAll(async () => {
  own = await testDatabase()
  await migrate(own.url, { appName: 'test', partitionCount: 4 })
  client = new pg.Client({ connectionString: own.url })
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await own.drop()
})

let ids = 0

/** A command that nothing becomes of. */
const IDLE = '0190b1d2-7000-7000-8000-ffffffffffff'

/** The end of one command that came in a row of the log, with an Idempotency-Key and an event. */
async function ended(): Promise<EffectBatch> {
  ids += 1
  const id = `0190b1d2-7000-7000-8000-${ids.toString(16).padStart(12, '0')}`
  const insert = `insert into twofold._command (partition, first_id, last_id, count, body) values (1, $1, $1, 1, '{}') returning seq`
  const [row] = (await client.query<{ seq: string }>(insert, [id])).rows
  const outcome = { id, service: 's', command: 'c', status: 'succeeded' as const, code: undefined, body: '{"cents":1}' }
  const line = encodeEvent(0, id, 0, 0, 'a', '{}')
  return {
    ...emptyBatch,
    fences: [{ partition: 1, epoch: '0' }],
    outcomes: [{ ...outcome, version: 0, partition: 1, eventSeq: ids, finishedAt: new Date('2026-01-02T03:04:05.678Z') }],
    claims: [{ hash: String(ids).padStart(64, 'a'), fingerprint: 'b'.repeat(64), commandId: id }],
    events: [{ partition: 1, last: ids, time: 1, kinds: [{ service: 's', name: 'e', shape: 1 }], lines: [line] }],
    consumed: [row?.seq ?? ''],
  }
}

async function store(batch: EffectBatch): Promise<void> {
  const { text, values } = singleCommit(batch) ?? { text: 'select 1 / 0' }
  await client.query(text, values?.slice() ?? [])
}

/** All there is, but for the time at which the database has noted it. */
async function stored(): Promise<unknown[]> {
  const rows: unknown[] = []
  for (const table of ['_outcome', '_claim', '_event', '_command', '_attempt'])
    rows.push(
      (await client.query(`select to_jsonb(stored) - 'at' as row from twofold.${table} stored`)).rows.map(({ row }) => row as unknown),
    )
  return rows
}

test('one command is stored as the statement for many stores it', async () => {
  const whole = await ended()
  const survived = whole.outcomes.map(({ id }) => id)
  await client.query('insert into twofold._attempt select id, 1 from unnest($1::uuid[]) id', [[...survived, IDLE]])
  const batch = { ...whole, survived }
  const seen: unknown[] = []
  await client.query('begin')
  for (const { text, values = [] } of [commitStatement(batch), singleCommit(batch) ?? { text: '' }]) {
    await client.query('savepoint before')
    await client.query(text, values.slice())
    seen.push(await stored())
    await client.query('rollback to before')
  }
  await client.query('rollback')
  expect(seen[1]).toEqual(seen[0])
  expect(seen[0]).toMatchObject([[{ status: 'succeeded' }], [{}], [{ count: 1 }], [], [{ id: IDLE, count: 1 }]])
})

test('without a claim, an event or a row of the log the rest is stored', async () => {
  const whole = await ended()
  await store({ ...whole, claims: [] })
  const { outcomes } = await ended()
  await store({ ...whole, claims: [], events: [], consumed: [], outcomes })
  expect((await stored()).map((rows) => (rows as unknown[]).length)).toEqual([2, 0, 1, 2, 2])
})

test('an epoch that is over is refused as fenced', async () => {
  await expect(store({ ...(await ended()), fences: [{ partition: 1, epoch: '7' }] })).rejects.toMatchObject({
    code: 'TF001',
    message: expect.stringMatching(/^fenced/),
  })
})

test('a row of the log that is not there is refused as a conflict', async () => {
  await expect(store({ ...(await ended()), consumed: ['999'] })).rejects.toMatchObject({
    code: 'TF001',
    message: expect.stringMatching(/^conflict/),
  })
})

test.each(['outcomes', 'events'] as const)('a second one of %s is refused by its primary key', async (kind) => {
  const first = await ended()
  await store(first)
  await expect(store({ ...(await ended()), [kind]: first[kind] })).rejects.toMatchObject({ code: '23505' })
})

test('an Idempotency-Key that another command has claimed is refused as a conflict, and one that its own copy has is not', async () => {
  const [first, second] = [await ended(), await ended()]
  await store(first)
  const claimed = second.claims.map((claim) => ({ ...claim, hash: first.claims[0]?.hash ?? '' }))
  await expect(store({ ...second, claims: claimed })).rejects.toMatchObject({ code: 'TF001', message: expect.stringMatching(/^conflict/) })
  const insert = 'insert into twofold._claim (hash, fingerprint, command_id, answer) values ($1, $2, $3, $4)'
  for (const { hash, fingerprint, commandId } of second.claims) await client.query(insert, [hash, fingerprint, commandId, '{}'])
  await store(second)
  const { rows } = await client.query('select command_id as id, answer from twofold._claim where hash = $1', [second.claims[0]?.hash])
  expect(rows).toEqual([{ id: second.claims[0]?.commandId, answer: '{}' }])
})

test('what holds more than one command, or anything seldom, is left to the statement for many', async () => {
  const batch = await ended()
  for (const more of [
    { outcomes: [...batch.outcomes, ...batch.outcomes] },
    { unparked: ['1'] },
    { unread: [1] },
    { writes: [{ service: 's', key: 'a', from: 0, version: 1, shape: 1, state: '{}' }] },
    { outcomes: [] },
  ])
    expect(singleCommit({ ...batch, ...more })).toBeUndefined()
})
