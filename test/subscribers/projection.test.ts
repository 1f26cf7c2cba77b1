import { expect, test, vi } from 'vitest'
import type { Transaction } from '../../src/ports/database.ts'
import { projection, type Projection } from '../../src/subscribers/projection.ts'
import { runProjection } from '../../src/subscribers/run-projection.ts'
import type { AnyStored } from '../../src/subscribers/subscriber.ts'
import { PARTITIONS, scene, shop } from './scene.ts'

const given = scene()
const none = Array.from({ length: PARTITIONS }, () => 0)
const sent = (to: string) => ({ data: { to } })
const foreign = { service: 'elsewhere', name: 'happened', data: {} }

/** Stores every event it sees; `before` and `after` may get in the way of a batch. */
function list(
  name: string,
  hooks: { before?: (events: readonly AnyStored[], tx: Transaction) => unknown; after?: (tx: Transaction) => unknown } = {},
): Projection {
  return projection(name, {
    from: { shop },
    tables: `create table "${name}" (id text, body json, n serial)`,
    async batch(events, transaction) {
      await hooks.before?.(events, transaction)
      const values = [events.map((event) => event.id), events.map((event) => JSON.stringify(event.data))]
      await transaction.query(`insert into "${name}" (id, body) select * from unnest($1::text[], $2::json[])`, values)
      await hooks.after?.(transaction)
    },
  })
}

async function stored(name: string): Promise<unknown[]> {
  const { rows } = await given.database.query<{ body: unknown }>(`select body from "${name}" order by n`)
  return rows.map((row) => row.body)
}

const soon = { timeout: 5000, interval: 5 }

test('every event is applied once, in order, its data lifted to the newest shape', async () => {
  const { log } = await given.instance()
  await given.append(1, [
    { name: 'paid', shape: 1, data: { cents: 5 } },
    { name: 'paid', shape: 2, data: { amount: { cents: 6 } } },
    sent('a'),
  ])
  await given.run(runProjection(list('lifted'), { log, logger: given.logger }))
  await given.append(1, [sent('b')])
  const all = [{ amount: { cents: 5 } }, { amount: { cents: 6 } }, { to: 'a' }, { to: 'b' }]
  await vi.waitFor(async () => expect(await stored('lifted')).toEqual(all), soon)
  expect(await given.positions('lifted')).toEqual(none.with(1, 4))
})

test('without any wake-up an event is applied within a second', async () => {
  const { log } = await given.instance()
  const handled: number[] = []
  const read = vi.spyOn(log, 'read')
  await given.run(runProjection(list('polled', { after: () => handled.push(performance.now()) }), { log, logger: given.logger }))
  const silent = vi.spyOn(given, 'ring').mockImplementation(() => undefined)
  // By then the polls are as rare as they get: 25, 50, 100, 200, 400, 800 ms, then a second.
  await vi.waitFor(() => expect(read.mock.calls.length).toBeGreaterThanOrEqual(7), soon)
  const appended = performance.now()
  await given.append(0, [sent('late')])
  await vi.waitFor(() => expect(handled).toHaveLength(1), soon)
  silent.mockRestore()
  expect(handled[0]! - appended).toBeLessThan(1100)
})

test('a backend killed between the rows and the commit costs nothing and repeats nothing', async () => {
  const { log } = await given.instance()
  let kills = 0
  const killed = list('killed', {
    async after(transaction) {
      if (kills++ >= 3) return
      const { rows } = await transaction.query<{ pid: number }>('select pg_backend_pid() as pid')
      await given.database.query('select pg_terminate_backend($1)', [rows[0]!.pid])
    },
  })
  for (let row = 0; row < 10; row++) await given.append(row % PARTITIONS, [sent(`${row}`)])
  await given.run(runProjection(killed, { log, logger: given.logger }))
  await given.append(0, [sent('10')])
  await vi.waitFor(async () => expect((await stored('killed')).length).toBeGreaterThanOrEqual(11), soon)
  expect(kills).toBeGreaterThanOrEqual(4)
  expect((await stored('killed')).map((body) => Number((body as { to: string }).to)).toSorted((a, b) => a - b)).toEqual([
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
  ])
})

test('a batch that throws leaves no row and keeps its place until it passes', async () => {
  const { log } = await given.instance()
  const seen: (readonly [positions: readonly number[], rows: number])[] = []
  const failing = list('failing', {
    async before(_events, transaction) {
      seen.push([await given.positions('failing'), (await stored('failing')).length])
      await transaction.query(`insert into failing (id) values ('left behind?')`)
      if (seen.length < 3) throw new Error('not yet')
      await transaction.query(`delete from failing where id = 'left behind?'`)
    },
  })
  await given.append(0, [sent('a'), sent('b')])
  await given.run(runProjection(failing, { log, logger: given.logger }))
  await vi.waitFor(async () => expect(await stored('failing')).toEqual([{ to: 'a' }, { to: 'b' }]), soon)
  expect(seen).toEqual([
    [none, 0],
    [none, 0],
    [none, 0],
  ])
  expect(given.logged.filter(({ level }) => level === 'error')).toHaveLength(2)
})

test('a batch that swallows an error of its own SQL is not taken for done', async () => {
  const { log } = await given.instance()
  let tries = 0
  const careless = list('careless', {
    after: async (transaction) => {
      if (tries++ === 0) await transaction.query('select 1 / 0').catch(() => undefined)
    },
  })
  await given.append(0, [sent('a')])
  await given.run(runProjection(careless, { log, logger: given.logger }))
  await vi.waitFor(async () => expect(await stored('careless')).toEqual([{ to: 'a' }]), soon)
})

test('of two instances one applies; when its lease ends the other goes on where it was', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  const by: string[] = []
  const of = (who: string): Projection => list('shared', { before: () => by.push(who) })
  await given.run(runProjection(of('a'), { log: a.log, logger: given.logger }))
  await given.append(0, [sent('1')])
  await vi.waitFor(async () => expect(await stored('shared')).toHaveLength(1), soon)
  await given.run(runProjection(of('b'), { log: b.log, logger: given.logger }))
  await given.append(0, [sent('2')])
  await vi.waitFor(async () => expect(await stored('shared')).toHaveLength(2), soon)
  expect(by).toEqual(['a', 'a'])
  await a.end()
  await vi.waitFor(() => expect(given.logged.filter(({ message }) => message.startsWith('holds'))).toHaveLength(2), soon)
  await given.append(0, [sent('3')])
  await vi.waitFor(async () => expect(await stored('shared')).toEqual([{ to: '1' }, { to: '2' }, { to: '3' }]), soon)
  expect(by.at(-1)).toBe('b')
})

test('a stop gives the place up at once', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  const first = await given.run(runProjection(list('handed'), { log: a.log, logger: given.logger }))
  await vi.waitFor(() => expect(given.logged.map(({ message }) => message)).toContain('holds the place of the subscriber'), soon)
  expect(await b.log.hold('handed')).toBeUndefined()
  await first.stop()
  expect(await b.log.hold('handed')).toBeDefined()
})

test('events of other services move the cursor within moments, and seldom', async () => {
  const { log } = await given.instance()
  const advance = vi.spyOn(log, 'advance')
  await given.run(runProjection(list('foreign'), { log, logger: given.logger }))
  for (let n = 1; n <= 100; n++) await given.append(4, [foreign])
  await vi.waitFor(async () => expect(await given.positions('foreign')).toEqual(none.with(4, 100)), { timeout: 400, interval: 5 })
  expect(advance.mock.calls.length).toBeLessThan(10)
  expect(await stored('foreign')).toEqual([])
})

test('a stop before a start and a second stop are tolerated', async () => {
  const { log } = await given.instance()
  const never = runProjection(list('never'), { log, logger: given.logger })
  await never.stop()
  await never.stop()
  expect(await given.positions('never')).toEqual([])
})
