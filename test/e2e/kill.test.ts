import { afterAll, expect, test } from 'vitest'
import pg from 'pg'
import { testDatabase } from '../support/database.ts'
import { addressOf, startProgram, until, type Program } from './program.ts'

const ORDERS = 2000
const programs: Program[] = []
const database = await testDatabase()

afterAll(async () => {
  await Promise.all(programs.map((program) => program.end('SIGKILL')))
  await database.drop()
})

function launch(role: 'stateless' | 'stateful' | 'subscribers'): Program {
  const environment = { DATABASE_URL: database.url, PORT: '0', LOG_LEVEL: 'warn', TWOFOLD_LEASE_MS: '2000' }
  const program = startProgram(`examples/shop/${role}.ts`, environment)
  programs.push(program)
  return program
}

test('3 stateless, 2 stateful and 1 subscriber lose and double nothing while one of each side is ended', { timeout: 300_000 }, async () => {
  const client = new pg.Client({ connectionString: database.url })
  const first = launch('stateful')
  await addressOf(first)
  const [second, subscriber, ...stateless] = [
    launch('stateful'),
    launch('subscribers'),
    launch('stateless'),
    launch('stateless'),
    launch('stateless'),
  ]
  const addresses = await Promise.all(stateless.map(addressOf))
  await Promise.all([addressOf(second), addressOf(subscriber)])
  await client.connect()
  await until('both stateful instances own partitions', async () => {
    const { rows } = await client.query('select owner from twofold.partition where owner is not null group by owner')
    return rows.length === 2
  })

  const replay = startProgram('examples/shop/replay/main.ts', {}, [
    '--sample',
    String(ORDERS),
    '--concurrency',
    '64',
    ...addresses.flatMap((address) => ['--url', address]),
  ])
  programs.push(replay)
  const count = async (table: string): Promise<number> =>
    Number((await client.query(`select count(*) from twofold.${table}`)).rows[0].count)
  await until('a quarter of the orders has an outcome', async () => (await count('outcome')) > ORDERS / 4, 120_000)
  expect(await second.end('SIGKILL')).toBe('SIGKILL')
  expect(await stateless[0]?.end('SIGTERM')).toBe(0)
  expect(await count('outcome'), 'the faults came while work was under way').toBeLessThan(ORDERS)

  expect(await replay.ended(200_000), replay.output()).toBe(0)
  expect(replay.output()).toContain('0 differences')
  expect(replay.output()).toMatch(/lost\s+0\b/)
  expect(replay.output()).toMatch(/duplicated\s+0\b/)

  expect(await count('waiting')).toBe(0)
  expect(await count('parked')).toBe(0)
  const outcomes = await client.query(`select count(*)::int as commands, count(distinct id)::int as ids,
    count(*) filter (where status = 'succeeded')::int as succeeded from twofold.outcome where command = 'placeOrder'`)
  expect(outcomes.rows[0]).toMatchObject({ succeeded: ORDERS })
  expect(outcomes.rows[0].ids).toBe(outcomes.rows[0].commands)
  const versions = await client.query(
    `select count(*)::int as orders, max(version)::int as highest from twofold.entity where service = 'orders'`,
  )
  expect(versions.rows[0]).toEqual({ orders: ORDERS, highest: 1 })
  const gaps = await client.query(`select partition from twofold.event group by partition having max(seq) <> count(*) or min(seq) <> 1`)
  expect(gaps.rows, 'events are numbered without gaps').toEqual([])
  await client.end()
})
