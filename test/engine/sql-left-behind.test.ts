// Rule 21 for SQL commands: what may have ended a process is begun once more, alone and counted, and not begun again for ever.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { memoryCarrier } from 'twofold/testing'
import { carriedMessage } from '../../src/ports/carrier.ts'
import { BatchAborted } from '../../src/ports/effect-store.ts'
import { pause } from '../../src/runtime/backoff.ts'
import type { Engine } from '../../src/stateful/engine/engine.ts'
import { until } from '../e2e/program.ts'
import { within } from '../support/within.ts'
import { butSql, sqlScene, type SqlEngineOptions, type SqlScene } from './sql-fixture.ts'

let scene: SqlScene

beforeEach(async () => {
  scene = await sqlScene()
})
afterEach(() => scene.close())

const forEver = new Promise<never>(() => undefined)

/** An engine in a process that may die: once it is `killed`, nothing that it has in hand is stored any more. */
async function mortal(options: SqlEngineOptions = {}): Promise<{ readonly engine: Engine; readonly kill: () => Promise<void> }> {
  let isGone = false
  const unlessGone = async (store: () => Promise<void>): Promise<void> => {
    if (isGone) throw new BatchAborted('lost', 'the process has ended')
    await store()
  }
  const engine = await scene.engine(undefined, {
    ...options,
    session: (real) =>
      butSql(real, {
        commit: (batch) => unlessGone(() => real.commit(batch)),
        commitWithout: (batch) => unlessGone(() => real.commitWithout(batch)),
      }),
  })
  const kill = async (): Promise<void> => {
    isGone = true
    await engine.stop()
  }
  return { engine, kill }
}

/** What is stored of commands that were begun and have not ended, in the order in which they were made. */
async function begun(): Promise<number[]> {
  return (await scene.client.query<{ count: number }>('select count from twofold._attempt order by id')).rows.map(({ count }) => count)
}

async function deadLetters(): Promise<unknown[]> {
  return (await scene.client.query('select id, attempts, error from twofold.dead_letter')).rows
}

const blamed = { attempts: 2, error: expect.stringContaining('did not return, or ended the process') }

test('an SQL command that ends its process again and again dies, and who ran beside it does not', { timeout: 40_000 }, async () => {
  const [bad = '', slow = '', quick = '', free = ''] = scene.neighbours(4)
  let counter = 0
  while (scene.partitionOf(`c-${counter}`, 'counters') !== 0) counter += 1
  const [runs, running]: [string[], Set<string>] = [[], new Set()]
  let hanging = new Set([bad, slow])
  const beside = Promise.withResolvers<string>()
  for (const account of [bad, slow, free])
    scene.acts.set(account, async (tx) => {
      runs.push(account)
      if (hanging.size === 1 && running.size > 0) beside.resolve(account)
      running.add(account)
      if (hanging.has(account)) await forEver
      await tx.query('insert into account values ($1, 1)', [account])
      running.delete(account)
    })
  const poison = scene.envelope('act', { account: bad })
  await scene.append([
    poison,
    scene.envelope('count', { account: `c-${counter}` }),
    scene.envelope('act', { account: slow }),
    scene.envelope('put', { account: quick }),
    scene.envelope('put', { account: bad, amount: 7 }),
  ])
  const first = await mortal({ abandoned: true })
  await until('all but two have ended', async () => runs.length === 2 && (await scene.count('outcome')) === 2)
  expect(await begun()).toEqual([1, 1])
  await first.kill()
  running.clear()

  hanging = new Set([bad])
  const second = await mortal({ abandoned: true })
  const isPoison = (account: string): boolean => account === bad
  await until('it is begun once more', () => runs.filter(isPoison).length === 2)
  const [direct, counted] = [scene.envelope('act', { account: free }), scene.envelope('count', { account: `c-${counter}` })]
  const calls = [direct, counted].map((envelope) => second.engine.call(envelope))
  for (const call of calls) void call.then(({ status }) => status === 'finished' && beside.resolve('an answer'))
  expect(await Promise.race([beside.promise, pause(500, new AbortController().signal)])).toBeUndefined()
  expect((await begun())[0]).toBe(2)
  await second.kill()
  await Promise.all(calls)

  await mortal({ abandoned: true })
  await until('the log is consumed', async () => (await scene.count('_command')) === 0)
  expect(await deadLetters()).toMatchObject([{ ...blamed, id: poison.id }])
  expect([await scene.balances(), await begun()]).toEqual([{ [bad]: 7, [quick]: 1, [slow]: 1 }, []])
  expect(runs.filter(isPoison)).toHaveLength(2)
})

test('an entity command that is suspected waits until no SQL handler runs, and SQL handlers wait for it', { timeout: 20_000 }, async () => {
  const [slow = '', later = ''] = scene.neighbours(2)
  let counter = 0
  while (scene.partitionOf(`c-${counter}`, 'counters') !== 1) counter += 1
  const [others, rest] = [scene.partitions.filter((partition) => partition !== 1), [1]]
  const hold = Promise.withResolvers<void>()
  const order: string[] = []
  for (const account of [slow, later])
    scene.acts.set(account, async (tx) => {
      order.push(`${account} ${await scene.count('entity')}`)
      if (account === slow) await hold.promise
      await tx.query('insert into account values ($1, 1)', [account])
    })
  const suspect = scene.envelope('count', { account: `c-${counter}` })
  await scene.append([suspect])
  await scene.client.query('insert into twofold._attempt values ($1, 1)', [suspect.id])
  const engine = await scene.engine(others)
  const running = scene.call(engine, 'act', { account: slow })
  await until('a handler runs', () => order.length === 1)
  await engine.adopt(await scene.takeOver(rest, true))
  await until('it is this lane that waits', () => engine.inHand(suspect.id))
  const waiting = scene.call(engine, 'act', { account: later })
  // Partitions change hands meanwhile: whoever waits for that renews the lease.
  await within('another partition is given up', engine.drop([2]))
  expect(await scene.count('entity')).toBe(0)
  hold.resolve()
  expect([await running, await waiting].map(({ status }) => status)).toEqual(['finished', 'finished'])
  expect(order).toEqual([`${slow} 0`, `${later} 1`])
})

test('an SQL command that a broker delivers again and again dies after as many processes', { timeout: 40_000 }, async () => {
  const broker = memoryCarrier()
  const carrier = (): ReturnType<typeof broker.open> =>
    broker.open({
      app: 'vault',
      databaseId: '0123abcd',
      partitionCount: scene.slots.partitionCount,
      instanceId: '',
      leaseMs: 10_000,
      carriedMsMax: 60_000,
      waitingMax: 1000,
      warn: () => undefined,
    })
  let runs = 0
  scene.acts.set('bad', async () => {
    runs += 1
    await forEver
  })
  const poison = scene.envelope('act', { account: 'bad' })
  const behind = scene.envelope('put', { account: 'bad' })
  const publisher = await carrier()
  for (const envelope of [poison, behind]) await publisher.publish(carriedMessage(envelope, scene.partitionOf('bad')))
  for (let life = 1; life <= 3; life += 1) {
    const { kill } = await mortal({ abandoned: life > 1, carrier: await carrier() })
    await until('it is begun', () => runs === life)
    expect(await begun()).toEqual(life === 1 ? [] : [life - 1])
    await kill()
  }
  await mortal({ abandoned: true, carrier: await carrier() })
  await until('who is behind it has run', async () => (await scene.balances())['bad'] === 1)
  expect([await deadLetters(), runs, await begun()]).toEqual([[{ ...blamed, id: poison.id }], 3, []])
})

test('a parked SQL command that ends its process dies, and its key waits as its contract says', { timeout: 40_000 }, async () => {
  let runs = 0
  scene.acts.set('bad', async () => {
    runs += 1
    if (runs === 1) throw new Error('once')
    await forEver
  })
  const poison = scene.envelope('act', { account: 'bad' })
  await scene.append([poison, scene.envelope('put', { account: 'bad' }), scene.envelope('put', { account: 'good' })])
  for (let life = 1; life <= 3; life += 1) {
    const { kill } = await mortal({ abandoned: life > 1, retry: { attempts: 10 }, afterDeath: 'park' })
    await until('it is tried again', () => runs === life + 1)
    expect(await begun()).toEqual(life === 1 ? [] : [life - 1])
    await kill()
  }
  const { engine } = await mortal({ abandoned: true, retry: { attempts: 10 }, afterDeath: 'park' })
  await until('all that was begun has ended', async () => (await scene.count('dead_letter')) === 1 && (await begun()).length === 0)
  expect([await deadLetters(), runs]).toEqual([[{ ...blamed, id: poison.id }], 4])
  expect((await scene.call(engine, 'put', { account: 'bad' })).status).toBe('held')
  expect(await scene.balances()).toEqual({ good: 1 })
  await scene.client.query(`select twofold.release_key('vault', 'bad')`)
  await until('its key goes on', async () => (await scene.balances())['bad'] === 2)
})

test('an SQL command under watch that is given back is not held to have ended its process', { timeout: 20_000 }, async () => {
  let runs = 0
  scene.acts.set('a', async (tx) => {
    runs += 1
    if (runs < 4) await forEver
    await tx.query(`insert into account values ('a', 1)`)
  })
  await scene.append([scene.envelope('act', { account: 'a' })])
  for (let owner = 1; owner <= 3; owner += 1) {
    const engine = await scene.engine(undefined, { abandoned: true })
    await until('it runs', () => runs === owner)
    expect(await begun()).toEqual([1])
    await engine.drop(scene.partitions)
    expect(await begun()).toEqual([])
  }
  await scene.engine(undefined, { abandoned: true })
  await until('it has run', async () => (await scene.balances())['a'] === 1)
  expect([await scene.count('dead_letter'), await begun()]).toEqual([0, []])
})

test('an SQL command whose connection dies again and again while it runs under watch was begun once', { timeout: 20_000 }, async () => {
  let runs = 0
  const counts: number[] = []
  scene.acts.set('a', async (tx) => {
    runs += 1
    counts.push(...(await begun()))
    await tx.query(`insert into account values ('a', 1)`)
    if (runs < 5) await tx.query('select pg_terminate_backend(pg_backend_pid())')
  })
  await scene.append([scene.envelope('act', { account: 'a' })])
  await scene.engine(undefined, { abandoned: true, retry: { attempts: 1 } })
  await until('it has run', async () => (await scene.balances())['a'] === 1)
  expect([counts, await scene.count('dead_letter'), await begun()]).toEqual([[1, 1, 1, 1, 1], 0, []])
})
