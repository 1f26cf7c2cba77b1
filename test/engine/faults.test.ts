// What goes wrong around a batch: answers that are lost, states that cannot be read, owners that come and go.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockHolderName } from '../../src/adapters/postgres/lock-holders.ts'
import { BatchAborted } from '../../src/ports/effect-store.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import { until } from '../e2e/program.ts'
import { but, engineDatabase, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())

const credit = (account: string): ['credit', { account: string; amount: number }] => ['credit', { account, amount: 1 }]

/** Every event number of every partition, in order. */
async function numbers(): Promise<Record<number, number[]>> {
  const { rows } = await bank.client.query<{ partition: number; seqs: string[] }>(
    'select partition, array_agg(seq order by seq) as seqs from twofold.event group by partition',
  )
  return Object.fromEntries(rows.map(({ partition, seqs }) => [partition, seqs.map(Number)]))
}

test('a commit whose answer is lost, and which is stored only later, leaves no event without or with another one’s number', async () => {
  let late: (() => Promise<void>) | undefined
  let lose = false
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        // The answer is lost, and the statement itself is stored only after the engine has asked what became of it.
        commit: async (batch) => {
          if (!lose) return real.commit(batch)
          lose = false
          late = async () => {
            await real.commit(batch)
            await real.close()
          }
          throw new BatchAborted('lost', 'the answer never came')
        },
        lastEvents: async (partitions) => {
          const last = await real.lastEvents(partitions)
          await late?.()
          late = undefined
          return last
        },
        close: () => (late === undefined ? real.close() : Promise.resolve()),
      }),
  })
  await bank.call(engine, ...credit('a'))
  lose = true
  const doubtful = await bank.call(engine, ...credit('a'))
  expect(doubtful).toMatchObject({ status: 'finished', outcome: { version: 2 } })
  for (let round = 0; round < 3; round += 1) await bank.call(engine, ...credit('a'))
  expect(Object.values(await numbers())).toEqual([[1, 2, 3, 4, 5]])
  expect([await bank.balances(), await bank.count('outcome')]).toEqual([{ a: 5 }, 5])
})

test('whoever’s commit lost its answer is not told that it has not begun, also where its partition turns out to be lost', async () => {
  let lose = true
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        commit: async (batch) => {
          if (!lose) return real.commit(batch)
          lose = false
          await bank.takeOver(bank.partitions)
          throw new BatchAborted('lost', 'the answer never came')
        },
      }),
  })
  expect(await bank.call(engine, ...credit('a'))).toEqual({ status: 'deferred', begun: true })
})

test('nobody is answered before the commit, and nobody is told of success when it fails', async () => {
  let commit: (() => void) | undefined
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        commit: async (batch) => {
          await new Promise<void>((resolve) => (commit = resolve))
          await real.commit(batch)
        },
      }),
  })
  let answered = false
  const call = bank.call(engine, ...credit('a')).finally(() => (answered = true))
  await until('the commit is begun', () => commit !== undefined)
  await bank.count('outcome')
  expect(answered).toBe(false)
  commit?.()
  expect(await call).toMatchObject({ status: 'finished' })
})

test('two batches that begin at the same event number cannot both be stored', async () => {
  await bank.client.query(`insert into twofold._event (partition, seq, count, body) values (0, 2, 1, '{}')`)
  const overlapping = bank.client.query(`insert into twofold._event (partition, seq, count, body) values (0, 3, 2, '{}')`)
  await expect(overlapping).rejects.toMatchObject({ code: '23505' })
})

test('a state of a newer program is not touched by an older one, and its commands wait', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 2 } })
  await bank.call(engine, ...credit('a'))
  await bank.client.query('update twofold._entity set version = 2, shape = 2')
  expect((await bank.call(engine, ...credit('a'))).status).toBe('held')
  expect(await bank.call(engine, ...credit('b'))).toMatchObject({ status: 'finished' })
  const waited = `select 1 from twofold._parked where error like '%only a newer program%' and attempts = 0 and due_at > clock_timestamp()`
  await until('it was tried more often than any failing command', async () => (await bank.client.query(waited)).rowCount === 1)
  await bank.client.query('update twofold._entity set version = 3, shape = 1')
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  expect(await bank.balances()).toEqual({ a: 2, b: 1 })
})

test('a state that cannot be read fails its own commands and nobody else’s', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 2 } })
  await bank.client.query(`insert into twofold._entity values ('bank', 'broken', 1, 1, 'no JSON')`)
  const [broken, sound] = await Promise.all([bank.call(engine, ...credit('broken')), bank.call(engine, ...credit('sound'))])
  expect([broken.status, sound.status]).toEqual(['held', 'finished'])
  await until('the command is dead', async () => (await bank.count('dead_letter')) === 1)
})

test('of a batch whose partitions are partly lost, the commands of the others are done', async () => {
  const engine = await bank.engine()
  const accounts = Array.from({ length: 8 }, (_, at) => `account-${at}`)
  const lost = partitionOf(bank.slots, 'bank', 'account-0')
  await Promise.all(accounts.map((account) => bank.call(engine, ...credit(account))))
  await bank.takeOver([lost])
  const results = await Promise.all(accounts.map((account) => bank.call(engine, ...credit(account))))
  expect(results.map(({ status }) => status)).toEqual(
    accounts.map((account) => (partitionOf(bank.slots, 'bank', account) === lost ? 'deferred' : 'finished')),
  )
})

test('a key that somebody else writes between every read and commit is locked first, so that its command gets through', async () => {
  let rivals = 0
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        commit: async (batch) => {
          rivals += 1
          await bank.client.query(
            `insert into twofold._entity values ('bank', 'hot', 1, 1, '{"balance":1}')
             on conflict (service, key) do update set version = _entity.version + 1`,
          )
          return real.commit(batch)
        },
      }),
  })
  expect(await bank.call(engine, ...credit('hot'))).toMatchObject({ status: 'finished', outcome: { body: '{"balance":2}' } })
  expect(rivals).toBeLessThan(4)
})

test('of a batch with a value that the database refuses, that command alone fails, and the others take effect once', async () => {
  const bad = bank.envelope(...credit('b'))
  let seen = 0
  const engine = await bank.engine(undefined, {
    retry: { attempts: 1 },
    session: (real) =>
      but(real, {
        commit: async (batch) => {
          seen = Math.max(seen, batch.outcomes.length)
          if (batch.outcomes.some(({ id, status }) => id === bad.id && status !== 'dead')) throw new BatchAborted('data', 'no such value')
          await real.commit(batch)
        },
      }),
  })
  const calls = ['a', 'a', 'b', 'c', 'b'].map((account, at) => engine.call(at === 2 ? bad : bank.envelope(...credit(account))))
  const results = await Promise.all(calls)
  expect(seen).toBe(5)
  expect(results.map((result) => result.status === 'finished' && result.outcome.status)).toEqual([
    'succeeded',
    'succeeded',
    'dead',
    'succeeded',
    'succeeded',
  ])
  expect(await bank.balances()).toEqual({ a: 2, b: 1, c: 1 })
})

// Rule 16
test('keys of several owners that were locked cannot be written by anybody until their commit', async () => {
  const engine = await bank.engine()
  await bank.call(engine, ...credit('hot'))
  const session = await bank.store().open()
  try {
    const written = await session.locked([{ service: 'bank', key: 'hot' }], [], async () => {
      await bank.client.query(`set lock_timeout = '100ms'`)
      const holders = await bank.client.query(
        `select 1 from pg_stat_activity where datname = current_database() and application_name = $1 and state = 'idle in transaction'`,
        [lockHolderName(bank.instanceId)],
      )
      expect(holders.rowCount, 'a successor can tell whose locks these are').toBe(1)
      const write = `update twofold._entity set version = version + 1 where key = 'hot'`
      return bank.client.query(write).then(
        () => 'written',
        (error: Error) => error.message,
      )
    })
    expect(written).toContain('lock timeout')
  } finally {
    await session.close()
  }
})

test('an engine that serves nothing and whose connections are gone serves what it gets at the next try', async () => {
  const engine = await bank.engine([])
  await bank.client.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and application_name = 'twofold engine'`,
  )
  const rows = await bank.takeOver(bank.partitions)
  const adopted = (): Promise<boolean> =>
    engine.adopt(rows).then(
      () => true,
      () => false,
    )
  await until('it serves them', adopted)
  expect(await bank.call(engine, ...credit('a'))).toMatchObject({ status: 'finished', outcome: { version: 1 } })
})

test('an engine that waits for work is not busy', async () => {
  const engine = await bank.engine()
  await bank.call(engine, ...credit('a'))
  await until('the batch is over', () => engine.busyMs() === 0, 1000)
})

test('an engine stops while PostgreSQL is away: what waits is sent to the log, nothing is thrown', async () => {
  let away = false
  const gone = (): Promise<never> => Promise.reject(new BatchAborted('lost', 'PostgreSQL is away'))
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        take: (...given) => (away ? gone() : real.take(...given)),
        lastEvents: (...given) => (away ? gone() : real.lastEvents(...given)),
      }),
  })
  away = true
  const waiting = bank.call(engine, ...credit('a'))
  await engine.stop()
  expect(await waiting).toMatchObject({ status: 'deferred' })
})
