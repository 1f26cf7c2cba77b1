import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { PostgresDatabase } from '../../src/adapters/postgres/database.ts'
import { PostgresInstances } from '../../src/adapters/postgres/instances.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { Membership } from '../../src/runtime/membership.ts'
import { Ownership } from '../../src/stateful/partition/ownership.ts'
import { until } from '../e2e/program.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

const LEASE_MS = 1500
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

let own: TestDatabase
let database: PostgresDatabase
const members: Member[] = []
const listeners = new Set<() => void>()
// All instances of this test hear each other at once, as they would by NOTIFY.
const signals = {
  ring: (): void => listeners.forEach((wake) => wake()),
  listen(_: 'partition', wake: () => void) {
    listeners.add(wake)
    return () => void listeners.delete(wake)
  },
}

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
})
afterEach(async () => {
  await Promise.all(members.splice(0).map((member) => member.membership.stop()))
  await database.close()
  await own.drop()
})

async function join(instances = new PostgresInstances(database, signals)): Promise<Member> {
  const id = randomUUID()
  const held = new Set<number>()
  const ownership = new Ownership({
    instances,
    id,
    log: quiet,
    adopt: (rows) => Promise.resolve(rows.forEach((row) => held.add(row.partition))),
    drop: (partitions) => Promise.resolve(partitions.forEach((partition) => held.delete(partition))),
  })
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
  const instances = new PostgresInstances(database, signals)
  const release = instances.release.bind(instances)
  let failures = 0
  instances.release = (...given) => {
    failures += 1
    return failures > 1 ? release(...given) : Promise.reject(new Error('the connection broke'))
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
  expect(await new PostgresInstances(database, signals).renew(second.id, LEASE_MS), 'too late to renew').toBe(false)
  second.healthy = true
  await until('the second has dropped what it held and got its share anew', () => second.held.size === 32 && first.held.size === 32)
  expect([...first.held].filter((partition) => second.held.has(partition))).toEqual([])
})

test('only what is free is claimed, and every claim raises the epoch', async () => {
  const first = await join()
  const instances = new PostgresInstances(database, signals)
  const stranger = randomUUID()
  expect(await instances.claim(stranger, [1, 2, 3]), 'without a lease of its own').toEqual([])
  await instances.join({ id: stranger, roles: ['stateless'], leaseMs: LEASE_MS })
  expect(await instances.claim(stranger, [1, 2, 3]), 'held by a live owner').toEqual([])
  await instances.release(first.id, [2])
  const [claimed, ...others] = await instances.claim(stranger, [1, 2, 3])
  expect([claimed?.partition, claimed?.owner, others]).toEqual([2, stranger, []])
  expect(Number(claimed?.epoch)).toBe(3)
  await instances.leave(stranger)
})
