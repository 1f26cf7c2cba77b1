import { createHash } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { PostgresClaims } from './claims.ts'
import { lowestIdAt } from './command-ids.ts'
import { PostgresCommandLog } from './command-log.ts'
import { PostgresDatabase } from './database.ts'
import { Housekeeping } from './housekeeping.ts'
import { migrate } from './migrate.ts'

const HOUR_MS = 3_600_000
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

let own: TestDatabase
let database: PostgresDatabase

beforeEach(async () => {
  own = await testDatabase()
  await migrate(own.url, { appName: 'test', partitionCount: 4 })
  database = new PostgresDatabase({ url: own.url, applicationName: 'test', log: quiet })
})
afterEach(async () => {
  await database.close()
  await own.drop()
})

const round = (now: number, retention: readonly (readonly [string, number])[] = []): Promise<void> =>
  new Housekeeping({ database, log: quiet, now: () => now, retentionHours: new Map(retention) }).round()
const outcomeAt = (ms: number, service = 's', finishedAt = new Date()): Promise<unknown> =>
  database.query(
    `insert into twofold._outcome (id, service, command, status, version, partition, event_seq, finished_at)
      values ($1, $2, 'c', 'succeeded', 1, 0, 0, $3)`,
    [lowestIdAt(ms), service, finishedAt],
  )
const hours = async (): Promise<number[]> => {
  const { rows } = await database.query<{ name: string }>(
    `select relname as name from pg_class where relname ~ '^_outcome_[0-9]+$' order by 1`,
  )
  return rows.map((row) => Number(row.name.slice('_outcome_'.length)))
}
const count = async (table: string): Promise<number> =>
  Number((await database.query<{ n: string }>(`select count(*) as n from twofold.${table}`)).rows[0]?.n)

test('outcome tables are made ahead, by the hour, and dropped a day after their hour', async () => {
  const hour = 500_000
  await round(hour * HOUR_MS)
  expect(await hours()).toEqual([hour - 1, hour, hour + 1, hour + 2, hour + 3])
  await outcomeAt(hour * HOUR_MS)
  await round((hour + 24) * HOUR_MS)
  expect(await count('_outcome'), 'a day old, still there').toBe(1)
  await round((hour + 26) * HOUR_MS)
  expect([await hours(), await count('_outcome')]).toEqual([expect.not.arrayContaining([hour]), 0])
})

test('outcomes that came while no table was made ahead neither stop the rounds nor stay for ever', async () => {
  const hour = 500_000
  await outcomeAt(hour * HOUR_MS)
  expect(await count('_outcome_default')).toBe(1)
  await round(hour * HOUR_MS)
  expect(await hours()).toEqual([hour - 1, hour + 1, hour + 2, hour + 3])
  await round((hour + 26) * HOUR_MS)
  expect(await count('_outcome_default')).toBe(0)
})

test('a command that waited for days keeps its outcome and its claim for a day after it finished', async () => {
  const hour = Math.floor(Date.now() / HOUR_MS) - 72
  for (const at of [hour * HOUR_MS, (hour - 1000) * HOUR_MS]) {
    await round(hour * HOUR_MS)
    await outcomeAt(at)
    await database.query(`insert into twofold._claim values ($1, $1, $2, null, clock_timestamp() - interval '72 hours')`, [
      String(at).padStart(64, '0'),
      lowestIdAt(at),
    ])
  }
  await round(Date.now())
  expect([await count('_outcome'), await count('_claim')]).toEqual([2, 2])
  await database.query(`update twofold._outcome set finished_at = clock_timestamp() - interval '30 hours'`)
  await round(Date.now())
  expect([await count('_outcome'), await count('_claim')]).toEqual([0, 0])
})

test('a service that keeps its outcomes longer keeps its own only, with their claims, and each until its time is over', async () => {
  const hour = Math.floor(Date.now() / HOUR_MS) - 100
  const services = ['day', 'week', 'month'] as const
  const retention = [['week', 168] as const, ['month', 720] as const]
  const claims = async (): Promise<string[]> => {
    const { rows } = await database.query<{ service: string }>('select rtrim(hash, $1) as service from twofold._claim order by 1', ['.'])
    return rows.map((row) => row.service)
  }
  const kept = async (): Promise<string[]> => {
    const { rows } = await database.query<{ service: string }>('select service from twofold._outcome order by 1')
    return rows.map((row) => row.service)
  }
  await round(hour * HOUR_MS)
  for (const [at, service] of services.entries()) {
    await outcomeAt(hour * HOUR_MS + at, service, new Date(hour * HOUR_MS))
    await database.query(`insert into twofold._claim values (rpad($1, 64, '.'), rpad('', 64, '0'), $2, null, to_timestamp($3))`, [
      service,
      lowestIdAt(hour * HOUR_MS + at),
      hour * 3600,
    ])
  }
  await round((hour + 24) * HOUR_MS, retention)
  expect([await kept(), await claims()]).toEqual([
    ['day', 'month', 'week'],
    ['day', 'month', 'week'],
  ])
  for (let again = 0; again < 2; again += 1) {
    await round((hour + 100) * HOUR_MS, retention)
    expect([await kept(), await claims()]).toEqual([
      ['month', 'week'],
      ['month', 'week'],
    ])
  }
  await round((hour + 300) * HOUR_MS, retention)
  expect([await kept(), await claims()]).toEqual([['month'], ['month']])
  await round((hour + 800) * HOUR_MS, retention)
  expect([await kept(), await claims(), await hours()]).toEqual([[], [], expect.not.arrayContaining([hour])])
})

test('no claim outlives its outcome, whichever way that is removed', async () => {
  const hour = Math.floor(Date.now() / HOUR_MS) - 100
  const [day, week] = [hour * HOUR_MS, (hour + 1) * HOUR_MS]
  await round(hour * HOUR_MS)
  // In a table that is dropped, in one that is swept for the sake of another service, and where no table was made for it.
  for (const [at, service] of [
    [day, 'day'],
    [week, 'day'],
    [week + 1, 'week'],
    [day - 50 * HOUR_MS, 'day'],
  ] as const) {
    await outcomeAt(at, service, new Date(at))
    const hash = createHash('sha256').update(String(at)).digest('hex')
    await database.query(`insert into twofold._claim values ($1, $1, $2, null, to_timestamp($3))`, [hash, lowestIdAt(at), at / 1000])
  }
  const orphans = 'select 1 from twofold._claim c where not exists (select from twofold._outcome o where o.id = c.command_id)'
  const left: (number | null)[] = []
  const look = async <Result>(done: Promise<Result>): Promise<Result> => {
    const result = await done
    left.push((await database.query(orphans)).rowCount)
    return result
  }
  const watched: ConstructorParameters<typeof Housekeeping>[0]['database'] = {
    query: (text, values) => look(database.query(text, values)),
    transaction: (run) => look(database.transaction(run)),
  }
  const now = (): number => (hour + 100) * HOUR_MS
  await new Housekeeping({ database: watched, log: quiet, now, retentionHours: new Map([['week', 168]]) }).round()
  expect([await count('_outcome'), await count('_claim'), new Set(left)]).toEqual([1, 1, new Set([0])])
})

test('a table that was swept is not read through again while those it was kept for want it', async () => {
  const hour = Math.floor(Date.now() / HOUR_MS) - 100
  const retention = new Map([
    ['week', 168],
    ['month', 720],
  ])
  await round(hour * HOUR_MS)
  for (const [at, service] of ['day', 'week'].entries()) await outcomeAt(hour * HOUR_MS + at, service, new Date(hour * HOUR_MS))
  await round((hour + 100) * HOUR_MS, [...retention])
  const said: string[] = []
  const watched: ConstructorParameters<typeof Housekeeping>[0]['database'] = {
    query: (text, values) => {
      if (text.includes(`_outcome_${hour}`)) said.push([text, ...(values ?? []).slice(0, 1)].join(' '))
      return database.query(text, values)
    },
    transaction: (run) => database.transaction(run),
  }
  const again = (after: number): Promise<void> =>
    new Housekeeping({ database: watched, log: quiet, now: () => (hour + after) * HOUR_MS, retentionHours: retention }).round()
  await again(101)
  expect(said).toEqual([expect.stringMatching(/where service = \$1 and finished_at >= \$2 limit 1 week$/)])
  // One that finished long after it was sent is kept as long as its service wants, although nobody expected it there.
  await outcomeAt(hour * HOUR_MS + 2, 'month', new Date((hour + 110) * HOUR_MS))
  await again(300)
  expect((await database.query('select service from twofold._outcome')).rows).toEqual([{ service: 'month' }])
})

test('what no table was made for is kept as long as its service says', async () => {
  const hour = 500_000
  for (const [at, service] of ['day', 'week'].entries()) await outcomeAt(hour * HOUR_MS + at, service, new Date(hour * HOUR_MS))
  await round((hour + 100) * HOUR_MS, [['week', 168]])
  expect((await database.query('select service from twofold._outcome_default')).rows).toEqual([{ service: 'week' }])
  await round((hour + 200) * HOUR_MS, [['week', 168]])
  expect(await count('_outcome_default')).toBe(0)
})

test('an old claim goes, but never that of a command that still waits', async () => {
  const claim = async (id: string, hash: string, age: string): Promise<void> => {
    await database.query(`insert into twofold._claim values ($1, $1, $2, null, clock_timestamp() - $3::interval)`, [
      hash.repeat(64),
      id,
      age,
    ])
  }
  const [old, waiting, parked, fresh] = [1, 2, 3, 4].map((at) => lowestIdAt(at * HOUR_MS))
  await claim(old ?? '', 'a', '30 hours')
  await claim(waiting ?? '', 'b', '30 hours')
  await claim(parked ?? '', 'c', '30 hours')
  await claim(fresh ?? '', 'd', '20 hours')
  await database.query(`insert into twofold._command (partition, first_id, last_id, count, body) values (0, $1, $1, 1, '')`, [waiting])
  await database.query(
    `insert into twofold._parked (partition, service, key, id, envelope, attempts, due_at) values (0, 's', 'k', $1, '', 1, clock_timestamp())`,
    [parked],
  )
  await round(Date.now())
  const { rows } = await database.query<{ hash: string }>('select left(hash, 1) as hash from twofold._claim order by 1')
  expect(rows.map((row) => row.hash)).toEqual(['b', 'c', 'd'])
})

test('a claim stays while its command may wait at a broker: as long as its service would have it run, by the age of its id', async () => {
  const retention = [['week', 168] as const, ['day', 24] as const]
  const slots = { partitionCount: 1, partitionOf: Array.from({ length: 4096 }, () => 0) }
  const claims = new PostgresClaims(database)
  const log = new PostgresCommandLog({ url: own.url, slots, signals: { ring: () => undefined } })
  const hashOf = (name: string): string => createHash('sha256').update(name).digest('hex')
  const made = new Map<string, string>()
  const claimed = async (service: string, age: number, by: 'broker' | 'log'): Promise<void> => {
    const name = `${service} ${age} ${by}`
    made.set(hashOf(name), name)
    const id = lowestIdAt(Date.now() - age * HOUR_MS)
    const envelope = { id, service, command: 'c', keys: ['k'], input: '{}', claim: { hash: hashOf(name), fingerprint: hashOf(name) } }
    await (by === 'broker' ? claims.claim({ envelope }) : log.append({ envelope }))
  }
  const kept = async (): Promise<string[]> => {
    const { rows } = await database.query<{ hash: string }>('select hash from twofold._claim')
    return rows.map(({ hash }) => made.get(hash) ?? hash).toSorted()
  }
  for (const by of ['broker', 'log'] as const) {
    for (const age of [30, 167.9, 168.1]) await claimed('week', age, by)
    for (const service of ['day', 'unknown']) await claimed(service, 30, by)
  }
  // What the log had was handed to a broker.
  await database.query('delete from twofold._command')
  await database.query(`update twofold._claim set at = clock_timestamp() - interval '30 hours'`)
  await round(Date.now(), retention)
  expect(await kept()).toEqual(['week 167.9 broker', 'week 167.9 log', 'week 30 broker', 'week 30 log'])
  await round(Date.now() + 0.2 * HOUR_MS, retention)
  expect(await kept()).toEqual(['week 30 broker', 'week 30 log'])
  await log.stop()
})

test('a table that somebody reads is not waited for: what comes behind goes on, and the table is dropped once it is free', async () => {
  const hour = 500_000
  await round(hour * HOUR_MS)
  // Without a bound of its own a table change would wait for a minute, and whoever stores an outcome would queue up behind it.
  const patient = new PostgresDatabase({ url: `${own.url}?lock_timeout=60000`, applicationName: 'housekeeping', log: quiet })
  const reader = new pg.Client({ connectionString: own.url })
  await reader.connect()
  const refused: unknown[] = []
  const log = { ...quiet, debug: (fields: object) => refused.push(fields) }
  try {
    await reader.query('begin')
    await reader.query('select 1 from twofold._outcome')
    const waits = `select 1 from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.application_name = 'housekeeping'`
    const running = new Housekeeping({ database: patient, log, now: () => (hour + 26) * HOUR_MS, retentionHours: new Map() }).round()
    await vi.waitUntil(async () => refused.length > 0 || (await database.query(waits)).rowCount !== 0, { timeout: 30_000, interval: 20 })
    await outcomeAt((hour + 20) * HOUR_MS)
    expect(await hours(), 'the reader still has it').toContain(hour)
    await reader.query('commit')
    await running
    expect(await hours()).toEqual([hour + 1, hour + 2, hour + 3, hour + 25, hour + 26, hour + 27, hour + 28, hour + 29])
  } finally {
    await reader.end()
    await patient.close()
  }
}, 90_000)

test('events are kept, however old', async () => {
  await database.query(
    `insert into twofold._event (partition, seq, count, body, at) values (0, 1, 1, '{}', clock_timestamp() - interval '10 years')`,
  )
  await outcomeAt(0, 's', new Date(0))
  await round(Date.now())
  expect([await count('_outcome'), await count('_event')]).toEqual([0, 1])
})
