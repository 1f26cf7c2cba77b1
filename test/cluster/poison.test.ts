// Rules 20 and 21: a handler that never returns, or that ends its process, costs its own key some time and nobody else anything.
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addressOf, startProgram, until, type Program } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

/** More lives than the poison needs: two that it is given, and the one that ran it first. */
const LIVES_MAX = 6

let database: TestDatabase
let client: pg.Pool
const programs: Program[] = []

beforeEach(async () => {
  database = await testDatabase()
  client = new pg.Pool({ connectionString: database.url })
})
afterEach(async () => {
  for (const program of programs.splice(0)) await program.end('SIGKILL')
  await client.end()
  await database.drop()
})

const startOne = (): Program => {
  const program = startProgram('test/cluster/poison-app.ts', { DATABASE_URL: database.url, TWOFOLD_LEASE_MS: '1000' })
  programs.push(program)
  return program
}

const send = async (address: string, command: string, account: string): Promise<void> => {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${address}/accounts/${command}`, { method: 'POST', headers, body: JSON.stringify({ account }) })
  expect(answer.status).toBe(202)
}

const statuses = async (): Promise<Record<string, number>> => {
  const { rows } = await client.query<{ status: string; count: number }>(
    'select status, count(*)::int as count from twofold.outcome group by status',
  )
  return Object.fromEntries(rows.map(({ status, count }) => [status, count]))
}

test.each([
  ['spin', 'never returns', /the handler of command [0-9a-f-]{36} has not returned after 200 ms/],
  ['leave', 'ends its process', undefined],
])(
  'a handler (%s) that %s ends as a dead letter, and every other command takes effect once',
  { timeout: 180_000 },
  async (poison, _, said) => {
    let program = startOne()
    const address = await addressOf(program)
    const accounts = ['a', 'b', 'c', 'bad']
    for (const account of accounts) await send(address, 'credit', account)
    // It is stored before it runs, and may run before its sender is answered.
    await send(address, poison, 'bad').catch(() => undefined)
    // A process that dies in the middle of these may have stored one that it could not answer any more.
    let accepted = accounts.length
    for (const account of accounts) {
      const sent = await send(address, 'credit', account).then(
        () => true,
        () => false,
      )
      if (sent) accepted += 1
    }
    let lives = 1
    const dead = async (): Promise<boolean> => (await statuses())['dead'] === 1
    while (!(await dead())) {
      if (program.child.exitCode === null && program.child.signalCode === null) {
        await Promise.race([program.ended(60_000), until('the command is dead', dead, 60_000)])
        continue
      }
      expect(lives).toBeLessThan(LIVES_MAX)
      lives += 1
      // It may end before it has printed its address: what the last one left runs first.
      program = startOne()
    }
    await until('nothing waits', async () => (await client.query('select 1 from twofold.waiting')).rowCount === 0)
    const succeeded = (await statuses())['succeeded'] ?? 0
    expect(succeeded).toBeGreaterThanOrEqual(accepted)
    expect(succeeded).toBeLessThanOrEqual(2 * accounts.length)
    const { rows } = await client.query<{ credits: number; version: number }>(
      `select sum((state ->> 'credits')::int)::int as credits, sum(version)::int as version from twofold.entity`,
    )
    expect(rows).toEqual([{ credits: succeeded, version: succeeded }])
    const letters = await client.query(`select name, attempts from twofold.dead_letter`)
    expect(letters.rows).toEqual([{ name: poison, attempts: 2 }])
    for (const each of programs.slice(0, lives - 1)) {
      expect(each.child.signalCode).toBe('SIGKILL')
      expect(said?.test(each.output()) ?? true, each.output()).toBe(true)
    }
    expect(lives).toBe(4)
  },
)
