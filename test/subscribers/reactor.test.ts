import { expect, test, vi } from 'vitest'
import type { On } from '../../src/subscribers/subscriber.ts'
import { reactor, type Reactor, type ReactorContext, type ReactorRetry } from '../../src/subscribers/reactor.ts'
import { runReactor } from '../../src/subscribers/run-reactor.ts'
import { PARTITIONS, scene, shop } from './scene.ts'

const given = scene()
const none = Array.from({ length: PARTITIONS }, () => 0)
const sent = (to: string) => ({ data: { to } })
const soon = { timeout: 5000, interval: 5 }
const fast = { minMs: 1, maxMs: 4 }

/** Reacts to `sent` of an event, which it gets with its recipient. */
function mailer(
  name: string,
  send: (to: string, context: ReactorContext) => void | Promise<void>,
  retry: Partial<ReactorRetry> = fast,
): Reactor {
  const on: On<{ mine: typeof shop }, ReactorContext> = { mine: { sent: ({ data }, context) => send(data.to, context) } }
  return reactor(name, { from: { mine: shop }, start: 'beginning', retry, on })
}

test('a reactor gets the events it names, lifted, and passes over the others', async () => {
  const { log } = await given.instance()
  const seen: unknown[] = []
  const cents = reactor('cents', {
    from: { shop },
    start: 'beginning',
    on: { shop: { paid: (event) => void seen.push([event.id, event.time, event.data]) } },
  })
  await given.append(2, [
    { ...sent('x'), time: 1000 },
    { id: 'c-0', name: 'paid', shape: 1, time: 1000, data: { cents: 5 } },
    { service: 'elsewhere', name: 'paid', data: {} },
  ])
  await given.run(runReactor(cents, { log, logger: given.logger }))
  await vi.waitFor(async () => expect(await given.positions('cents')).toEqual(none.with(2, 3)), soon)
  expect(seen).toEqual([['c-0', new Date(1000), { amount: { cents: 5 } }]])
})

test('a reactor that does not say where to begin is told of new events only', async () => {
  const { log } = await given.instance()
  const seen: string[] = []
  await given.append(0, [sent('old')])
  const late = reactor('late', { from: { shop }, on: { shop: { sent: ({ data }) => void seen.push(data.to) } } })
  await given.run(runReactor(late, { log, logger: given.logger }))
  await given.append(0, [sent('new')])
  await vi.waitFor(() => expect(seen).toEqual(['new']), soon)
})

test('a failing event is tried again in its place; other partitions go on meanwhile', async () => {
  const { log } = await given.instance()
  const seen: string[] = []
  let mended = false
  const attempts: number[] = []
  const send = (to: string, { attempt }: ReactorContext): void => {
    if (to === 'bad') attempts.push(attempt)
    if (to === 'bad' && !mended) throw new Error('no')
    seen.push(to)
  }
  await given.append(0, [sent('a1'), sent('bad'), sent('a3')])
  await given.append(1, [sent('b1'), sent('b2')])
  await given.run(runReactor(mailer('patient', send, { ...fast, attempts: 1_000_000 }), { log, logger: given.logger }))
  await given.append(1, [sent('b3')])
  await vi.waitFor(() => expect(seen.toSorted()).toEqual(['a1', 'b1', 'b2', 'b3']), soon)
  await vi.waitFor(() => expect(attempts.length).toBeGreaterThan(3), soon)
  mended = true
  await vi.waitFor(() => expect(seen.filter((to) => !to.startsWith('b') || to === 'bad')).toEqual(['a1', 'bad', 'a3']), soon)
  expect(seen.filter((to) => /^b\d/.test(to))).toEqual(['b1', 'b2', 'b3'])
  expect(attempts).toEqual(attempts.map((_, index) => index + 1))
})

test('more partitions than run at once may fail without stopping the rest', async () => {
  const { log } = await given.instance()
  const seen: string[] = []
  for (let partition = 0; partition < PARTITIONS - 1; partition++) await given.append(partition, [sent('bad')])
  const send = async (to: string): Promise<void> => {
    await Promise.resolve()
    if (to === 'bad') throw new Error('no')
    seen.push(to)
  }
  await given.run(runReactor(mailer('crowded', send, { attempts: 10, minMs: 60_000, maxMs: 60_000 }), { log, logger: given.logger }))
  await given.append(PARTITIONS - 1, [sent('good')])
  await vi.waitFor(() => expect(seen).toEqual(['good']), soon)
})

test('eight partitions are handled at the same time, the others after them', async () => {
  const { log } = await given.instance()
  let running = 0
  const most: number[] = []
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const slow = async (): Promise<void> => {
    running += 1
    most.push(running)
    await released
    running -= 1
  }
  for (let partition = 0; partition < PARTITIONS; partition++) await given.append(partition, [sent('x')])
  await given.run(runReactor(mailer('parallel', slow), { log, logger: given.logger }))
  await vi.waitFor(() => expect(most).toEqual([1, 2, 3, 4, 5, 6, 7, 8]), soon)
  release()
  await vi.waitFor(() => expect(most).toHaveLength(PARTITIONS), soon)
  expect(Math.max(...most)).toBe(8)
})

test('after the last attempt the event becomes a dead letter and the next one goes on', async () => {
  const { log } = await given.instance()
  const tries: string[] = []
  await given.append(0, [{ ...sent('bad'), id: 'c-7', key: 'k7' }, sent('next')])
  const send = (to: string): void => {
    tries.push(to)
    if (to === 'bad') throw new Error('refused by the server')
  }
  await given.run(runReactor(mailer('gives-up', send, { ...fast, attempts: 3 }), { log, logger: given.logger }))
  await vi.waitFor(async () => expect(await given.positions('gives-up')).toEqual(none.with(0, 2)), soon)
  expect(tries).toEqual(['bad', 'bad', 'bad', 'next'])
  const { rows } = await given.database.query(
    'select kind, id, subscriber, service, name, key, attempts, error, stack is not null as stack, message from twofold.dead_letter',
  )
  expect(rows).toMatchObject([
    {
      kind: 'event',
      id: 'c-7',
      subscriber: 'gives-up',
      service: 'shop',
      name: 'sent',
      key: 'k7',
      attempts: 3,
      error: 'refused by the server',
      stack: true,
    },
  ])
  expect(rows[0]).toHaveProperty('message.data.to', 'bad')
})

test('a lift that throws is a failing event like any other', async () => {
  const { log } = await given.instance()
  const cents = reactor('lifts', {
    from: { shop },
    start: 'beginning',
    retry: { ...fast, attempts: 2 },
    on: { shop: { paid: () => undefined } },
  })
  await given.append(0, [{ name: 'paid', data: null }])
  await given.run(runReactor(cents, { log, logger: given.logger }))
  await vi.waitFor(async () => expect(await given.positions('lifts')).toEqual(none.with(0, 1)), soon)
  expect((await given.database.query('select error from twofold._dead_letter')).rows).toMatchObject([
    { error: expect.stringContaining('cents') },
  ])
})

test('no transaction is open and no row locked while a reaction runs', async () => {
  const { log } = await given.instance()
  const open: unknown[] = []
  const send = async (): Promise<void> => {
    const { rows } = await given.database.query(
      "select state, query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null and state <> 'idle' and query not like '%_event%'",
    )
    open.push(...rows)
  }
  await given.append(0, [sent('a'), sent('b')])
  await given.run(runReactor(mailer('free', send), { log, logger: given.logger }))
  await vi.waitFor(async () => expect(await given.positions('free')).toEqual(none.with(0, 2)), soon)
  expect(open).toEqual([])
})

test('a stop lets the event in hand finish, stores it, and leaves the next one to the next holder', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  const seen: string[] = []
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const slow = async (to: string): Promise<void> => {
    seen.push(`${to} begun`)
    await released
    seen.push(`${to} done`)
  }
  await given.append(0, [sent('1'), sent('2')])
  const first = await given.run(runReactor(mailer('stops', slow), { log: a.log, logger: given.logger }))
  await vi.waitFor(() => expect(seen).toEqual(['1 begun']), soon)
  const stopped = first.stop()
  release()
  await stopped
  expect(seen).toEqual(['1 begun', '1 done'])
  expect(await given.positions('stops')).toEqual(none.with(0, 1))
  await given.run(
    runReactor(
      mailer('stops', (to) => void seen.push(to)),
      { log: b.log, logger: given.logger },
    ),
  )
  await vi.waitFor(() => expect(seen.at(-1)).toBe('2'), soon)
  expect(seen).toEqual(['1 begun', '1 done', '2'])
})

test('a reaction that does not end is cut by its signal; that costs no attempt', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  const attempts: number[] = []
  const hanging = (_to: string, { attempt, signal }: ReactorContext): Promise<void> => {
    attempts.push(attempt)
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('cut'))))
  }
  await given.append(0, [sent('1')])
  const first = await given.run(runReactor(mailer('hangs', hanging, { ...fast, attempts: 1 }), { log: a.log, logger: given.logger }))
  await vi.waitFor(() => expect(attempts).toEqual([1]), soon)
  const began = performance.now()
  await first.stop()
  expect(performance.now() - began).toBeLessThan(2000)
  expect((await given.database.query('select 1 from twofold._dead_letter')).rows).toEqual([])
  const again: number[] = []
  await given.run(
    runReactor(
      mailer('hangs', (_, { attempt }) => void again.push(attempt)),
      { log: b.log, logger: given.logger },
    ),
  )
  await vi.waitFor(() => expect(again).toEqual([1]), soon)
})

test('of two instances one reacts; when its lease ends its reactions are aborted and the other goes on', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  const seen: string[] = []
  const stuck = (to: string, { signal }: ReactorContext): Promise<void> | void => {
    seen.push(`a ${to}`)
    if (to !== 'stuck') return undefined
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        seen.push('a aborted')
        reject(new Error('cut'))
      })
    })
  }
  await given.append(0, [sent('1'), sent('2')])
  await given.run(runReactor(mailer('taken', stuck), { log: a.log, logger: given.logger }))
  await vi.waitFor(async () => expect(await given.positions('taken')).toEqual(none.with(0, 2)), soon)
  await given.run(
    runReactor(
      mailer('taken', (to) => void seen.push(`b ${to}`)),
      { log: b.log, logger: given.logger },
    ),
  )
  await given.append(0, [sent('stuck')])
  await vi.waitFor(() => expect(seen).toEqual(['a 1', 'a 2', 'a stuck']), soon)
  await a.end()
  await vi.waitFor(() => expect(seen.toSorted()).toEqual(['a 1', 'a 2', 'a aborted', 'a stuck', 'b stuck']), soon)
  expect((await given.database.query('select 1 from twofold._dead_letter')).rows).toEqual([])
})

test('a crash repeats at most the last moments', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  const first: string[] = []
  await given.append(
    0,
    Array.from({ length: 1000 }, (_, n) => sent(`${n}`)),
  )
  // An instance that dies is one whose promises never settle: the 700th reaction does not come back, and its lease ends.
  const dying = (to: string): Promise<void> => (first.push(to) === 700 ? new Promise(() => undefined) : Promise.resolve())
  await given.run(runReactor(mailer('dies', dying), { log: a.log, logger: given.logger }))
  await vi.waitFor(async () => expect((await given.positions('dies'))[0]).toBeGreaterThanOrEqual(699 - 100), soon)
  await a.end()
  const second: string[] = []
  await given.run(
    runReactor(
      mailer('dies', (to) => void second.push(to)),
      { log: b.log, logger: given.logger },
    ),
  )
  await vi.waitFor(() => expect(second.at(-1)).toBe('999'), soon)
  expect(Number(second[0])).toBeGreaterThanOrEqual(599)
  expect(Number(second[0])).toBeLessThanOrEqual(699)
})

test('connections that break are made anew, and events of that time are handled', async () => {
  const { log } = await given.instance()
  const seen: string[] = []
  await given.run(
    runReactor(
      mailer('broken', (to) => void seen.push(to)),
      { log, logger: given.logger },
    ),
  )
  await given.append(0, [sent('1')])
  await vi.waitFor(() => expect(seen).toEqual(['1']), soon)
  const { rows } = await given.database.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  )
  expect(rows.length).toBeGreaterThan(0)
  await vi.waitFor(() => given.append(1, [sent('2')], 1), soon)
  await vi.waitFor(() => expect(seen).toContain('2'), soon)
})
