import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { PostgresDatabase } from '../../src/adapters/postgres/database.ts'
import { PostgresInstances } from '../../src/adapters/postgres/instances.ts'
import { lockHolderName } from '../../src/adapters/postgres/lock-holders.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { Signals } from '../../src/adapters/postgres/signals.ts'
import { Membership } from '../../src/runtime/membership.ts'
import { heirsWithout, Ownership } from '../../src/stateful/partition/ownership.ts'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

const LEASE_MS = 1500
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

let own: TestDatabase
let database: PostgresDatabase
// One for all instances of this file: what one of them rings or hands over the others hear.
let signals: Signals
const members: Member[] = []

interface Member {
  readonly id: string
  readonly held: Set<number>
  readonly membership: Membership
  healthy: boolean
}

beforeEach(async () => {
  own = await testDatabase()
  await migrate(own.url, { appName: 'test', partitionCount: 64 })
  database = new PostgresDatabase({ url: own.url, applicationName: 'test', log: quiet })
  signals = new Signals({ url: own.url, log: quiet, hasPeers: () => true })
  await signals.start()
})
afterEach(async () => {
  await Promise.all(members.splice(0).map((member) => member.membership.stop()))
  await signals.stop()
  await database.close()
  await own.drop()
})

function ownershipOf(id: string, instances: PostgresInstances, held: Set<number>): Ownership {
  return new Ownership({
    instances,
    id,
    log: quiet,
    adopt: (rows) => Promise.resolve(rows.forEach((row) => held.add(row.partition))),
    drop: (partitions) => Promise.resolve(partitions.forEach((partition) => held.delete(partition))),
  })
}

async function join(instances = new PostgresInstances(database, signals, quiet)): Promise<Member> {
  const id = randomUUID()
  const held = new Set<number>()
  const ownership = ownershipOf(id, instances, held)
  const member: Member = {
    id,
    held,
    healthy: true,
    membership: new Membership({
      instances,
      id,
      roles: ['stateful'],
      leaseMs: LEASE_MS,
      log: quiet,
      healthy: () => member.healthy,
      onLook: (cluster) => ownership.balance(cluster),
      onHandedOver: (rows) => ownership.handedOver(rows),
      heirs: (cluster) => heirsWithout(id, cluster),
      onLost: () => ownership.lost(),
    }),
  }
  members.push(member)
  await member.membership.start()
  return member
}

const epochs = async (): Promise<number[]> => {
  const { rows } = await database.query<{ epoch: string }>('select epoch from twofold.partition order by partition')
  return rows.map((row) => Number(row.epoch))
}

test('the first instance takes everything, a second one gets half of it, and no partition has two owners', async () => {
  const first = await join()
  expect(first.held.size).toBe(64)
  const before = await epochs()
  const second = await join()
  await until('both have half', () => first.held.size === 32 && second.held.size === 32)
  expect([...first.held].filter((partition) => second.held.has(partition))).toEqual([])
  const after = await epochs()
  for (const partition of first.held) expect(after[partition]).toBe(before[partition])
  for (const partition of second.held) expect(after[partition]).toBeGreaterThan(before[partition] ?? 0)
})

test('a hand-over that fails half-way is made good: no partition stays with an owner that does not serve it', async () => {
  const instances = new PostgresInstances(database, signals, quiet)
  const handOver = instances.handOver.bind(instances)
  let failures = 0
  instances.handOver = (...given) => {
    failures += 1
    return failures > 1 ? handOver(...given) : Promise.reject(new Error('the connection broke'))
  }
  const [first, second] = [await join(instances), await join()]
  await until('both have half', () => first.held.size === 32 && second.held.size === 32)
  expect(failures).toBe(2)
})

test('an instance stops to serve what the rows give to somebody else', async () => {
  const first = await join()
  await database.query('update twofold._partition set owner = null, epoch = epoch + 1 where partition < 8')
  const before = await epochs()
  first.membership.lookNow()
  await until('it has taken them anew', async () => (await epochs())[0] === (before[0] ?? 0) + 1 && first.held.size === 64)
})

test('an instance that leaves is followed at once', async () => {
  const [first, second] = [await join(), await join()]
  await until('both have half', () => first.held.size === 32 && second.held.size === 32)
  const leftAt = performance.now()
  await second.membership.stop()
  await until('the first has everything', () => first.held.size === 64)
  expect(performance.now() - leftAt).toBeLessThan(LEASE_MS)
})

test('an instance that does not renew is replaced when its lease has ended, and joins again without its partitions', async () => {
  const [first, second] = [await join(), await join()]
  await until('both have half', () => first.held.size === 32 && second.held.size === 32)
  second.healthy = false
  await until('the first has everything', () => first.held.size === 64, LEASE_MS + 3000)
  expect(second.membership.mayWrite()).toBe(false)
  expect(await new PostgresInstances(database, signals, quiet).renew(second.id, LEASE_MS), 'too late to renew').toBe(false)
  second.healthy = true
  await until('the second has dropped what it held and got its share anew', () => second.held.size === 32 && first.held.size === 32)
  expect([...first.held].filter((partition) => second.held.has(partition))).toEqual([])
})

// Rule 24
test('how long an instance may write counts from before the renewal was sent, however late its answer comes', async () => {
  const instances = new PostgresInstances(database, signals, quiet)
  const [renew, cluster] = [instances.renew.bind(instances), instances.cluster.bind(instances)]
  const mayWrite: boolean[] = []
  const member = await join(instances)
  let late = false
  instances.renew = async (...given) => {
    const renewed = await renew(...given)
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS * 0.85))
    late = true
    return renewed
  }
  instances.cluster = () => {
    if (late) mayWrite.push(member.membership.mayWrite())
    return cluster()
  }
  await until('a renewal was answered late', () => mayWrite.length > 0)
  expect(mayWrite[0]).toBe(false)
})

test.each([-3_600_000, 3_600_000])('a process whose clock is %i ms off keeps its lease and nobody else’s', async (offMs) => {
  const instances = new PostgresInstances(database, signals, quiet)
  const [other, mine] = [randomUUID(), randomUUID()]
  await instances.join({ id: other, roles: [], leaseMs: 60_000 })
  await instances.claim(other, [1])
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + offMs })
  try {
    await instances.join({ id: mine, roles: [], leaseMs: 60_000 })
    expect(await instances.renew(mine, 60_000)).toBe(true)
    expect(await instances.claim(mine, [1, 2])).toMatchObject([{ partition: 2 }])
    expect((await instances.cluster()).instances.map(({ alive, leaseLeftMs }) => alive && leaseLeftMs < 61_000)).toEqual([true, true])
  } finally {
    vi.useRealTimers()
  }
})

test('only what is free is claimed, and every claim raises the epoch', async () => {
  const first = await join()
  const instances = new PostgresInstances(database, signals, quiet)
  const stranger = randomUUID()
  expect(await instances.claim(stranger, [1, 2, 3]), 'without a lease of its own').toEqual([])
  await instances.join({ id: stranger, roles: ['stateless'], leaseMs: LEASE_MS })
  expect(await instances.claim(stranger, [1, 2, 3]), 'held by a live owner').toEqual([])
  await instances.handOver(first.id, new Map([[2, undefined]]))
  const [claimed, ...others] = await instances.claim(stranger, [1, 2, 3])
  expect([claimed?.partition, claimed?.owner, others]).toEqual([2, stranger, []])
  expect(Number(claimed?.epoch)).toBe(3)
  await instances.leave(stranger)
})

/** A connection that keeps the lock of partition 1, as an owner in the middle of a transaction does. */
async function holderOf(owner: string): Promise<pg.Client> {
  const holder = new pg.Client({ connectionString: own.url, application_name: lockHolderName(owner) })
  holder.on('error', () => undefined)
  await holder.connect()
  await holder.query('begin')
  await holder.query('select 1 from twofold._partition where partition = 1 for share')
  return holder
}

/** An owner of partition 1, and somebody who wants it. */
async function ownerAndTaker(instances: PostgresInstances): Promise<[string, string]> {
  const [owner, taker] = [randomUUID(), randomUUID()]
  for (const id of [owner, taker]) await instances.join({ id, roles: [], leaseMs: 60_000 })
  await instances.claim(owner, [1, 2])
  return [owner, taker]
}

test('an heir owns what it is given in the same step, and hears which it is; one whose lease has ended gets nothing', async () => {
  const instances = new PostgresInstances(database, signals, quiet)
  const [owner, taker] = await ownerAndTaker(instances)
  const heard: unknown[] = []
  const stop = instances.onHandedOver(taker, (rows) => heard.push(rows))
  const none = (await epochs()).map(() => undefined)
  await instances.handOver(owner, new Map([1, 63].map((partition) => [partition, taker])))
  await until('the heir hears it', () => heard.length > 0)
  expect(heard, 'and of nothing that was not its owner’s to give').toEqual([[{ partition: 1, owner: taker, epoch: '2' }]])
  await endLease(taker)
  await instances.handOver(owner, new Map([[2, taker]]))
  expect((await instances.cluster()).partitions.slice(0, 4).map((row) => row.owner)).toEqual([undefined, taker, undefined, undefined])
  expect(await epochs()).toEqual(none.map((_, partition) => ({ 1: 2, 2: 2 })[partition] ?? 0))
  stop()
})

test('who leaves hands everything over: to the heirs that live, the rest to nobody', async () => {
  const instances = new PostgresInstances(database, signals, quiet)
  const [owner, taker] = await ownerAndTaker(instances)
  const heard: unknown[] = []
  const stop = instances.onHandedOver(taker, (rows) => heard.push(rows))
  await instances.leave(owner, new Map([[1, taker]]))
  await until('the heir hears it', () => heard.length > 0)
  expect(heard).toEqual([[{ partition: 1, owner: taker, epoch: '2' }]])
  const { instances: left, partitions } = await instances.cluster()
  expect([left.map(({ id }) => id), partitions[1]?.owner, partitions[2]]).toMatchObject([[taker], taker, { owner: undefined, epoch: '2' }])
  stop()
})

test('what was handed over is served at once, is not claimed again, and stays whatever an older look has seen', async () => {
  const instances = new PostgresInstances(database, signals, quiet)
  const [owner, taker] = [randomUUID(), randomUUID()]
  for (const id of [owner, taker]) await instances.join({ id, roles: ['stateful'], leaseMs: 60_000 })
  await instances.claim(
    owner,
    Array.from({ length: 64 }, (_, partition) => partition),
  )
  const before = await instances.cluster()
  const held = new Set<number>()
  const ownership = ownershipOf(taker, instances, held)
  await ownership.balance(before)
  const heirs = new Map([...heirsWithout(randomUUID(), before)].filter(([, heir]) => heir === taker))
  await instances.handOver(owner, heirs)
  const given = (await instances.cluster()).partitions.filter((row) => row.owner === taker)
  ownership.handedOver(given)
  await ownership.balance(before)
  expect(held).toEqual(new Set(heirs.keys()))
  const after = await instances.cluster()
  await ownership.balance(after)
  expect([held, (await instances.cluster()).partitions]).toEqual([new Set(heirs.keys()), after.partitions])
  await database.query('update twofold._partition set owner = $1, epoch = epoch + 1 where partition = $2', [owner, given[0]?.partition])
  await ownership.balance(await instances.cluster())
  expect(held.has(given[0]?.partition ?? -1), 'what was taken away since').toBe(false)
})

test('what is handed over while the engine lets go of it is served after the next look', async () => {
  const instances = new PostgresInstances(database, signals, quiet)
  const id = randomUUID()
  await instances.join({ id, roles: ['stateful'], leaseMs: 60_000 })
  const served = new Set<number>()
  const letGo = Promise.withResolvers<void>()
  const ownership = new Ownership({
    instances,
    id,
    log: quiet,
    adopt: (rows) => Promise.resolve(rows.forEach((row) => served.add(row.partition))),
    drop: (partitions) => letGo.promise.then(() => partitions.forEach((partition) => served.delete(partition))),
  })
  await ownership.balance(await instances.cluster())
  expect(served.size).toBe(64)
  // Its lease has ended, others had the partition, and give it back before the engine has finished the batch that it was at.
  const lost = ownership.lost()
  await database.query('update twofold._partition set epoch = epoch + 2 where partition = 7')
  ownership.handedOver((await instances.cluster()).partitions.filter((row) => row.partition === 7))
  letGo.resolve()
  await lost
  await ownership.balance(await instances.cluster())
  expect(served.size).toBe(64)
})

const endLease = (id: string): Promise<unknown> =>
  database.query('update twofold._instance set lease_until = clock_timestamp() where id = $1', [id])

// Rule 18
test('connections on which a former owner keeps locks are ended once its lease has ended, and not before', async () => {
  const instances = new PostgresInstances(database, signals, quiet)
  const [owner, taker] = await ownerAndTaker(instances)
  const [holder, other] = [await holderOf(owner), await holderOf(taker)]
  await other.query('commit')
  expect(await instances.claim(taker, [1])).toEqual([])
  expect((await holder.query('select 1')).rowCount, 'its lease has not ended').toBe(1)
  await endLease(owner)
  expect(await instances.claim(taker, [1])).toMatchObject([{ partition: 1, owner: taker, abandoned: true }])
  expect(await instances.claim(taker, [1]), 'again, after it could not be served').toMatchObject([{ abandoned: true }])
  await expect(holder.query('select 1')).rejects.toThrow(/terminat|not queryable/)
  expect((await other.query('select 1')).rowCount, 'connections of others go on').toBe(1)
  await other.end()
})

test('who may not end the connections of a former owner says so, and takes over once their locks are gone', async () => {
  const [owner, taker] = await ownerAndTaker(new PostgresInstances(database, signals, quiet))
  const role = `taker_${randomUUID().replaceAll('-', '')}`
  await database.query(`create role ${role} login password 'secret'`)
  await database.query(`grant usage on schema twofold to ${role}`)
  await database.query(`grant select, insert, update, delete on all tables in schema twofold to ${role}`)
  const url = new URL(own.url)
  Object.assign(url, { username: role, password: 'secret' })
  const limited = new PostgresDatabase({ url: url.href, applicationName: 'test', log: quiet })
  const said: string[] = []
  const instances = new PostgresInstances(limited, signals, { ...quiet, warn: (_, message) => said.push(message) })
  const holder = await holderOf(owner)
  try {
    await endLease(owner)
    await expect(instances.claim(taker, [1]), 'the lock is waited for, with a bound').rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(said).toEqual([expect.stringContaining('grant pg_signal_backend')])
    await holder.query('rollback')
    expect(await instances.claim(taker, [1])).toMatchObject([{ partition: 1, owner: taker, abandoned: true }])
  } finally {
    await holder.end()
    await limited.close()
    await database.query(`drop owned by ${role}`)
    await database.query(`drop role ${role}`)
  }
})
