// Rules 20 and 21: a handler that never returns, or that ends its process, costs its own key some time and nobody else anything.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addressOf, startProgram, until, type Program } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { amqpUrl, hasRabbitMq, removeQueuesOf } from '../support/rabbitmq.ts'

/** More lives than the poison needs: two that it is given, and the one that ran it first. */
const LIVES_MAX = 6

let database: TestDatabase
let client: pg.Pool
let app: string
const programs: Program[] = []

beforeEach(async () => {
  database = await testDatabase()
  client = new pg.Pool({ connectionString: database.url })
  app = `poison-${randomUUID().slice(0, 8)}`
})
afterEach(async () => {
  for (const program of programs.splice(0)) await program.end('SIGKILL')
  if (hasBroker) await removeQueuesOf(database.url)
  await client.end()
  await database.drop()
})

const hasBroker = await hasRabbitMq('a handler that ends its process')

const startOne = (carrier: Record<string, string>): Program => {
  const environment = { DATABASE_URL: database.url, TWOFOLD_LEASE_MS: '1000', POISON_APP: app, ...carrier }
  const program = startProgram('test/cluster/poison-app.ts', environment)
  programs.push(program)
  return program
}

const send = async (address: string, command: string, account: string): Promise<void> => {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(`${address}/${command}`, { method: 'POST', headers, body: JSON.stringify({ account }) })
  expect(answer.status).toBe(202)
}

/** How many commands have each name and end. */
const ends = async (): Promise<Record<string, number>> => {
  const { rows } = await client.query<{ name: string; count: number }>(
    `select command || ' ' || status as name, count(*)::int as count from twofold.outcome group by 1`,
  )
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]))
}

const sumOf = async (text: string): Promise<number> => (await client.query<{ sum: number }>(text)).rows[0]?.sum ?? 0

const blocked = /an SQL handler has not let go of the thread for 800 ms; those of commands [0-9a-f, -]+ run/

const overRabbitMq = { TWOFOLD_CARRIER: 'rabbitmq', AMQP_URL: amqpUrl }

test.each([
  ['accounts/spin', 'never returns', /the handler of command [0-9a-f-]{36} has not returned after 800 ms/, {}],
  ['accounts/leave', 'ends its process', undefined, {}],
  ['gates/open', 'never returns from `initial`', /the handler of command [0-9a-f-]{36} has not returned after 800 ms/, {}],
  ['ledger/block', 'never returns', blocked, {}],
  ['ledger/quit', 'ends its process', undefined, {}],
  ...((await hasRabbitMq('a handler that ends its process'))
    ? [['ledger/quit', 'ends its process, carried by RabbitMQ,', undefined, overRabbitMq] as const]
    : []),
] as const)(
  'a handler (%s) that %s ends as a dead letter, and every other command takes effect once',
  { timeout: 180_000 },
  async (poison, _, said, carrier) => {
    let program = startOne(carrier)
    const address = await addressOf(program)
    const accounts = ['a', 'b', 'c', 'bad']
    const innocents = [...accounts.flatMap((account) => [`accounts/credit ${account}`, `ledger/enter ${account}`]), 'ledger/share a']
    const sendOne = (innocent: string): Promise<void> => send(address, ...(innocent.split(' ') as [string, string]))
    for (const innocent of innocents) await sendOne(innocent)
    // It is stored before it runs, and may run before its sender is answered.
    await send(address, poison, 'bad').catch(() => undefined)
    // A process that dies in the middle of these may have stored one that it could not answer any more.
    let accepted = innocents.length
    for (const innocent of innocents) {
      const sent = await sendOne(innocent).then(
        () => true,
        () => false,
      )
      if (sent) accepted += 1
    }
    const [, name = ''] = poison.split('/')
    let lives = 1
    const dead = async (): Promise<boolean> => (await ends())[`${name} dead`] === 1
    while (!(await dead())) {
      if (program.child.exitCode === null && program.child.signalCode === null) {
        await Promise.race([program.ended(60_000), until('the command is dead', dead, 60_000)])
        continue
      }
      expect(lives).toBeLessThan(LIVES_MAX)
      lives += 1
      // It may end before it has printed its address: what the last one left runs first.
      program = startOne(carrier)
    }
    const succeeded = async (): Promise<number> => {
      const { [`${name} dead`]: _dead, ...others } = await ends()
      return Object.values(others).reduce((sum, count) => sum + count, 0)
    }
    await until(
      'nothing waits',
      async () => (await succeeded()) >= accepted && (await client.query('select 1 from twofold.waiting')).rowCount === 0,
    )
    expect(await succeeded()).toBeLessThanOrEqual(2 * innocents.length)
    const {
      [`${name} dead`]: died,
      'credit succeeded': credits = 0,
      'enter succeeded': enters = 0,
      'share succeeded': shares = 0,
      ...rest
    } = await ends()
    expect([died, rest]).toEqual([1, {}])
    expect(await sumOf(`select sum((state ->> 'credits')::int)::int as sum from twofold.entity`)).toBe(credits)
    expect(await sumOf('select sum(count)::int as sum from entry')).toBe(enters + 2 * shares)
    const letters = await client.query(`select name, attempts from twofold.dead_letter`)
    expect(letters.rows).toEqual([{ name, attempts: 2 }])
    for (const each of programs.slice(0, lives - 1)) {
      expect(each.child.signalCode).toBe('SIGKILL')
      expect(said?.test(each.output()) ?? true, each.output()).toBe(true)
    }
    expect(lives).toBe(4)
  },
)
