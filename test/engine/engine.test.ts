import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import type { Condition } from '../../src/contract/condition.ts'
import type { DirectResult } from '../../src/ports/direct-carrier.ts'
import { partitionOf } from '../../src/ports/slots.ts'
import { until } from '../e2e/program.ts'
import type { EffectSession } from '../../src/ports/effect-store.ts'
import { but, engineDatabase, exploding, type EngineDatabase } from './fixture.ts'

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())
afterAll(() => exploding.clear())

const finished = (reply: object): object => ({
  status: 'finished',
  outcome: expect.objectContaining({ status: 'succeeded', body: JSON.stringify(reply) }),
})

test('a direct command is stored with its state, outcome and event in one go', async () => {
  const engine = await bank.engine()
  const result = await bank.call(engine, 'credit', { account: 'a', amount: 5 })
  expect(result).toMatchObject({ ...finished({ balance: 5 }), outcome: { version: 1, eventSeq: 1 } })
  expect([await bank.balances(), await bank.count('outcome'), await bank.count('event')]).toEqual([{ a: 5 }, 1, 1])
})

test('versions rise by one without gaps, also for many commands of one key in one batch', async () => {
  const engine = await bank.engine()
  const results = await Promise.all(Array.from({ length: 500 }, () => bank.call(engine, 'credit', { account: 'a', amount: 1 })))
  const versions = results.map((result) => (result.status === 'finished' ? result.outcome.version : -1))
  expect(versions).toEqual(Array.from({ length: 500 }, (_, at) => at + 1))
  expect(await bank.balances()).toEqual({ a: 500 })
})

test('a former owner stores nothing: not a change, and not a rejection it decided on a stale state', async () => {
  // Each by an engine of its own: one that was refused once lets go of everything.
  for (const [account, command, amount] of [['a', 'debit', 50] as const, ['b', 'credit', 1] as const]) {
    const zombie = await bank.engine()
    await bank.call(zombie, 'credit', { account, amount: 5 })
    const successor = await bank.engine()
    await bank.call(successor, 'credit', { account, amount: 95 })
    expect(await bank.call(zombie, command, { account, amount })).toEqual({ status: 'deferred' })
  }
  expect([await bank.balances(), await bank.count('outcome')]).toEqual([{ a: 100, b: 100 }, 4])
})

test('a takeover waits for the statement under way, and the statement of a former owner does not pass it', async () => {
  const zombie = await bank.engine()
  await bank.call(zombie, 'credit', { account: 'a', amount: 5 })
  await bank.client.query('begin')
  await bank.client.query('update twofold._partition set epoch = epoch + 1')
  const blocked = bank.call(zombie, 'credit', { account: 'a', amount: 1 })
  const waiting = `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and application_name = 'twofold engine'`
  await until('the batch waits for the takeover', async () => (await bank.client.query(waiting)).rowCount === 1)
  await bank.client.query('commit')
  expect(await blocked).toEqual({ status: 'deferred' })
  expect(await bank.balances()).toEqual({ a: 5 })
})

test('a stale cached version never commits: the batch is run again on what is there', async () => {
  const engine = await bank.engine()
  await bank.call(engine, 'credit', { account: 'a', amount: 5 })
  await bank.client.query(`update twofold._entity set version = 7, state = '{"balance":70}'`)
  expect(await bank.call(engine, 'credit', { account: 'a', amount: 1 })).toMatchObject({ outcome: { body: '{"balance":71}', version: 8 } })
})

test('a rejection on a stale cached version is decided again', async () => {
  const engine = await bank.engine()
  await bank.call(engine, 'credit', { account: 'a', amount: 5 })
  await bank.client.query(`update twofold._entity set version = 7, state = '{"balance":70}'`)
  expect(await bank.call(engine, 'debit', { account: 'a', amount: 50 })).toMatchObject(finished({ balance: 20 }))
})

test('a condition is checked where the state is: of many who saw the same version one succeeds, the others change nothing', async () => {
  const engine = await bank.engine()
  const credit = (condition: Condition): Promise<DirectResult> =>
    engine.call({ ...bank.envelope('credit', { account: 'c', amount: 1 }), condition }, AbortSignal.timeout(10_000))
  const [early, first, second] = await Promise.all([{ versions: [1] }, 'absent' as const, 'absent' as const].map(credit))
  expect([early, first, second]).toMatchObject([
    { outcome: { status: 'rejected', code: 'PRECONDITION_FAILED', version: 0 } },
    { outcome: { status: 'succeeded', version: 1 } },
    { outcome: { status: 'rejected', code: 'PRECONDITION_FAILED', version: 1 } },
  ])
  const rivals = await Promise.all(Array.from({ length: 20 }, () => credit({ versions: [1] })))
  expect(rivals.filter((result) => result.status === 'finished' && result.outcome.status === 'succeeded')).toHaveLength(1)
  expect(await credit('present')).toMatchObject({ outcome: { status: 'succeeded', version: 3, body: '{"balance":3}' } })
})

test('a command that was carried twice takes effect once, and both are told the same', async () => {
  const engine = await bank.engine()
  const id = bank.nextId()
  const once = await bank.call(engine, 'credit', { account: 'a', amount: 5 }, id)
  expect(await bank.call(engine, 'credit', { account: 'a', amount: 5 }, id)).toMatchObject(finished({ balance: 5 }))
  const twins = await Promise.all(
    [1, 2].map(() => bank.call(engine, 'credit', { account: 'b', amount: 5 }, '0190b1d2-7000-7000-8000-ffffffffffff')),
  )
  expect([once, ...twins]).toEqual([once, twins[1], twins[1]])
  await bank.append([bank.envelope('credit', { account: 'a', amount: 5 }, id), bank.envelope('credit', { account: 'a', amount: 1 })])
  engine.inHand(id)
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  expect([await bank.balances(), await bank.count('outcome')]).toEqual([{ a: 6, b: 5 }, 3])
})

// Rule 14
test('a direct command never overtakes what the log holds for its key', async () => {
  // The engine looks at the log once before, and sees nothing, so that both are there when it looks again.
  let look: (() => void) | undefined
  let looks = 0
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        take: async (...given) => {
          looks += 1
          if (looks > 1) return real.take(...given)
          await new Promise<void>((resolve) => (look = resolve))
          return { rows: [], more: new Set() }
        },
      }),
  })
  await until('the engine looks at the log', () => look !== undefined)
  await bank.append([bank.envelope('credit', { account: 'a', amount: 50 })])
  const debit = bank.call(engine, 'debit', { account: 'a', amount: 50 })
  look?.()
  expect(await debit).toMatchObject(finished({ balance: 0 }))
})

test('what is appended where nothing waited before still goes before a direct command', async () => {
  const engine = await bank.engine()
  for (let round = 0; round < 3; round += 1) {
    // The batch of this call finds an empty log.
    await bank.call(engine, 'look', { account: 'a', amount: 0 })
    await bank.append([bank.envelope('credit', { account: 'a', amount: 50 })])
    expect(await bank.call(engine, 'debit', { account: 'a', amount: 50 })).toMatchObject(finished({ balance: 0 }))
  }
})

test('a commit that looks into the log itself stores nothing when something waits there', async () => {
  const commits: (readonly number[] | undefined)[] = []
  const engine = await bank.engine(undefined, {
    session: (real) =>
      but(real, {
        commit(batch) {
          commits.push(batch.unread)
          return real.commit(batch)
        },
      }),
  })
  for (let round = 0; round < 5; round += 1) {
    // Until the log has been empty for a while.
    do await bank.call(engine, 'look', { account: 'a', amount: 0 })
    while (commits.at(-1) === undefined)
    const before = commits.length
    await bank.append([bank.envelope('credit', { account: 'a', amount: 50 })])
    expect(await bank.call(engine, 'debit', { account: 'a', amount: 50 })).toMatchObject(finished({ balance: 0 }))
    // Once refused the log is read, and not looked into again and again.
    expect(commits.slice(before).filter((unread) => unread !== undefined).length).toBeLessThanOrEqual(1)
  }
  expect(await bank.balances()).toEqual({ a: 0 })
})

test('once its epoch is over an engine stores nothing, also of keys that nobody else has touched', async () => {
  // A change, a rejection and a mere look, each by an engine of its own: one that was refused once lets go of everything.
  for (const command of ['credit', 'debit', 'look'] as const) {
    const engine = await bank.engine()
    await bank.takeOver(bank.partitions)
    expect(await bank.call(engine, command, { account: 'new', amount: 1 })).toEqual({ status: 'deferred' })
  }
  expect([await bank.balances(), await bank.count('outcome')]).toEqual([{}, 0])
})

test('commands of the log take effect in their order', async () => {
  await bank.append(Array.from({ length: 300 }, (_, at) => bank.envelope('credit', { account: `k${at % 7}`, amount: at })))
  await bank.append([bank.envelope('debit', { account: 'k0', amount: 1 })])
  await bank.engine()
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  const { rows } = await bank.client.query(
    `select key, array_agg((data ->> 'by')::int order by seq) as amounts from twofold.event group by key`,
  )
  for (const { key, amounts } of rows) {
    const number = Number(key.slice(1))
    const expected = Array.from({ length: 300 }, (_, at) => at).filter((at) => at % 7 === number)
    expect(amounts).toEqual(number === 0 ? [...expected, -1] : expected)
  }
})

test('a handler that throws leaves no trace and does not disturb its neighbours', async () => {
  exploding.add('bad')
  const engine = await bank.engine(undefined, { retry: { attempts: 2 } })
  const results = await Promise.all([
    bank.call(engine, 'credit', { account: 'good', amount: 1 }),
    bank.call(engine, 'explode', { account: 'bad', amount: 0 }),
    bank.call(engine, 'credit', { account: 'good', amount: 1 }),
  ])
  expect(results.map((result) => result.status)).toEqual(['finished', 'held', 'finished'])
  await until('the failing command is dead', async () => (await bank.count('dead_letter')) === 1)
  expect(await bank.balances()).toEqual({ good: 2 })
  const { rows } = await bank.client.query(
    `select status, body ->> 'message' as message, (body ->> 'attempts')::int as attempts from twofold.outcome where status = 'dead'`,
  )
  expect(rows).toEqual([{ status: 'dead', message: 'bad explodes', attempts: 2 }])
  expect(await bank.call(engine, 'credit', { account: 'bad', amount: 1 })).toMatchObject(finished({ balance: 1 }))
})

test('while a command is retried its key waits in order and other keys go on', async () => {
  exploding.add('stuck')
  const engine = await bank.engine(undefined, { retry: { attempts: 1000 } })
  await bank.append([bank.envelope('explode', { account: 'stuck', amount: 0 }), bank.envelope('credit', { account: 'stuck', amount: 1 })])
  await until('the key is parked', async () => (await bank.count('parked')) === 2)
  expect((await bank.call(engine, 'credit', { account: 'stuck', amount: 2 })).status).toBe('held')
  expect(await bank.call(engine, 'credit', { account: 'free', amount: 1 })).toMatchObject(finished({ balance: 1 }))
  expect(await bank.count('waiting')).toBe(0)
  exploding.delete('stuck')
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  expect(await bank.balances()).toEqual({ free: 1, stuck: 1003 })
  expect(await bank.call(engine, 'credit', { account: 'stuck', amount: 1 })).toMatchObject(finished({ balance: 1004 }))
})

// Rule 22
test('after a death with `park` the key waits until it is released, whoever owns it; other keys go on', { timeout: 30_000 }, async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 2 }, afterDeath: 'park' })
  exploding.add('bad')
  const dead = bank.envelope('explode', { account: 'bad', amount: 0 })
  const behind = Array.from({ length: 3 }, () => bank.envelope('credit', { account: 'bad', amount: 1 }))
  await bank.append([dead, ...behind])
  await until('the failing command is dead', async () => (await bank.count('dead_letter')) === 1)
  exploding.delete('bad')
  expect(await bank.call(engine, 'credit', { account: 'good', amount: 1 })).toMatchObject(finished({ balance: 1 }))
  expect(await bank.call(engine, 'credit', { account: 'bad', amount: 1 })).toEqual({ status: 'held' })
  await engine.stop()
  const successor = await bank.engine()
  expect(await bank.call(successor, 'credit', { account: 'bad', amount: 1 })).toEqual({ status: 'held' })
  expect([await bank.balances(), await bank.count('waiting')]).toEqual([{ good: 1 }, 0])
  const released = await bank.client.query(`select twofold.release_key('bank', 'bad') as was, twofold.release_key('bank', 'bad') as again`)
  expect(released.rows).toEqual([{ was: true, again: false }])
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  expect(await bank.balances()).toEqual({ bad: 5, good: 1 })
  expect(await bank.call(successor, 'credit', { account: 'bad', amount: 1 })).toMatchObject(finished({ balance: 6 }))
})

test('a direct caller of a command that dies at once gets that outcome, also when its key is parked', async () => {
  const engine = await bank.engine(undefined, { retry: { attempts: 1 }, afterDeath: 'park' })
  exploding.add('bad')
  const result = await bank.call(engine, 'explode', { account: 'bad', amount: 0 })
  expect(result).toMatchObject({ status: 'finished', outcome: { status: 'dead', code: 'HANDLER_FAILED' } })
  expect(await bank.call(engine, 'credit', { account: 'bad', amount: 1 })).toEqual({ status: 'held' })
})

test('no attempt begins after the deadline, which counts from when the command was sent', async () => {
  await bank.engine(undefined, { retry: { attempts: 1000, deadlineMs: 1000 } })
  exploding.add('bad')
  // The fixture's ids were made years ago.
  await bank.append([bank.envelope('explode', { account: 'bad', amount: 0 })])
  await until('the failing command is dead', async () => (await bank.count('dead_letter')) === 1)
  const { rows } = await bank.client.query(`select (body ->> 'attempts')::int as attempts from twofold.outcome where status = 'dead'`)
  expect(rows).toEqual([{ attempts: 1 }])
})

test('a failed command whose turn comes after its deadline is not tried again; what waits behind it is tried once all the same', async () => {
  exploding.add('late')
  const first = await bank.engine(undefined, { retry: { attempts: 1000 } })
  const late = bank.envelope('explode', { account: 'late', amount: 0 })
  await bank.append([late, bank.envelope('credit', { account: 'late', amount: 1 })])
  await until('the key is parked', async () => (await bank.count('parked')) === 2)
  await first.stop()
  exploding.delete('late')
  const { rows } = await bank.client.query('select attempts from twofold._parked where id = $1', [late.id])
  // The fixture's ids were made years ago.
  await bank.engine(undefined, { retry: { attempts: 1000, deadlineMs: 1000 } })
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  const letters = await bank.client.query('select id, attempts, error from twofold.dead_letter')
  expect(letters.rows).toEqual([
    { id: late.id, attempts: rows[0].attempts, error: expect.stringMatching(/deadline .* was over; .*late explodes/) },
  ])
  expect(await bank.balances()).toEqual({ late: 1 })
})

test('a parked key is taken up again by the next owner', async () => {
  exploding.add('stuck')
  const first = await bank.engine(undefined, { retry: { attempts: 1000 } })
  await bank.append([bank.envelope('explode', { account: 'stuck', amount: 0 }), bank.envelope('credit', { account: 'stuck', amount: 1 })])
  await until('the key is parked', async () => (await bank.count('parked')) === 2)
  await first.stop()
  exploding.delete('stuck')
  await bank.engine()
  await until('nothing is parked', async () => (await bank.count('parked')) === 0)
  expect(await bank.balances()).toEqual({ stuck: 1001 })
})

// Rule 21
test('a command that ends its process again and again dies, and its neighbours of the same batch do not', async () => {
  const poison = bank.envelope('explode', { account: 'bad', amount: 0 })
  const died: string[][] = []
  // The process is gone in the middle of the run: what was begun is stored, nothing after it is.
  const dying = (isDead: () => boolean) => (real: EffectSession) =>
    but(real, {
      began: async (ids) => {
        await real.began(ids)
        if (!ids.includes(poison.id)) return
        died.push([...ids])
        throw new Error('the process ended')
      },
      takeBack: async (ids) => (isDead() ? undefined : real.takeBack(ids)),
      take: async (...given) => {
        if (isDead()) throw new Error('the process ended')
        return real.take(...given)
      },
    })
  const neighbours = ['a', 'b', 'bad', 'c'].map((account) => bank.envelope('credit', { account, amount: 1 }))
  await bank.append([...neighbours.slice(0, 2), poison, ...neighbours.slice(2)])
  for (let life = 1; life <= 2; life += 1) {
    const engine = await bank.engine(undefined, { abandoned: true, session: dying(() => died.length >= life) })
    await until('the command was begun', () => died.length >= life)
    await engine.stop()
    const { rows } = await bank.client.query('select count from twofold._attempt where id = $1', [poison.id])
    expect(rows).toEqual([{ count: life }])
  }
  expect(died[0]?.length).toBeGreaterThan(1)
  expect(died[1]).toEqual([poison.id])
  await bank.engine(undefined, { abandoned: true })
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  expect(await bank.balances()).toEqual({ a: 1, b: 1, bad: 1, c: 1 })
  const { rows } = await bank.client.query('select id, attempts, error from twofold.dead_letter')
  expect(rows).toMatchObject([{ id: poison.id, attempts: 2, error: expect.stringContaining('did not return, or ended the process') }])
  expect(await bank.count('_attempt')).toBe(0)
})

test('two keys with two owners change together, without deadlock and without losing money', { timeout: 60_000 }, async () => {
  const half = bank.partitions.length / 2
  const engines = [await bank.engine(bank.partitions.slice(0, half)), await bank.engine(bank.partitions.slice(half))]
  const accounts = Array.from({ length: 10 }, (_, at) => `account-${at}`)
  const ownerOf = (account: string): (typeof engines)[number] => {
    const owner = engines[partitionOf(bank.slots, 'bank', account) < half ? 0 : 1]
    if (owner === undefined) throw new Error('no owner')
    return owner
  }
  await Promise.all(accounts.map((account) => bank.call(ownerOf(account), 'credit', { account, amount: 100 })))
  const results = await Promise.all(
    Array.from({ length: 600 }, async (_, at) => {
      const [from, to] = [accounts[(at * 7) % 10] ?? '', accounts[(at * 3 + 1) % 10] ?? '']
      return bank.call(ownerOf(from), 'move', { from, to, amount: 1 + (at % 30) })
    }),
  )
  expect(results.every((result) => result.status === 'finished')).toBe(true)
  const balances = Object.values(await bank.balances())
  expect(balances.reduce((sum, amount) => sum + amount, 0)).toBe(1000)
  expect(Math.min(...balances)).toBeGreaterThanOrEqual(0)
})

test('a connection that is cut in the middle of the work costs nothing', { timeout: 30_000 }, async () => {
  const engine = await bank.engine()
  const cut = `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'twofold engine'`
  const ids = Array.from({ length: 400 }, () => bank.nextId())
  const calls = ids.map(async (id, at) => {
    if (at % 100 === 50) await bank.client.query(cut)
    return bank.call(engine, 'credit', { account: `k${at % 5}`, amount: 1 }, id)
  })
  const results = await Promise.all(calls)
  // What was sent back has to come again through the log, under the same id.
  const deferred = ids.filter((_, at) => results[at]?.status === 'deferred')
  await bank.append(deferred.map((id) => bank.envelope('credit', { account: `k${ids.indexOf(id) % 5}`, amount: 1 }, id)))
  await until('the log is consumed', async () => (await bank.count('waiting')) === 0)
  const balances = Object.values(await bank.balances())
  expect([balances.reduce((sum, amount) => sum + amount, 0), await bank.count('outcome')]).toEqual([400, 400])
})

test('once its own clock says that the lease may have ended, an engine submits nothing', async () => {
  let mayWrite = true
  const engine = await bank.engine(undefined, { mayWrite: () => mayWrite })
  await bank.call(engine, 'credit', { account: 'a', amount: 5 })
  mayWrite = false
  expect(await bank.call(engine, 'credit', { account: 'a', amount: 1 })).toEqual({ status: 'deferred' })
  expect(await bank.balances()).toEqual({ a: 5 })
})
