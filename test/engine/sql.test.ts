// SQL handlers: what they change, what is known of their commands and what they emit is stored together or not at all.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockHolderName } from '../../src/adapters/postgres/lock-holders.ts'
import { until } from '../e2e/program.ts'
import { butSql, sqlScene, type SqlScene } from './sql-fixture.ts'

let scene: SqlScene

beforeEach(async () => {
  scene = await sqlScene()
})
afterEach(() => scene.close())

/** 1 … n for every partition. */
const gapless = (numbers: readonly number[][]): number[][] => numbers.map(({ length }) => Array.from({ length }, (_, at) => at + 1))

const finished = { status: 'finished', outcome: { status: 'succeeded' } }

/** Something a test waits for inside a handler, or lets a handler wait for. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}

test('what an SQL handler changes is stored with its outcome and its event in one transaction', async () => {
  const engine = await scene.engine()
  expect(await scene.call(engine, 'put', { account: 'a', amount: 5 })).toMatchObject({
    status: 'finished',
    outcome: { status: 'succeeded', body: '{"cents":5}', eventSeq: 1 },
  })
  const { rows } = await scene.client.query<{ writers: number }>(
    `select count(distinct xmin::text)::int as writers from (select xmin from account union all select xmin from twofold._outcome
      union all select xmin from twofold._event) all_of_it`,
  )
  expect(rows).toEqual([{ writers: 1 }])
  expect((await scene.client.query('select name, key, data from twofold.event')).rows).toEqual([
    { name: 'changed', key: 'a', data: { account: 'a', by: 5 } },
  ])
})

test('the transaction of an SQL handler consumes the row of the log it came in', async () => {
  const stored = gate()
  scene.acts.set('a', async (tx) => {
    await tx.query(`insert into account values ('a', 1)`)
    await stored.opened
  })
  await scene.client.query(`create table consumed (by text);
    create function note_consumed() returns trigger language plpgsql as $$
      begin insert into consumed values (pg_current_xact_id()::xid::text); return null; end $$;
    create trigger note_consumed after delete on twofold._command for each row execute function note_consumed()`)
  await scene.append([scene.envelope('act', { account: 'a' })])
  await scene.engine()
  await until('the handler runs', async () => (await activity('idle in transaction')) > 0)
  expect([await scene.count('_command'), await scene.count('outcome')]).toEqual([1, 0])
  stored.open()
  await until('the row is consumed', async () => (await scene.count('_command')) === 0)
  expect([await scene.balances(), await scene.count('outcome')]).toEqual([{ a: 1 }, 1])
  const { rows } = await scene.client.query(
    `select by, a.xmin::text as "changedBy", o.xmin::text as "finishedBy" from consumed, account a, twofold._outcome o`,
  )
  expect(rows).toEqual([{ by: rows[0].by, changedBy: rows[0].by, finishedBy: rows[0].by }])
})

test('a row with commands of several keys and of both kinds is consumed once all of them are stored', async () => {
  const [first = '', second = ''] = scene.neighbours(2)
  let counter = 0
  while (scene.partitionOf(`c-${counter}`, 'counters') !== 0) counter += 1
  await scene.append([
    scene.envelope('put', { account: first }),
    scene.envelope('count', { account: `c-${counter}` }),
    scene.envelope('put', { account: second }),
    scene.envelope('put', { account: first }),
  ])
  expect(await scene.count('_command')).toBe(1)
  await scene.engine()
  await until('the row is consumed', async () => (await scene.count('_command')) === 0)
  expect(await scene.balances()).toEqual({ [first]: 2, [second]: 1 })
  expect([await scene.count('outcome'), await scene.eventNumbers()]).toEqual([4, [[1, 2, 3, 4]]])
})

test('reject undoes what an SQL handler changed and stores the outcome alone', async () => {
  const engine = await scene.engine()
  await scene.call(engine, 'put', { account: 'a', amount: 5 })
  expect(await scene.call(engine, 'take', { account: 'a', amount: 7 })).toMatchObject({
    outcome: { status: 'rejected', code: 'short', body: '{"cents":5}' },
  })
  expect([await scene.balances(), await scene.count('outcome'), await scene.count('event')]).toEqual([{ a: 5 }, 2, 1])
})

test('an SQL command with a condition is rejected as one that cannot be decided, and does nothing', async () => {
  const engine = await scene.engine()
  for (const condition of ['absent', 'present', { versions: [1] }] as const) {
    const envelope = { ...scene.envelope('put', { account: 'a' }), condition }
    expect(await engine.call(envelope)).toMatchObject({
      outcome: { status: 'rejected', code: 'PRECONDITION_UNSUPPORTED', body: undefined },
    })
  }
  expect([await scene.balances(), await scene.count('event')]).toEqual([{}, 0])
})

test('an SQL command that is carried twice takes effect once, and both are told the same', async () => {
  const engine = await scene.engine()
  const envelope = scene.envelope('put', { account: 'a', amount: 5 })
  const [first, second] = await Promise.all([engine.call(envelope), engine.call(envelope)])
  expect([first, await engine.call(envelope)]).toEqual([second, second])
  await scene.append([envelope])
  await engine.stop()
  const next = await scene.engine()
  await until('the row is consumed', async () => (await scene.count('_command')) === 0)
  expect([await scene.balances(), await scene.count('outcome'), await scene.count('event')]).toEqual([{ a: 5 }, 1, 1])
  await next.stop()
})

test.each(['with', 'without'])(
  'the handler of an SQL command that is appended while it runs, %s an Idempotency-Key, runs once',
  async (how) => {
    const [slow = '', other = ''] = scene.neighbours(2)
    const [begun, hold] = [gate(), gate()]
    let runs = 0
    scene.acts.set(slow, async (tx) => {
      runs += 1
      await tx.query(`insert into account values ($1, 1)`, [slow])
      begun.open()
      await hold.opened
    })
    const engine = await scene.engine()
    const claim = how === 'with' ? { hash: 'a'.repeat(64), fingerprint: 'b'.repeat(64) } : undefined
    const envelope = { ...scene.envelope('act', { account: slow }), ...(claim && { claim }) }
    const caller = new AbortController()
    const call = engine.call(envelope, caller.signal)
    await begun.opened
    // Its caller does not wait to the end, and so goes to the log.
    caller.abort(new Error('waited long enough'))
    await expect(call).rejects.toThrow('waited long enough')
    if (claim) await scene.claim(envelope.id, claim)
    await scene.append([envelope])
    await scene.append([scene.envelope('put', { account: other })])
    await until('the log was read', async () => (await scene.balances())[other] === 1)
    hold.open()
    await until('both rows are consumed', async () => (await scene.count('_command')) === 0)
    expect([runs, await scene.balances(), await scene.count('outcome'), await scene.count('event')]).toEqual([
      1,
      { [slow]: 1, [other]: 1 },
      2,
      2,
    ])
  },
)

test('the handler of an SQL command that has an outcome does not run again, whoever takes its copy from the log', async () => {
  let runs = 0
  scene.acts.set('a', async (tx) => {
    runs += 1
    await tx.query(`insert into account values ('a', 1) on conflict (name) do update set cents = account.cents + 1`)
  })
  const first = await scene.engine()
  const envelope = scene.envelope('act', { account: 'a' })
  expect(await first.call(envelope)).toMatchObject(finished)
  await scene.append([envelope, scene.envelope('put', { account: 'a' })])
  await until('the row is consumed', async () => (await scene.count('_command')) === 0)
  await first.stop()
  await scene.append([envelope])
  await scene.engine()
  await until('the row is consumed', async () => (await scene.count('_command')) === 0)
  expect([runs, await scene.balances(), await scene.count('outcome')]).toEqual([1, { a: 2 }, 2])
})

test('an SQL command that would end otherwise when it is run again is told its first answer', async () => {
  // Once parked it would be told its first answer too, by its next attempt.
  const failures: unknown[] = []
  const engine = await scene.engine(undefined, {
    session: (real) =>
      butSql(real, {
        commitWithout(batch) {
          for (const { error } of [...batch.parked, ...batch.deadLetters]) failures.push(error)
          return real.commitWithout(batch)
        },
      }),
  })
  scene.acts.set('once', async (tx) => void (await tx.query(`insert into account values ('once', 1)`)))
  await scene.call(engine, 'put', { account: 'a', amount: 5 })
  for (const envelope of [scene.envelope('act', { account: 'once' }), scene.envelope('take', { account: 'a', amount: 5 })]) {
    const first = await engine.call(envelope)
    expect(first).toMatchObject(finished)
    expect(await engine.call(envelope)).toEqual(first)
  }
  expect([await scene.balances(), await scene.count('outcome'), failures]).toEqual([{ a: 0, once: 1 }, 3, []])
})

test.each([
  ['that it says again', 'select * from account'],
  ['that it has named', { name: 'accounts', text: 'select * from account' }],
])('a table that changes under a statement of an SQL handler, %s, costs no attempt', async (_, statement) => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 }, connectionsMax: 1 })
  scene.acts.set('a', async (tx) => void (await tx.query(statement as string)))
  for (let at = 0; at < 3; at += 1) expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
  await scene.client.query('alter table account add column at timestamptz')
  for (let at = 0; at < 3; at += 1) expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
})

test('an SQL handler that deallocates what is prepared costs itself nothing', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 }, connectionsMax: 1 })
  let runs = 0
  scene.acts.set('a', async (tx) => {
    runs += 1
    if (runs === 2) await tx.query('deallocate all')
    await tx.query('select 1')
  })
  for (let at = 0; at < 3; at += 1) expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
  // Of its own statements it has to think itself.
  scene.acts.set('a', async (tx) => {
    runs += 1
    await tx.query({ name: 'mine', text: 'execute nothing' } as unknown as string)
  })
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject({ outcome: { status: 'dead' } })
  expect(runs).toBe(4)
})

test('an Idempotency-Key of a direct SQL command is claimed in its transaction', async () => {
  const engine = await scene.engine()
  const claim = { hash: 'a'.repeat(64), fingerprint: 'b'.repeat(64) }
  const first = { ...scene.envelope('put', { account: 'a', amount: 5 }), claim }
  const second = { ...scene.envelope('put', { account: 'b', amount: 5 }), claim }
  const results = await Promise.all([engine.call(first), engine.call(second)])
  expect(results.map(({ status }) => status).toSorted()).toEqual(['claimed', 'finished'])
  const { rows } = await scene.client.query('select command_id as id from twofold._claim')
  expect(rows).toEqual((await scene.client.query('select id from twofold._outcome')).rows)
  expect(Object.values(await scene.balances())).toEqual([5])
})

test('SQL commands of one key run one after the other in their order, those of others beside them', async () => {
  const [slow = '', quick = ''] = scene.neighbours(2)
  const hold = gate()
  const seen: string[] = []
  scene.acts.set(slow, async () => {
    seen.push('begun')
    await hold.opened
    seen.push('ended')
  })
  const engine = await scene.engine()
  const [first, second] = [scene.call(engine, 'act', { account: slow }), scene.call(engine, 'act', { account: slow })]
  const after = scene.call(engine, 'put', { account: slow, amount: 5 })
  for (let at = 0; at < 3; at += 1) expect(await scene.call(engine, 'put', { account: quick })).toMatchObject(finished)
  expect(seen).toEqual(['begun'])
  expect(await scene.balances()).toEqual({ [quick]: 3 })
  hold.open()
  await Promise.all([first, second, after])
  expect(seen).toEqual(['begun', 'ended', 'begun', 'ended'])
  expect(await scene.balances()).toEqual({ [quick]: 3, [slow]: 5 })
  const many = await Promise.all(Array.from({ length: 60 }, () => scene.call(engine, 'put', { account: 'many' })))
  const replies = many.map((result) => (result.status === 'finished' ? result.outcome.body : result.status))
  expect(replies).toEqual(Array.from({ length: 60 }, (_, at) => `{"cents":${at + 1}}`))
})

test('SQL commands of the log take effect in their order, and a direct one does not overtake them', async () => {
  const order: string[] = []
  const envelopes = Array.from({ length: 30 }, () => scene.envelope('act', { account: 'a' }))
  scene.acts.set('a', async (tx) => {
    order.push((await tx.query<{ n: string }>('select count(*) as n from twofold._outcome')).rows[0]?.n ?? '')
  })
  for (const envelope of envelopes) await scene.append([envelope])
  const engine = await scene.engine()
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
  expect(order).toEqual(Array.from({ length: 31 }, (_, at) => String(at)))
  const { rows } = await scene.client.query<{ id: string }>(`select left(id, 36) as id from twofold.event order by seq`)
  expect(rows.map(({ id }) => id).slice(0, 30)).toEqual(envelopes.map(({ id }) => id))
})

test('events of SQL and entity services of one partition are numbered without gaps', async () => {
  const engine = await scene.engine()
  const calls = Array.from({ length: 240 }, (_, at) =>
    scene.call(engine, at % 3 === 0 ? 'count' : 'put', { account: `account-${at % 17}` }),
  )
  for (const result of await Promise.all(calls)) expect(result).toMatchObject(finished)
  const numbers = await scene.eventNumbers()
  expect(numbers).toEqual(gapless(numbers))
  expect([numbers.flat().length, await scene.count('outcome')]).toEqual([240, 240])
})

test('several keys of an SQL command change together, also with two owners, in turn with everybody else', { timeout: 60_000 }, async () => {
  const half = scene.partitions.length / 2
  const engines = [await scene.engine(scene.partitions.slice(0, half)), await scene.engine(scene.partitions.slice(half))]
  const ownerOf = (account: string): (typeof engines)[number] | undefined => engines[scene.partitionOf(account) < half ? 0 : 1]
  const accounts = Array.from({ length: 6 }, (_, at) => `account-${at}`)
  expect(new Set(accounts.map(ownerOf)).size).toBe(2)
  const call = async (name: 'put' | 'move', home: string, to: string): Promise<string> => {
    const engine = ownerOf(home)
    if (engine === undefined) throw new Error(`nobody owns ${home}`)
    const result = await scene.call(engine, name, name === 'put' ? { account: home, amount: 100 } : { from: home, to, amount: 3 })
    return result.status === 'finished' ? result.outcome.status : result.status
  }
  for (const account of accounts) await call('put', account, '')
  const moves = Array.from({ length: 60 }, (_, at) => {
    const from = accounts[at % 6] ?? ''
    return call('move', from, accounts[(at + 1 + (at % 4)) % 6] ?? '')
  })
  expect(new Set(await Promise.all(moves))).toEqual(new Set(['succeeded']))
  expect(Object.values(await scene.balances()).reduce((sum, each) => sum + each, 0)).toBe(600)
  const numbers = await scene.eventNumbers()
  expect(numbers).toEqual(gapless(numbers))
})

test('what would begin or end the transaction of an SQL handler is refused', async () => {
  const engine = await scene.engine(undefined, { retry: { attempts: 1 } })
  const refused: string[] = []
  scene.acts.set('a', async (tx) => {
    for (const text of [
      'commit',
      ' -- so\n ROLLBACK',
      'begin',
      'start  transaction',
      '/* no */ end',
      'abort',
      'prepare transaction $$a$$',
      '; commit',
      '/* /* no */ */ commit',
    ])
      await tx.query(text).catch((error: Error) => refused.push(error.message))
    await tx.query('savepoint s')
    await tx.query('rollback to savepoint s')
    await tx.query('release s')
    await tx.query(`insert into account values ('a', 1)`)
  })
  expect(await scene.call(engine, 'act', { account: 'a' })).toMatchObject(finished)
  expect(refused).toHaveLength(9)
  for (const message of refused) expect(message).toContain('would begin or end a transaction')
  scene.acts.set('b', async (tx) => void (await tx.query('select 1; commit')))
  expect(await scene.call(engine, 'act', { account: 'b' })).toMatchObject({ outcome: { status: 'dead' } })
  expect(await scene.balances()).toEqual({ a: 1 })
})

test('a partition is given up with what runs in it: nothing of that is stored, and its next owner runs it', async () => {
  const hold = gate()
  let cut = false
  scene.acts.set('a', async (tx, { signal }) => {
    await tx.query(`insert into account values ('a', 1)`)
    signal.addEventListener('abort', () => (cut = true))
    await hold.opened
  })
  await scene.append([scene.envelope('act', { account: 'a' }), scene.envelope('put', { account: 'a' })])
  const engine = await scene.engine()
  await until('the handler runs', async () => (await activity('idle in transaction')) > 0)
  await engine.drop(scene.partitions)
  expect([cut, await activity('idle in transaction'), await scene.balances(), await scene.count('_command')]).toEqual([true, 0, {}, 1])
  hold.open()
  await scene.engine()
  await until('the next owner has run it', async () => (await scene.count('_command')) === 0)
  expect([await scene.balances(), await scene.count('outcome')]).toEqual([{ a: 2 }, 2])
})

async function activity(state: string): Promise<number> {
  const { rows } = await scene.client.query<{ n: number }>(
    'select count(*)::int as n from pg_stat_activity where application_name = $1 and state = $2 and datname = current_database()',
    [lockHolderName(scene.instanceId), state],
  )
  return rows[0]?.n ?? 0
}
