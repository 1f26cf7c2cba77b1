import { createHash, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import pg from 'pg'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { proxyTo } from '../../../test/support/proxy.ts'
import { within } from '../../../test/support/within.ts'
import { decodeEnvelope, type Envelope } from '../../contract/envelope.ts'
import type { LogEntry } from '../../ports/command-log.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import { PostgresCommandLog } from './command-log.ts'
import { lowestIdAt } from './command-ids.ts'
import { migrate } from './migrate.ts'

let own: TestDatabase
let slots: SlotMap
let client: pg.Client
const logs: PostgresCommandLog[] = []

beforeAll(async () => {
  own = await testDatabase()
  slots = await migrate(own.url, { appName: 'test', partitionCount: 8 })
  client = new pg.Client({ connectionString: own.url })
  await client.connect()
})
afterAll(async () => {
  for (const log of logs) await log.stop()
  await client.end()
  await own.drop()
})

function newLog(url = own.url): PostgresCommandLog {
  const log = new PostgresCommandLog({ url, slots, signals: { ring: () => undefined } })
  logs.push(log)
  return log
}

let ids = 0
const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex')
function envelope(key: string, claimed?: string, id = lowestIdAt((ids += 1))): Envelope {
  const plain = { id, service: 's', command: 'c', keys: [key], input: `{"text":"a\\tb\\n${key}"}` }
  return claimed === undefined ? plain : { ...plain, claim: { hash: hashOf(claimed), fingerprint: hashOf(`${claimed} body`) } }
}
const answer = (body: string): LogEntry['answer'] => ({ status: 202, headers: { location: '/here' }, body })
const stored = async (): Promise<{ partition: number; count: number; commands: Envelope[] }[]> => {
  const { rows } = await client.query<{ partition: number; count: number; body: string }>(
    'select partition, count, body from twofold._command order by seq',
  )
  await client.query('delete from twofold._command')
  return rows.map((row) => ({ ...row, commands: row.body.split('\n').map(decodeEnvelope) }))
}

test('what arrives together is packed into one row per partition, in order', async () => {
  const log = newLog()
  const envelopes = Array.from({ length: 300 }, (_, at) => envelope(`k${at % 20}`))
  await Promise.all(envelopes.map((each) => log.append({ envelope: each })))
  const rows = await stored()
  expect(rows.length).toBeLessThanOrEqual(8)
  for (const { partition, count, commands } of rows) {
    const expected = envelopes.filter((each) => partitionOf(slots, 's', each.keys[0] ?? '') === partition)
    expect([count, commands]).toEqual([expected.length, expected])
  }
})

// Rule 1: one sequence, whose numbers nobody draws in advance.
test('what one instance has appended lies before what another one appends afterwards, whatever partition it is for', async () => {
  const instances = [newLog(), newLog()]
  const envelopes = Array.from({ length: 12 }, (_, at) => envelope(`k${at}`, at % 4 < 2 ? `ordered ${at}` : undefined))
  for (const [at, each] of envelopes.entries()) await instances[at % 2]?.append({ envelope: each })
  expect((await stored()).flatMap(({ commands }) => commands.map(({ id }) => id))).toEqual(envelopes.map(({ id }) => id))
})

test('a caller that appends again as soon as it has its answer is served, however many turns that takes', async () => {
  const log = newLog()
  for (let turns = 0; turns < 8; turns += 1) {
    await log.append({ envelope: envelope('k') })
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve()
    await log.append({ envelope: envelope('k') })
  }
  expect((await stored()).flatMap((row) => row.commands)).toHaveLength(16)
})

test('of two requests with one key, at two instances at once, one is appended and the other finds its claim and answer', async () => {
  for (let round = 0; round < 20; round += 1) {
    const entries = [0, 1].map((at) => ({ envelope: envelope('k', `race ${round}`), answer: answer(`answer ${at}`) }))
    const results = await Promise.all([newLog(), newLog()].map((log, at) => log.append(entries[at] as LogEntry)))
    const winner = results.findIndex((result) => result.status === 'appended')
    expect(results[1 - winner]).toEqual({
      status: 'claimed',
      claim: { commandId: entries[winner]?.envelope.id, fingerprint: hashOf(`race ${round} body`), answer: answer(`answer ${winner}`) },
    })
    expect((await stored()).flatMap((row) => row.commands.map((command) => command.id))).toEqual([entries[winner]?.envelope.id])
  }
})

test('the same keys in different orders on two instances lock nobody out, and each is appended once', async () => {
  const keys = Array.from({ length: 100 }, (_, at) => `shared ${at}`)
  const orders = [keys, keys.toReversed()]
  const instances = orders.map((order) => ({ order, log: newLog() }))
  for (const { log } of instances) await log.append({ envelope: envelope('warm') })
  await stored()
  // Slow enough that both inserts are under way at the same time.
  await client.query(`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.005); return new; end $$;
    create trigger slow before insert on twofold._claim for each row execute function slow()`)
  const calls = instances.flatMap(({ order, log }) => order.map((key) => log.append({ envelope: envelope(key, key) })))
  const results = await Promise.allSettled(calls)
  await client.query('drop function slow cascade')
  expect(results.filter((result) => result.status === 'fulfilled' && result.value.status === 'appended')).toHaveLength(100)
  expect(results.filter((result) => result.status === 'rejected')).toEqual([])
  const appended = (await stored()).flatMap((row) => row.commands.map((command) => command.keys[0]))
  expect(new Set(appended)).toEqual(new Set(keys))
  expect(appended).toHaveLength(100)
})

test('the same key twice in one group is claimed once', async () => {
  const log = newLog()
  const [first, second] = [envelope('k', 'twin'), envelope('k', 'twin')]
  expect(await Promise.all([log.append({ envelope: first }), log.append({ envelope: second })])).toEqual([
    { status: 'appended' },
    { status: 'claimed', claim: { commandId: first.id, fingerprint: hashOf('twin body'), answer: undefined } },
  ])
  expect((await stored()).flatMap((row) => row.commands)).toHaveLength(1)
})

test('a command whose claim is its own is appended again, until it has an outcome', async () => {
  const log = newLog()
  const again = envelope('k', 'again')
  expect(await log.append({ envelope: again })).toEqual({ status: 'appended' })
  expect(await log.append({ envelope: again })).toEqual({ status: 'appended' })
  expect((await stored()).flatMap((row) => row.commands)).toHaveLength(2)
  await client.query(
    `insert into twofold._outcome (id, service, command, status, version, partition, event_seq) values ($1, 's', 'c', 'succeeded', 1, 0, 0)`,
    [again.id],
  )
  expect(await log.append({ envelope: again })).toMatchObject({ status: 'claimed', claim: { commandId: again.id } })
  expect(await stored()).toEqual([])
})

test('one refused value fails its own command and no other', async () => {
  const log = newLog()
  const good = Array.from({ length: 20 }, (_, at) => envelope(`good ${at}`))
  const bad = { ...envelope('bad'), input: '"a\u0000b"' }
  const results = await Promise.allSettled([...good.slice(0, 10), bad, ...good.slice(10)].map((each) => log.append({ envelope: each })))
  expect(results.map((result) => result.status).indexOf('rejected')).toBe(10)
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(20)
  expect((await stored()).flatMap((row) => row.commands)).toHaveLength(20)
})

test('without a database it refuses at once, and goes on when the database is back', { timeout: 15_000 }, async () => {
  const proxy = await proxyTo(own.url)
  const log = newLog(proxy.url)
  await log.append({ envelope: envelope('before') })
  await proxy.cut()
  await expect(log.append({ envelope: envelope('during') })).rejects.toMatchObject({
    code: expect.stringMatching(/^(UNAVAILABLE|IN_DOUBT)$/),
    retryAfterSeconds: 1,
  })
  await proxy.restore()
  expect(await log.append({ envelope: envelope('after', randomUUID()) })).toEqual({ status: 'appended' })
  await log.stop()
  await proxy.close()
  await stored()
})

test('what was sent and not answered is in doubt, and what could not be sent is refused', { timeout: 15_000 }, async () => {
  const proxy = await proxyTo(own.url)
  const log = newLog(proxy.url)
  await log.append({ envelope: envelope('before') })
  await stored()
  proxy.mute()
  const during = envelope('during')
  const failure = log.append({ envelope: during }).catch((error: unknown) => error)
  await vi.waitUntil(async () => (await client.query('select 1 from twofold._command')).rowCount === 1, 5000)
  await proxy.cut()
  expect(await failure).toMatchObject({ code: 'IN_DOUBT', retryAfterSeconds: 1 })
  expect((await stored()).flatMap((row) => row.commands)).toEqual([during])
  await expect(log.append({ envelope: envelope('after') })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
})

test('what waits is bounded: beyond it commands are refused, not kept', async () => {
  const log = newLog()
  const big = { ...envelope('big'), input: JSON.stringify('x'.repeat(8 * 1024 * 1024)) }
  const results = await Promise.allSettled(
    Array.from({ length: 12 }, () => log.append({ envelope: { ...big, id: lowestIdAt((ids += 1)) } })),
  )
  const refused = results.filter((result) => result.status === 'rejected')
  expect(refused.length).toBeGreaterThan(0)
  expect(refused[0]?.reason).toMatchObject({ code: 'OVERLOADED', retryAfterSeconds: 1 })
  await stored()
})

test('a log whose connection has fallen silent stops in a moment', async () => {
  const proxy = await proxyTo(own.url)
  const log = newLog(proxy.url)
  await log.append({ envelope: envelope('k') })
  proxy.freeze()
  await within('it has stopped', log.stop())
  await proxy.close()
  await stored()
})
