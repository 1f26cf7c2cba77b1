// Commands that PostgreSQL's log has taken and the broker is too small for.
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { start, type RunningApp, type StartOptions } from 'twofold'
import { memoryCarrier } from 'twofold/testing'
import { TwofoldError } from '../../src/errors.ts'
import type { CarriedMessage, Carrier } from '../../src/ports/carrier.ts'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { bankApp, failing } from './bank.ts'

const BYTES_MAX = 1000

let database: TestDatabase
let client: pg.Pool
let carrier: Carrier
const running: RunningApp[] = []

beforeEach(async () => {
  database = await testDatabase()
  client = new pg.Pool({ connectionString: database.url, max: 2 })
  carrier = small()
  failing.clear()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((app) => app.stop()))
  await client.end()
  await database.drop()
})

/** The broker in memory, which carries little. */
function small(): Carrier {
  const memory = memoryCarrier()
  return {
    ...memory,
    features: { ...memory.features, messageBytesMax: BYTES_MAX },
    async open(context) {
      const open = await memory.open(context)
      const publish = open.publish.bind(open)
      const limited = async (message: CarriedMessage): Promise<void> => {
        if (Buffer.byteLength(message.body) > BYTES_MAX) throw new TwofoldError('BODY_TOO_LARGE', 'it is too large')
        return publish(message)
      }
      return Object.assign(open, { publish: limited })
    },
  }
}

async function started(options: StartOptions = {}): Promise<RunningApp> {
  const app = await start(bankApp('bank'), {
    url: database.url,
    port: 0,
    logLevel: 'fatal',
    partitionCount: 2,
    carrier,
    prepare: async (tx) => void (await tx.query('create table if not exists book (account text primary key, numbers int[] not null)')),
    ...options,
  })
  running.push(app)
  return app
}

/** Accepted by the log, before there was a broker. */
async function accepted(
  ...commands: readonly (readonly [command: string, account: string, number: number, isLarge: boolean])[]
): Promise<void> {
  const before = await started({ carrier: 'postgres', roles: ['stateless'] })
  for (const [command, account, number, isLarge] of commands)
    expect((await send(before, command, account, number, isLarge ? 'x'.repeat(BYTES_MAX) : undefined)).status).toBe(202)
  await before.stop()
}

const send = (app: RunningApp, command: string, account: string, number: number, ballast?: string): Promise<Response> =>
  fetch(`${app.url}/${command}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'respond-async' },
    body: JSON.stringify({ account, number, ballast }),
  })

async function numbersOf(account: string): Promise<number[]> {
  const { rows } = await client.query('select state from twofold.entity where key = $1', [account])
  return rows[0]?.state.numbers ?? []
}

const count = async (what: string): Promise<number> => (await client.query(`select count(*)::int as count from ${what}`)).rows[0].count
const nothingWaits = (): Promise<void> => until('nothing waits', async () => (await count('twofold._command')) === 0)

test('what is too large for the broker runs in its place, and its row goes once it has run', async () => {
  await accepted(
    ['bank/send', 'a', 1, false],
    ['bank/send', 'a', 2, true],
    ['bank/send', 'a', 3, false],
    ['books/book', 'b', 1, true],
    ['books/book', 'b', 2, false],
  )
  const app = await started()
  expect((await send(app, 'bank/send', 'a', 4)).status).toBe(202)
  await until('all ran', async () => (await count('twofold._outcome')) === 6)
  expect([await numbersOf('a'), (await client.query('select numbers from book')).rows]).toEqual([[1, 2, 3, 4], [{ numbers: [1, 2] }]])
  await nothingWaits()
  expect(await count('twofold._dead_letter')).toBe(0)
  expect((await send(app, 'bank/send', 'a', 5)).status).toBe(202)
  await until('the next one ran', async () => (await numbersOf('a')).length === 5)
})

test('what is too large and fails waits with its key as all others do, and its row goes', async () => {
  failing.add('a')
  await accepted(['bank/send', 'a', 1, true], ['bank/send', 'a', 2, false], ['bank/send', 'b', 1, true])
  await started()
  await until('the neighbour ran', async () => (await numbersOf('b')).length === 1)
  failing.clear()
  await until('all came to an end', async () => (await count('twofold._outcome')) === 3)
  await nothingWaits()
  expect((await numbersOf('a')).toSorted((one, other) => one - other)).toEqual(await numbersOf('a'))
})

test('what is too large takes effect once, though each owner hands it on again', { timeout: 60_000 }, async () => {
  await accepted(...Array.from({ length: 6 }, (_, at) => ['bank/send', `k${at}`, 1, at % 2 === 0] as const))
  // None of these owners lives for long.
  for (let times = 0; times < 3; times += 1) await (await started({ leaseMs: 1000 })).stop()
  await started()
  await until('all ran', async () => (await count('twofold._outcome')) === 6)
  await nothingWaits()
  expect(await count("twofold.entity where state ->> 'numbers' = '[1]'")).toBe(6)
})
