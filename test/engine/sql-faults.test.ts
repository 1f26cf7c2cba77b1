// What goes wrong around an SQL handler: connections that die, deadlocks, handlers that throw or never end, owners that come and go.
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockHolderName } from '../../src/adapters/postgres/lock-holders.ts'
import { BatchAborted } from '../../src/ports/effect-store.ts'
import { until } from '../e2e/program.ts'
import { proxyTo } from '../support/proxy.ts'
import { butSql, sqlScene, type SqlScene } from './sql-fixture.ts'
import { within } from '../support/within.ts'

let scene: SqlScene

beforeEach(async () => {
  scene = await sqlScene()
})
afterEach(() => scene.close())

const finished = { status: 'finished', outcome: { status: 'succeeded' } }

async function backends(): Promise<{ pid: number; state: string }[]> {
  const text = 'select pid, state from pg_stat_activity where application_name = $1 and datname = current_database()'
  return (await scene.client.query<{ pid: number; state: string }>(text, [lockHolderName(scene.instanceId)])).rows
}

/** Writes what the handler of `account` does before it goes wrong. */
const insert = (account: string): string =>
  `insert into account values ('${account}', 1) on conflict (name) do update set cents = account.cents + 1`

test('a backend that dies in the middle of an SQL handler costs nobody an attempt', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  let runs = 0
  scene.acts.set('a', async (tx) => {
    runs += 1
    await tx.query(insert('a'))
    if (runs < 3) await tx.query('select pg_terminate_backend(pg_backend_pid())')
  })
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
  expect([runs, await scene.balances(), await scene.eventNumbers()]).toEqual([3, { a: 1 }, [[1]]])
})

test('a COMMIT of an SQL handler whose answer is lost is neither repeated nor denied', async () => {
  let losses = 0
  const engine = await scene.engine(undefined, {
    retry: { attempts: 1 },
    session: (real) =>
      butSql(real, {
        commit: async (batch) => {
          await real.commit(batch)
          losses += 1
          if (losses > 3) return
          await real.close()
          throw new BatchAborted('lost', 'the answer never came')
        },
      }),
  })
  for (let round = 1; round <= 5; round += 1)
    expect(await scene.call(engine, 'put', { account: 'a' })).toMatchObject({ outcome: { body: `{"cents":${round}}` } })
  // An entity of the same partition goes on with the numbers, whoever made the last one.
  let counter = 0
  while (scene.partitionOf(`c-${counter}`, 'counters') !== scene.partitionOf('a')) counter += 1
  expect(await scene.call(engine, 'count', { account: `c-${counter}` })).toMatchObject(finished)
  expect([await scene.balances(), await scene.count('outcome'), await scene.eventNumbers()]).toEqual([{ a: 5 }, 6, [[1, 2, 3, 4, 5, 6]]])
})

test('a connection that falls silent in the last round trip of an SQL command holds up its partition for a third of a lease at most', async () => {
  const proxy = await proxyTo(scene.url)
  try {
    const engine = await scene.engine(undefined, { sqlUrl: proxy.url, leaseMs: 1500, retry: { attempts: 1 } })
    let runs = 0
    scene.acts.set('a', async (tx) => {
      runs += 1
      await tx.query(insert('a'))
      if (runs === 1) proxy.freeze()
    })
    expect(await within('the command has ended', scene.call(engine, 'act', { account: 'a' }), 8000)).toMatchObject(finished)
    expect([runs, await scene.balances(), await scene.eventNumbers()]).toEqual([2, { a: 1 }, [[1]]])
  } finally {
    await proxy.close()
  }
})

test('a handler whose keys were not to be had has not ended, whatever it made of that, and is run again', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  const rival = await scene.clientOf()
  let runs = 0
  for (const [account, error] of [
    ['a', undefined],
    ['b', new Error('of its own')],
  ] as const) {
    await rival.query('begin')
    await rival.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`vault ${account}`])
    scene.acts.set(account, async (tx) => {
      runs += 1
      await tx.query(insert(account)).catch(async () => {
        await rival.query('rollback')
        if (error !== undefined) throw error
      })
    })
    expect(await scene.call(engine, 'act', { account })).toMatchObject(finished)
  }
  await rival.end()
  expect([runs, await scene.balances(), await scene.count('dead_letter')]).toEqual([4, { a: 1, b: 1 }, 0])
})

test('what an SQL handler leaves on its connection is not there for the next one', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 }, connectionsMax: 1 })
  const [pids, seen]: [number[], unknown[]] = [[], []]
  let says: readonly string[] = []
  scene.acts.set('a', async (tx) => {
    for (const text of says) await tx.query(text)
    const { rows } = await tx.query<{ pid: number; setting: string; locks: number }>(`select pg_backend_pid() as pid,
      current_setting('search_path') as setting, (select count(*)::int from pg_locks where locktype = 'advisory' and objid = 4711) as locks`)
    pids.push(rows[0]?.pid ?? 0)
    seen.push([rows[0]?.setting, rows[0]?.locks])
  })
  for (const texts of [[], ['set local search_path = here'], [`set search_path = there`, 'select pg_advisory_lock(4711)'], []]) {
    says = texts
    expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
  }
  expect(seen).toEqual([expect.arrayContaining([0]), ['here', 0], ['there', 1], seen[0]])
  const [first, second, third, fourth] = pids
  expect([second === first, third === first, fourth === first]).toEqual([true, true, false])
})

test('a COMMIT that is stored only after the command was run again stores one of the two', async () => {
  const late: (() => Promise<void>)[] = []
  let lost = 0
  const engine = await scene.engine(undefined, {
    session: (real) => {
      let usable = true
      return butSql(real, {
        get usable() {
          return usable && real.usable
        },
        // Without the locks of its keys, which would make the second run wait for the first: the outcome alone must be enough.
        begin: async (start) => {
          const standing = await real.begin({ ...start, keys: [] })
          await late.pop()?.()
          return standing
        },
        // The statement is out, and is stored only when the command has been looked for and not been found.
        commit: async (batch) => {
          if (lost > 0) return real.commit(batch)
          lost += 1
          usable = false
          late.push(async () => {
            await real.commit(batch)
            await real.close()
          })
          throw new BatchAborted('lost', 'the answer never came')
        },
        rollback: () => (usable ? real.rollback() : Promise.resolve()),
        close: () => (usable ? real.close() : Promise.resolve()),
      })
    },
  })
  const result = await scene.call(engine, 'put', { account: 'a' })
  expect(result).toMatchObject(finished)
  expect([await scene.balances(), await scene.count('outcome'), await scene.eventNumbers()]).toEqual([{ a: 1 }, 1, [[1]]])
})

test('an SQL handler that stood still after its change until its transaction was ended has not succeeded', async () => {
  const engine = await scene.engine(undefined, { leaseMs: 1000, retry: { attempts: 1 } })
  scene.acts.set('a', async (tx) => {
    await tx.query(insert('a'))
    const pid = (await tx.query<{ pid: number }>('select pg_backend_pid() as pid')).rows[0]?.pid
    await until('its connection is ended', async () => !(await backends()).some((each) => each.pid === pid))
  })
  expect(await within('the command has ended', scene.call(engine, 'act', { account: 'a' }), 12_000)).toMatchObject({
    outcome: { status: 'dead', body: expect.stringContaining('stood still') },
  })
  expect([await scene.balances(), await scene.count('event')]).toEqual([{}, 0])
})

test('an SQL command that is parked by a COMMIT whose answer is lost is not overtaken', async () => {
  let [losses, broken] = [0, true]
  const engine = await scene.engine(undefined, {
    retry: { attempts: 1000 },
    session: (real) =>
      butSql(real, {
        commitWithout: async (batch) => {
          await real.commitWithout(batch)
          if (batch.parked.length === 0 || losses > 0) return
          losses += 1
          await real.close()
          throw new BatchAborted('lost', 'the answer never came')
        },
      }),
  })
  scene.acts.set('a', async (tx) => {
    if (broken) throw new Error('not yet')
    await tx.query(insert('a'))
  })
  expect((await scene.call(engine, 'act', { account: 'a' })).status).toBe('held')
  expect((await scene.call(engine, 'put', { account: 'a', amount: 10 })).status).toBe('held')
  expect([losses, await scene.balances()]).toEqual([1, {}])
  broken = false
  await until('the key has gone on', async () => (await scene.balances())['a'] === 11)
  expect(await scene.eventNumbers()).toEqual([[1, 2]])
})

test('an attempt of a parked SQL command whose COMMIT is not answered is counted once', async () => {
  let losses = 0
  const engine = await scene.engine(undefined, {
    retry: { attempts: 4 },
    session: (real) =>
      butSql(real, {
        commitWithout: async (batch) => {
          await real.commitWithout(batch)
          if (batch.retried.length === 0) return
          losses += 1
          await real.close()
          throw new BatchAborted('lost', 'the answer never came')
        },
      }),
  })
  let runs = 0
  scene.acts.set('a', async () => {
    runs += 1
    throw new Error('never')
  })
  expect((await scene.call(engine, 'act', { account: 'a' })).status).toBe('held')
  const behind = await scene.call(engine, 'put', { account: 'a' })
  expect(['held', 'finished']).toContain(behind.status)
  await until('the key has gone on', async () => (await scene.balances())['a'] === 1)
  expect([losses, runs]).toEqual([2, 4])
  expect((await scene.client.query('select attempts from twofold.dead_letter')).rows).toEqual([{ attempts: 4 }])
})

test('a deadlock between two SQL handlers is resolved without anybody noticing', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  await scene.client.query(`insert into account values ('x', 0), ('y', 0)`)
  const first = { a: Promise.withResolvers<void>(), b: Promise.withResolvers<void>() }
  let runs = 0
  for (const [own, other, rows] of [
    ['a', 'b', ['x', 'y']],
    ['b', 'a', ['y', 'x']],
  ] as const) {
    scene.acts.set(own, async (tx) => {
      runs += 1
      await tx.query('update account set cents = cents + 1 where name = $1', [rows[0]])
      first[own].resolve()
      await first[other].promise
      await tx.query('update account set cents = cents + 1 where name = $1', [rows[1]])
    })
  }
  const results = await Promise.all([scene.call(engine, 'act', { account: 'a' }), scene.call(engine, 'act', { account: 'b' })])
  for (const result of results) expect(result).toMatchObject(finished)
  expect([runs, await scene.balances(), await scene.count('dead_letter')]).toEqual([3, { x: 2, y: 2 }, 0])
})

test('a serialization failure is no attempt, and one that never ends is', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  let runs = 0
  const fail = `do $$ begin raise exception 'not now' using errcode = '40001'; end $$`
  scene.acts.set('a', async (tx) => {
    runs += 1
    await tx.query(insert('a'))
    if (runs < 6) await tx.query(fail)
  })
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
  scene.acts.set('b', async (tx) => void (await tx.query(fail)))
  expect(await scene.call(engine, 'act', { account: 'b' })).toMatchObject({ outcome: { status: 'dead' } })
  expect([runs, await scene.balances()]).toEqual([6, { a: 1 }])
})

test('what an SQL handler throws after it has gone back to a savepoint is its own, but for the refusal itself', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  const refuse = `do $$ begin raise exception 'not to be had' using errcode = '55P03'; end $$`
  const runs = { own: 0, passedOn: 0, caught: 0 }
  const refused = async (tx: Parameters<NonNullable<ReturnType<typeof scene.acts.get>>>[0], account: string): Promise<unknown> => {
    await tx.query(insert(account))
    await tx.query('savepoint before')
    const error: unknown = await tx.query(refuse).catch((reason: unknown) => reason)
    await tx.query('rollback to savepoint before')
    return error
  }
  scene.acts.set('own', async (tx) => {
    runs.own += 1
    await refused(tx, 'own')
    throw new Error('there is no stock')
  })
  scene.acts.set('passed on', async (tx) => {
    runs.passedOn += 1
    const error = await refused(tx, 'passed on')
    if (runs.passedOn < 3) throw error
  })
  scene.acts.set('caught', async (tx) => {
    runs.caught += 1
    await refused(tx, 'caught')
  })
  expect(await scene.call(engine, 'act', { account: 'own' })).toMatchObject({
    outcome: { status: 'dead', body: expect.stringContaining('there is no stock') as string },
  })
  expect(await scene.call(engine, 'act', { account: 'passed on' })).toMatchObject(finished)
  expect(await scene.call(engine, 'act', { account: 'caught' })).toMatchObject(finished)
  expect([runs, await scene.balances()]).toEqual([
    { own: 1, passedOn: 3, caught: 1 },
    { 'passed on': 1, caught: 1 },
  ])
})

test('an SQL handler that throws leaves no trace, is tried again while its key waits, and ends as a dead letter', async () => {
  const engine = await scene.engine()
  let runs = 0
  scene.acts.set('a', async (tx) => {
    runs += 1
    await tx.query(insert('a'))
    throw new Error('a explodes')
  })
  const dead = scene.envelope('act', { account: 'a' })
  expect((await engine.call(dead)).status).toBe('held')
  const behind = await scene.call(engine, 'put', { account: 'a', amount: 7 })
  expect(['held', 'finished']).toContain(behind.status)
  expect(await scene.call(engine, 'put', { account: 'b' })).toMatchObject(finished)
  await until('the key has gone on', async () => (await scene.balances())['a'] === 7)
  const { rows } = await scene.client.query('select id, attempts, error, message from twofold.dead_letter')
  expect(rows).toMatchObject([{ id: dead.id, attempts: 3, error: 'a explodes', message: { command: 'act', input: { account: 'a' } } }])
  expect([runs, await scene.balances(), await scene.count('_parked'), await scene.count('event')]).toEqual([3, { a: 7, b: 1 }, 0, 2])
})

test('commands behind a failing SQL command of the log wait for it in their order, also across owners', async () => {
  let broken = true
  const seen: string[] = []
  scene.acts.set('a', async (tx) => {
    seen.push((await scene.balances())['a']?.toString() ?? 'none')
    await tx.query(insert('a'))
    if (broken) throw new Error('not yet')
  })
  const engine = await scene.engine(undefined, { retry: { attempts: 1000 } })
  for (const name of ['act', 'put', 'act', 'put'] as const) await scene.append([scene.envelope(name, { account: 'a', amount: 10 })])
  await until('all of them are parked', async () => (await scene.count('_parked')) === 4 && (await scene.count('_command')) === 0)
  await engine.stop()
  const next = await scene.engine(undefined, { retry: { attempts: 1000 } })
  await until('it was tried by the next owner', () => seen.length > 2)
  expect(new Set(seen)).toEqual(new Set(['none']))
  broken = false
  const last = await scene.call(next, 'put', { account: 'a', amount: 100 })
  expect(['held', 'finished']).toContain(last.status)
  await until('the key has gone on', async () => (await scene.balances())['a'] === 122)
  expect(seen.slice(-2)).toEqual(['none', '11'])
  expect([await scene.count('_parked'), await scene.eventNumbers()]).toEqual([0, [[1, 2, 3, 4, 5]]])
})

test('a failed SQL command whose turn comes after its deadline is not tried again', async () => {
  let runs = 0
  scene.acts.set('a', async () => {
    runs += 1
    throw new Error('a explodes')
  })
  const first = await scene.engine(undefined, { retry: { attempts: 1000 } })
  await scene.append([scene.envelope('act', { account: 'a', amount: 1 })])
  await until('it is parked', async () => (await scene.count('_parked')) === 1)
  await first.stop()
  const before = runs
  // The fixture's ids were made years ago.
  await scene.engine(undefined, { retry: { attempts: 1000, deadlineMs: 1000 } })
  await until('nothing is parked', async () => (await scene.count('_parked')) === 0)
  const { rows } = await scene.client.query('select error from twofold.dead_letter')
  expect([runs, rows]).toEqual([before, [{ error: expect.stringMatching(/deadline .* was over; .*a explodes/) }]])
})

test('after a death with `park` the key of an SQL service waits until it is released', async () => {
  let broken = true
  scene.acts.set('a', async () => {
    if (broken) throw new Error('never')
  })
  const engine = await scene.engine(undefined, { retry: { attempts: 1 }, afterDeath: 'park' })
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject({ outcome: { status: 'dead' } })
  expect((await scene.call(engine, 'put', { account: 'a' })).status).toBe('held')
  expect(await scene.call(engine, 'put', { account: 'b' })).toMatchObject(finished)
  expect(await scene.balances()).toEqual({ b: 1 })
  broken = false
  await scene.client.query(`select twofold.release_key('vault', 'a')`)
  await until('the key goes on', async () => (await scene.balances())['a'] === 1)
})

test('an SQL handler that does not end is cut at its deadline, in the middle of a statement too, and holds up nobody else', async () => {
  const engine = await scene.engine(undefined, { handlerMs: 4000, retry: { attempts: 1 }, connectionsMax: 3 })
  const [aborted, begun]: [string[], string[]] = [[], []]
  const ignores = async (tx: Parameters<NonNullable<ReturnType<typeof scene.acts.get>>>[0], account: string): Promise<void> => {
    await tx.query(insert(account))
    begun.push(account)
  }
  scene.acts.set('statement', async (tx, { account, signal }) => {
    signal.addEventListener('abort', () => aborted.push(account))
    await ignores(tx, account)
    await tx.query('select pg_sleep(60)')
  })
  scene.acts.set('idle', async (tx, { account, signal }) => {
    signal.addEventListener('abort', () => aborted.push(account))
    await ignores(tx, account)
    await new Promise(() => undefined)
  })
  const slow = [scene.envelope('act', { account: 'statement' }), scene.envelope('act', { account: 'idle' })]
  const slowOnes = slow.map((envelope) => engine.call(envelope))
  await until('both of them run', () => begun.length === 2)
  const quick = await Promise.all(Array.from({ length: 5 }, () => scene.call(engine, 'put', { account: 'quick' })))
  // They have ended before either of the slow ones was cut.
  expect([quick.map(({ status }) => status), aborted, begun.length]).toEqual([Array.from({ length: 5 }, () => 'finished'), [], 2])
  for (const ended of await within('both of them have ended', Promise.all(slowOnes), 12_000))
    expect(ended).toMatchObject({ outcome: { status: 'dead' } })
  await until('both are dead', async () => (await scene.count('dead_letter')) === 2)
  const { rows } = await scene.client.query<{ attempts: number; error: string }>('select attempts, error from twofold.dead_letter')
  for (const { attempts, error } of rows) expect([attempts, error]).toEqual([1, expect.stringMatching(/4000 ms|statement timeout/)])
  expect(new Set(aborted)).toContain('idle')
  expect(await scene.balances()).toEqual({ quick: 5 })
  await until('no transaction is left', async () => (await backends()).every(({ state }) => state === 'idle'))
})

test('whoever catches the error of a failed statement and goes on is told that nothing was stored', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  scene.acts.set('a', async (tx) => {
    await tx.query(insert('a'))
    await tx.query('select 1 / 0').catch(() => undefined)
  })
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject({
    outcome: { status: 'dead', body: expect.stringContaining('let the error out') },
  })
  expect([await scene.balances(), await scene.count('event')]).toEqual([{}, 0])
})

test('a deferred constraint that refuses the COMMIT is a failure of its handler', async () => {
  await scene.client.query('create table slip (n int unique deferrable initially deferred)')
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  scene.acts.set('a', async (tx) => void (await tx.query('insert into slip values (1), (1)')))
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject({
    outcome: { status: 'dead', body: expect.stringContaining('duplicate key') },
  })
  expect([await scene.count('event'), await scene.count('dead_letter')]).toEqual([0, 1])
})

test('a trigger that refuses the COMMIT is a failure of its handler, which is not run again for that', async () => {
  await scene.client.query(
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'the books do not balance'; end $$`,
  )
  await scene.client.query(
    'create constraint trigger refuse after insert on account deferrable initially deferred for each row execute function refuse()',
  )
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  let runs = 0
  scene.acts.set('a', async (tx) => {
    runs += 1
    await tx.query(insert('a'))
  })
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject({
    outcome: { status: 'dead', body: expect.stringContaining('the books do not balance') as string },
  })
  expect([runs, await scene.count('event')]).toEqual([1, 0])
})

test('a handler that gives up the rights to store its outcome has failed, and is not run again for that', async () => {
  const role = `clerk_${randomUUID().replaceAll('-', '')}`
  await scene.client.query(`create role ${role}`)
  try {
    const { rows } = await scene.client.query<{ schema: string }>('select current_schema as schema')
    const schema = rows[0]?.schema ?? ''
    await scene.client.query(`grant usage on schema ${schema} to ${role}; grant insert on account to ${role}`)
    const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
    let [runs, back] = [0, false]
    scene.acts.set('a', async (tx) => {
      runs += 1
      await tx.query(`set local role ${role}`)
      await tx.query(`insert into ${schema}.account values ('a', 1)`)
      if (back) await tx.query('set local role none')
    })
    expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject({
      outcome: { status: 'dead', body: expect.stringContaining('permission denied') as string },
    })
    back = true
    expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
    expect([runs, await scene.balances()]).toEqual([2, { a: 1 }])
  } finally {
    await scene.client.query(`drop owned by ${role}`)
    await scene.client.query(`drop role ${role}`)
  }
})

test('a former owner stores nothing of an SQL handler that was running when its partition was taken', async () => {
  const hold = Promise.withResolvers<void>()
  let begun = false
  scene.acts.set('a', async (tx) => {
    await tx.query(insert('a'))
    if (begun) return
    begun = true
    await hold.promise
  })
  const zombie = await scene.engine()
  const held = scene.call(zombie, 'act', { account: 'a' })
  await until('the handler runs', () => begun)
  await scene.takeOver(scene.partitions)
  hold.resolve()
  expect((await held).status).toBe('deferred')
  expect([await scene.balances(), await scene.count('outcome'), await scene.count('event')]).toEqual([{}, 0, 0])
})

test('a takeover waits for the transaction of an SQL handler that passed the fence', async () => {
  await scene.client.query(
    `create function slow() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock(42); return null; end $$`,
  )
  await scene.client.query(
    'create constraint trigger slow after insert on account deferrable initially deferred for each row execute function slow()',
  )
  const engine = await scene.engine()
  await scene.client.query('select pg_advisory_lock(42)')
  const call = scene.call(engine, 'put', { account: 'a' })
  const waiting = `select 1 from pg_stat_activity where application_name = $1 and datname = current_database() and wait_event = 'advisory'`
  await until('its COMMIT waits', async () => (await scene.client.query(waiting, [lockHolderName(scene.instanceId)])).rowCount === 1)
  await scene.client.query(`set lock_timeout = '300ms'`)
  await expect(scene.takeOver(scene.partitions)).rejects.toMatchObject({ code: '55P03' })
  await scene.client.query('select pg_advisory_unlock(42)')
  expect(await call).toMatchObject(finished)
})

test('while its lease may have ended nothing of an SQL handler is stored', async () => {
  let mayWrite = true
  const engine = await scene.engine(undefined, { mayWrite: () => mayWrite })
  scene.acts.set('a', async (tx) => {
    await tx.query(insert('a'))
    mayWrite = false
  })
  expect((await scene.call(engine, 'act', { account: 'a' })).status).toBe('deferred')
  expect([await scene.balances(), await scene.count('outcome')]).toEqual([{}, 0])
})

test('more SQL commands than fit wait in the log, and other partitions go on', { timeout: 60_000 }, async () => {
  const [slow = ''] = scene.neighbours(1)
  const hold = Promise.withResolvers<void>()
  scene.acts.set(slow, () => hold.promise)
  for (let row = 0; row < 4; row += 1)
    await scene.append(Array.from({ length: 100 }, () => scene.envelope(row === 0 ? 'act' : 'put', { account: slow })))
  const engine = await scene.engine()
  const [other = ''] = scene.neighbours(1, 1)
  await until('the partition is full', async () => (await scene.call(engine, 'put', { account: slow })).status === 'deferred')
  await scene.append([scene.envelope('put', { account: other, amount: 3 })])
  await until('another partition goes on', async () => (await scene.balances())[other] === 3)
  hold.resolve()
  await until('the log is empty', async () => (await scene.count('_command')) === 0, 40_000)
  expect(await scene.balances()).toEqual({ [slow]: 300, [other]: 3 })
})
