// Confirmations of a broker that are lost: whoever is told a command's id learns what became of it.
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { start, type RunningApp, type StartOptions } from 'twofold'
import { memoryCarrier, type MemoryCarrier } from 'twofold/testing'
import { lowestIdAt } from '../../src/adapters/postgres/command-ids.ts'
import { TwofoldError } from '../../src/errors.ts'
import type { CarriedMessage, Carrier, OpenCarrier } from '../../src/ports/carrier.ts'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { archiveApp, bankApp, failing } from './bank.ts'

let database: TestDatabase
let client: pg.Pool
let memory: MemoryCarrier
/** What becomes of a message: its confirmation is lost, and perhaps it is too. */
let fate: 'confirmed' | 'stored' | 'lost' | 'refused'
const running: RunningApp[] = []

beforeEach(async () => {
  database = await testDatabase()
  client = new pg.Pool({ connectionString: database.url, max: 2 })
  memory = memoryCarrier()
  fate = 'confirmed'
  failing.clear()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((app) => app.stop()))
  await client.end()
  await database.drop()
})

/** The broker in memory, with confirmations that get lost. */
function doubtful(): Carrier {
  const lost = (): TwofoldError => new TwofoldError('IN_DOUBT', 'the confirmation was lost')
  return {
    ...memory,
    async open(context) {
      const open = await memory.open(context)
      const publish = async (message: CarriedMessage): Promise<void> => {
        if (fate === 'refused') throw new TwofoldError('UNAVAILABLE', 'it is away')
        if (fate !== 'lost') await open.publish(message)
        if (fate !== 'confirmed') throw lost()
      }
      const request: OpenCarrier['request'] = async (message, signal, onConfirmed) => {
        if (fate === 'confirmed') return (await open.request?.(message, signal, onConfirmed)) ?? ''
        await publish(message)
        throw lost()
      }
      const isAway = (): boolean => fate === 'refused' || open.isAway
      const rest = { consume: open.consume.bind(open), release: open.release.bind(open), waiting: open.waiting.bind(open) }
      return Object.defineProperty({ ...rest, publish, request, isAway: false, close: open.close.bind(open) }, 'isAway', { get: isAway })
    },
  }
}

async function started(options: StartOptions = {}, made = bankApp('bank')): Promise<RunningApp> {
  const app = await start(made, {
    url: database.url,
    port: 0,
    logLevel: 'fatal',
    partitionCount: 8,
    carrier: doubtful(),
    prepare: async (tx) => void (await tx.query('create table if not exists book (account text primary key, numbers int[] not null)')),
    ...options,
  })
  running.push(app)
  return app
}

const send = (app: RunningApp, command: string, account: string, number: number, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${app.url}/bank/${command}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ account, number }),
  })

async function numbersOf(account: string): Promise<number[]> {
  const { rows } = await client.query('select state from twofold.entity where key = $1', [account])
  return rows[0]?.state.numbers ?? []
}

const statusOf = async (app: RunningApp, id: unknown): Promise<[number, unknown]> => {
  const answer = await fetch(`${app.url}/commands/${String(id)}`)
  return [answer.status, ((await answer.json()) as { status?: unknown }).status]
}

const inDoubt = { code: 'IN_DOUBT', commandId: expect.stringMatching(/^[0-9a-f-]{36}$/), retryable: true }

test.each(['lost', 'stored'] as const)('a command in doubt (%s) waits where it can be found, and takes effect once', async (how) => {
  const app = await started()
  fate = how
  const answer = await send(app, 'send', 'a', 1)
  const told = (await answer.json()) as { commandId: string }
  expect([answer.status, told]).toEqual([503, expect.objectContaining(inDoubt)])
  const { rows } = await client.query('select in_doubt from twofold._command where first_id = $1', [told.commandId])
  // Where the broker has it, it may have run by now, and its row waits until it is handed on.
  expect(rows).toEqual([{ in_doubt: true }])
  expect((await statusOf(app, told.commandId))[1]).toMatch(how === 'lost' ? /^queued$/ : /^(queued|running|succeeded)$/)
  fate = 'confirmed'
  await until('it has an outcome', async () => (await statusOf(app, told.commandId))[1] === 'succeeded')
  await until('nothing waits', async () => (await client.query('select 1 from twofold._command')).rowCount === 0)
  expect(await send(app, 'note', 'a', 2).then((noted) => noted.json())).toEqual({ numbers: [1, 2] })
})

test('whoever waits for the result of a command in doubt gets it', async () => {
  const app = await started()
  fate = 'stored'
  const answer = await send(app, 'note', 'a', 1)
  expect([answer.status, await answer.json()]).toEqual([200, { numbers: [1] }])
})

test('what is in doubt keeps no other command from the broker', async () => {
  const app = await started({ roles: ['stateless'] })
  fate = 'lost'
  expect((await send(app, 'send', 'a', 1)).status).toBe(503)
  fate = 'confirmed'
  // For so long what was seen of the log holds.
  await new Promise((resolve) => setTimeout(resolve, 1100))
  expect((await send(app, 'send', 'a', 2)).status).toBe(202)
  expect((await client.query('select in_doubt from twofold._command')).rows).toEqual([{ in_doubt: true }])
})

test('a repeated request whose first is in doubt is answered once the broker has it, and has one effect', async () => {
  const app = await started()
  const key = { 'idempotency-key': '"one"' }
  fate = 'lost'
  const first = (await (await send(app, 'send', 'a', 1, key)).json()) as { commandId: string }
  expect(first).toMatchObject(inDoubt)
  fate = 'confirmed'
  const again = await send(app, 'send', 'a', 1, key)
  expect([again.status, again.headers.get('twofold-command-id')]).toEqual([202, first.commandId])
  await until('it has an outcome', async () => (await statusOf(app, first.commandId))[1] === 'succeeded')
  await until('nothing waits', async () => (await client.query('select 1 from twofold._command')).rowCount === 0)
  expect(await numbersOf('a')).toEqual([1])
})

test('what was refused is named to nobody, and takes no effect', async () => {
  const app = await started()
  fate = 'refused'
  for (const command of ['send', 'note']) {
    const answer = await send(app, command, 'a', 1)
    expect([answer.status, answer.headers.get('twofold-command-id'), ((await answer.json()) as { code: string }).code]).toEqual([
      503,
      null,
      'UNAVAILABLE',
    ])
  }
  expect((await client.query('select 1 from twofold._command')).rowCount).toBe(0)
  fate = 'confirmed'
  expect(await send(app, 'note', 'a', 2).then((noted) => noted.json())).toEqual({ numbers: [2] })
})

test('an unknown id is queued as long as it might be run, by whatever service, and unknown from then on', async () => {
  const app = await started({}, archiveApp('bank'))
  const idOf = (hours: number): string => lowestIdAt(Date.now() - hours * 3_600_000)
  expect(await Promise.all([47.9, 48.1].map((hours) => statusOf(app, idOf(hours))))).toEqual([
    [200, 'queued'],
    [404, 404],
  ])
})

test('an instance that stops leaves nothing in doubt', async () => {
  const app = await started({ roles: ['stateless'] })
  fate = 'lost'
  const { commandId } = (await (await send(app, 'send', 'a', 1)).json()) as { commandId: string }
  await app.stop()
  fate = 'confirmed'
  const next = await started()
  await until('it has an outcome', async () => (await statusOf(next, commandId))[1] === 'succeeded')
  expect(await numbersOf('a')).toEqual([1])
})
