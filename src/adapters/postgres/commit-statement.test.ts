import { afterAll, beforeAll, expect, test } from 'vitest'
import pg from 'pg'
import { until } from '../../../test/e2e/program.ts'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { emptyBatch, type EffectBatch } from '../../ports/effect-store.ts'
import { commitStatement } from './commit-statement.ts'
import { SESSION_SETTINGS } from './effect-store.ts'
import { migrate } from './migrate.ts'

let own: TestDatabase
let client: pg.Client

beforeAll(async () => {
  own = await testDatabase()
  await migrate(own.url, { appName: 'test', partitionCount: 4 })
  client = new pg.Client({ connectionString: own.url, options: SESSION_SETTINGS.map((setting) => `-c ${setting}`).join(' ') })
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await own.drop()
})
const keysOf = (count: number): string[] => Array.from({ length: count }, (_, at) => `key-${String(at).padStart(6, '0')}`)

interface Plan {
  readonly 'Node Type': string
  readonly 'Function Name'?: string
  readonly 'Relation Name'?: string
  readonly Plans?: readonly Plan[]
}
const flat = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(flat)]

async function planOf(batch: EffectBatch): Promise<Plan[]> {
  const { text, values } = commitStatement(batch)
  const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Plan }[] }>({ text: `explain (format json) ${text}`, values: [...values] })
  return flat(rows[0]?.['QUERY PLAN'][0]?.Plan as Plan)
}

test.each([20, 20_000])(
  'with %i entities, rows are locked in the order of the keys: from the array, row by row, by index',
  async (count) => {
    await client.query('truncate twofold._entity')
    await client.query(`insert into twofold._entity select 's', key, 1, 1, '{}' from unnest($1::text[]) key`, [keysOf(count)])
    await client.query('analyze twofold._entity')
    const at = keysOf(Math.min(count, 500)).map((key) => ({ service: 's', key }))
    const writes = at.map((key) => ({ ...key, from: 1, version: 2, shape: 1, state: '{}' }))
    const reads = at.map((key) => ({ ...key, version: 1 }))
    for (const batch of [
      { ...emptyBatch, writes },
      { ...emptyBatch, reads },
    ]) {
      const nodes = await planOf(batch)
      expect(nodes.filter((node) => /Hash|Merge|Seq Scan|Sort/.test(node['Node Type'])).map((node) => node['Node Type'])).toEqual([])
      const join = nodes.find((node) => node['Node Type'] === 'Nested Loop')
      expect(join?.Plans?.[0]).toMatchObject({ 'Node Type': expect.stringMatching('Function Scan|Subquery Scan') })
      expect(join?.Plans?.[1]).toMatchObject({ 'Node Type': expect.stringContaining('Index'), 'Relation Name': '_entity' })
    }
  },
)

test('what is only read is locked in one order with what is written, before anything is changed', async () => {
  await client.query('truncate twofold._entity')
  await client.query(`insert into twofold._entity select 's', key, 1, 1, '{}' from unnest($1::text[]) key`, [['a', 'b']])
  const rival = new pg.Client({ connectionString: own.url })
  await rival.connect()
  await rival.query('begin')
  await rival.query(`select 1 from twofold._entity where key = 'a' for no key update`)
  const writes = [{ service: 's', key: 'b', from: 1, version: 2, shape: 1, state: '{}' }]
  const { text, values } = commitStatement({ ...emptyBatch, writes, reads: [{ service: 's', key: 'a', version: 1 }] })
  const stored = client.query({ text, values: [...values] })
  const waits = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  await until('the batch waits for a', async () => (await rival.query(waits)).rowCount === 1)
  await rival.query(`select 1 from twofold._entity where key = 'b' for no key update nowait`)
  await rival.query('commit')
  await stored
  await rival.end()
})

test('a batch has just the parts it needs, under a name of its own', () => {
  const fence = { partition: 0, epoch: '1' }
  const plain = commitStatement({ ...emptyBatch, fences: [fence] })
  const more = commitStatement({ ...emptyBatch, fences: [fence], consumed: ['1', '2'] })
  expect([plain.name === more.name, plain.text.includes('_command'), more.text.includes('delete from twofold._command')]).toEqual([
    false,
    false,
    true,
  ])
  expect(more.values).toEqual(['{0}', '{1}', '{1,2}', '1', '2'])
})

test('fewer rows than expected raise inside the statement, with what was missing', async () => {
  const { text, values } = commitStatement({ ...emptyBatch, fences: [{ partition: 0, epoch: '77' }] })
  await expect(client.query({ text, values: [...values] })).rejects.toMatchObject({ code: 'TF001', message: 'fenced: 0 of 1 fence' })
  const consumed = commitStatement({ ...emptyBatch, consumed: ['99'] })
  await expect(client.query({ text: consumed.text, values: [...consumed.values] })).rejects.toMatchObject({
    code: 'TF001',
    message: 'conflict: 0 of 1 consumed',
  })
})

test('an attempt of a parked command is noted once', async () => {
  const insert = `insert into twofold._parked (partition, service, key, id, envelope, attempts, due_at)
    values (0, 's', 'a', gen_random_uuid(), '{}', 1, now()) returning seq`
  const seq = (await client.query<{ seq: string }>(insert)).rows[0]?.seq ?? ''
  const { text, values } = commitStatement({ ...emptyBatch, retried: [{ seq, was: 1, attempts: 2, delayMs: 0, error: 'no' }] })
  await client.query(text, [...values])
  await expect(client.query(text, [...values])).rejects.toMatchObject({ code: 'TF001', message: expect.stringMatching(/^conflict/) })
})
