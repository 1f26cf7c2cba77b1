import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { until } from '../../../test/e2e/program.ts'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import type { SlotMap } from '../../ports/slots.ts'
import { PostgresBacklog, type BacklogLimits } from './backlog.ts'
import { readBacklog } from './backlog-statistics.ts'
import { lowestIdAt } from './command-ids.ts'
import { PostgresCommandLog } from './command-log.ts'
import { PostgresDatabase } from './database.ts'
import { FreeSpace } from './free-space.ts'
import { migrate } from './migrate.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
let own: TestDatabase
let database: PostgresDatabase
let slots: SlotMap
const logs: PostgresCommandLog[] = []

beforeAll(async () => {
  own = await testDatabase()
  slots = await migrate(own.url, { appName: 'test', partitionCount: 4 })
  database = new PostgresDatabase({ url: own.url, applicationName: 'test', log: quiet, leaseMs: 10_000 })
})
afterEach(async () => {
  for (const log of logs.splice(0)) await log.stop()
  await database.query('truncate twofold._command, twofold._parked, twofold._backlog, twofold._instance')
  await database.query('update twofold._partition set owner = null')
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

const roomy: BacklogLimits = { waitingCommandsMax: 1_000_000, waitingBytesMax: 1e9, waitingMsMax: false, parkedPerKeyMax: 1000 }
const nothingSeen = new FreeSpace(undefined)

function newBacklog(limits: Partial<BacklogLimits> = {}, freeSpace = nothingSeen, instanceId: string = randomUUID()): PostgresBacklog {
  return new PostgresBacklog({ database, instanceId, limits: { ...roomy, ...limits }, freeSpace, log: quiet })
}

/** Rows of `count` commands in a partition, between rows of others so that their numbers have gaps. */
async function fill(partition: number, rows: number, count: number, body = 'x'.repeat(100)): Promise<void> {
  await database.query(
    `insert into twofold._command (partition, first_id, last_id, count, body)
      select $1, gen_random_uuid(), gen_random_uuid(), $3, $4 from generate_series(1, $2::int)`,
    [partition, rows, count, body],
  )
}

test('what waits is counted exactly where it is little, and estimated where it is much', async () => {
  await fill(0, 7, 3)
  for (let part = 0; part < 20; part += 1) {
    await fill(1, 500, 1)
    await fill(2, 100 + 20 * part, 20)
  }
  await newBacklog().look()
  const found = new Map((await readBacklog(database)).map((each) => [each.partition, each]))
  expect(found.get(0)).toMatchObject({ commands: 21, bytes: 700 })
  expect(found.get(3)).toMatchObject({ commands: 0, bytes: 0, oldestMs: undefined })
  for (const [partition, commands] of [
    [1, 10_000],
    [2, 116_000],
  ] as const) {
    expect(found.get(partition)?.commands).toBeGreaterThan(commands * 0.6)
    expect(found.get(partition)?.commands).toBeLessThan(commands * 1.6)
  }
})

test('an owner counts its own partitions at every look; others count those that nobody has counted lately', async () => {
  const [owner, other] = [randomUUID(), randomUUID()]
  await database.query('update twofold._partition set owner = $1 where partition < 2', [owner])
  const counts = async (): Promise<number[]> =>
    (await readBacklog(database)).toSorted((a, b) => a.partition - b.partition).map((each) => each.commands)
  for (const partition of [0, 1, 2, 3]) await fill(partition, 1, 1)
  await newBacklog({}, nothingSeen, owner).look()
  for (const partition of [0, 1, 2, 3]) await fill(partition, 1, 1)
  await newBacklog({}, nothingSeen, other).look()
  expect(await counts()).toEqual([1, 1, 1, 1])
  await newBacklog({}, nothingSeen, owner).look()
  expect(await counts()).toEqual([2, 2, 1, 1])
  await database.query(`update twofold._backlog set at = at - interval '10 seconds'`)
  await newBacklog({}, nothingSeen, other).look()
  expect(await counts()).toEqual([2, 2, 2, 2])
})

test('what a live owner counts is counted by others only once it has not done so for long', async () => {
  const owner = randomUUID()
  await database.query('update twofold._partition set owner = $1 where partition < 2', [owner])
  await database.query(`insert into twofold._instance (id, roles, lease_until) values ($1, '{}', clock_timestamp() + interval '1 hour')`, [
    owner,
  ])
  const counts = async (): Promise<number[]> =>
    (await readBacklog(database)).toSorted((a, b) => a.partition - b.partition).map((each) => each.commands)
  await newBacklog({}, nothingSeen, owner).look()
  for (const partition of [0, 1, 2, 3]) await fill(partition, 1, 1)
  await database.query(`update twofold._backlog set at = at - interval '60 seconds'`)
  await newBacklog().look()
  expect(await counts()).toEqual([0, 0, 1, 1])
  await database.query(`update twofold._backlog set at = at - interval '60 seconds'`)
  await newBacklog().look()
  expect(await counts()).toEqual([1, 1, 1, 1])
})

test('beyond a bound the log takes nothing more, with the time to come again, and goes on when there is room', async () => {
  const backlog = newBacklog({ waitingCommandsMax: 100 })
  await fill(1, 50, 2)
  await backlog.look()
  const full = expect.objectContaining({ code: 'BACKLOG_FULL', retryAfterSeconds: 2 })
  expect(() => backlog.admitToLog(0)).toThrow(full)
  await database.query('delete from twofold._command where seq in (select seq from twofold._command limit 1)')
  await database.query(`update twofold._backlog set at = at - interval '10 seconds'`)
  const later = newBacklog({ waitingCommandsMax: 100 })
  await later.look()
  expect(() => later.admitToLog(0)).not.toThrow()
  const small = newBacklog({ waitingBytesMax: 4000 })
  await small.look()
  expect(() => small.admitToLog(0)).toThrow(full)
})

test('what waits behind failing commands counts as well', async () => {
  await database.query(
    `insert into twofold._parked (partition, service, key, id, envelope, attempts, due_at)
      select 0, 's', 'k' || at, gen_random_uuid(), '', 0, clock_timestamp() from generate_series(1, 60) at`,
  )
  await fill(1, 40, 1)
  const backlog = newBacklog({ waitingCommandsMax: 100 })
  await backlog.look()
  expect(() => backlog.admitToLog(2)).toThrow(/100 commands wait to be run, 100 may/)
})

test('what waits is counted again and again, without being asked', { timeout: 40_000 }, async () => {
  const owner = randomUUID()
  await database.query('update twofold._partition set owner = $1', [owner])
  const backlog = newBacklog({ waitingCommandsMax: 10 }, nothingSeen, owner)
  const takesMore = (): boolean => {
    try {
      backlog.admitToLog(0)
      return true
    } catch {
      return false
    }
  }
  await backlog.start()
  try {
    expect(takesMore()).toBe(true)
    await fill(1, 1, 10)
    await until('the log is known to be full', () => !takesMore())
    await database.query('delete from twofold._command')
    await until('the log is known to have room', takesMore)
  } finally {
    await backlog.stop()
  }
})

test('a partition whose oldest command has waited too long takes nothing more, the others do', async () => {
  await fill(1, 1, 1)
  await fill(2, 1, 1)
  await database.query(`update twofold._command set appended_at = appended_at - interval '1 hour' where partition = 2`)
  const backlog = newBacklog({ waitingMsMax: 600_000 })
  await backlog.look()
  expect(() => backlog.admitToLog(2)).toThrow(/a command of partition 2 has waited 3600 s to be run, 600 s is the most/)
  expect(() => backlog.admitToLog(1)).not.toThrow()
})

test('what this instance has appended since the last count is added to it', async () => {
  const backlog = newBacklog({ waitingCommandsMax: 10 })
  await backlog.look()
  const log = new PostgresCommandLog({ url: own.url, slots, signals: { ring: () => undefined }, backlog })
  logs.push(log)
  const append = (at: number, begun?: boolean): Promise<unknown> =>
    log.append({ envelope: { id: lowestIdAt(at), service: 's', command: 'c', keys: [`k${at}`], input: '{}' }, begun })
  const results = await Promise.allSettled(Array.from({ length: 15 }, (_, at) => append(at)))
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(10)
  await expect(append(20)).rejects.toMatchObject({ code: 'BACKLOG_FULL' })
  // Nobody knows whether this one has begun elsewhere: in the log its outcome can be told.
  await append(21, true)
  const { rows } = await database.query<{ sum: string }>('select sum(count) from twofold._command')
  expect(Number(rows[0]?.sum)).toBe(11)
})

test('a key with too many commands behind its failing head is refused, named, and no other key is', async () => {
  const park = (key: string, count: number): Promise<unknown> =>
    database.query(
      `insert into twofold._parked (partition, service, key, id, envelope, attempts, due_at)
        select 0, 's', $1, gen_random_uuid(), '', 0, clock_timestamp() from generate_series(1, $2::int)`,
      [key, count],
    )
  await park('full', 21)
  await park('nearly', 19)
  const backlog = newBacklog({ parkedPerKeyMax: 20 })
  await backlog.look()
  expect(() => backlog.admit({ service: 's', keys: ['other', 'full'] })).toThrow(
    expect.objectContaining({ code: 'KEY_BACKLOG_FULL', retryAfterSeconds: 2, message: expect.stringContaining("key 'full' of 's'") }),
  )
  expect(() => backlog.admit({ service: 's', keys: ['nearly'] })).not.toThrow()
  expect(() => backlog.admit({ service: 'another', keys: ['full'] })).not.toThrow()
})

test('a disk that is nearly full takes nothing more: less than a tenth, or 2 GiB where that is more than enough', async () => {
  const gib = 1024 ** 3
  const at = async (free: number, size: number): Promise<PostgresBacklog> => {
    const backlog = newBacklog({}, new FreeSpace('/data', () => Promise.resolve({ free: free * gib, size: size * gib })))
    await backlog.look()
    return backlog
  }
  const command = { service: 's', keys: ['k'] }
  for (const [free, size] of [
    [0.9, 10],
    [1.9, 1000],
  ] as const) {
    const backlog = await at(free, size)
    expect(() => backlog.admit(command)).toThrow(expect.objectContaining({ code: 'STORAGE_FULL', retryAfterSeconds: 30 }))
  }
  for (const [free, size] of [
    [1.1, 10],
    [2.1, 1000],
  ] as const) {
    const backlog = await at(free, size)
    expect(() => backlog.admit(command)).not.toThrow()
  }
  const real = new FreeSpace(process.cwd())
  await real.look()
  expect(real.sentence).toMatch(/ nearly full: \d+ MiB of \d+ MiB are left$/)
})

test('a server that says its disk is full is told apart from one that cannot be reached', async () => {
  await database.query(`create function no_room() returns trigger language plpgsql as $$
    begin raise exception 'could not extend file' using errcode = '53100'; end $$;
    create trigger no_room before insert on twofold._command for each row execute function no_room()`)
  const log = new PostgresCommandLog({ url: own.url, slots, signals: { ring: () => undefined } })
  logs.push(log)
  const appended = log.append({ envelope: { id: lowestIdAt(1), service: 's', command: 'c', keys: ['k'], input: '{}' } })
  await expect(appended).rejects.toMatchObject({ code: 'STORAGE_FULL', retryAfterSeconds: 30 })
  await database.query('drop function no_room cascade')
})
