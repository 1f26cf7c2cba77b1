import { expect, test } from 'vitest'
import { PARTITIONS, scene } from './scene.ts'

const given = scene()
const none = Array.from({ length: PARTITIONS }, () => 0)
const sent = (to: string) => ({ data: { to } })
const recipients = (slices: readonly { events: readonly { data: unknown }[] }[]): string[] =>
  slices.flatMap((slice) => slice.events.map((event) => (event.data as { to: string }).to))

test('a new subscriber begins at the first event or after the newest, as it asked', async () => {
  const { log } = await given.instance()
  await given.append(3, [sent('a'), sent('b')])
  await log.register('old', { start: 'beginning' })
  await log.register('new', { start: 'now' })
  expect(await given.positions('old')).toEqual(none)
  expect(await given.positions('new')).toEqual(none.with(3, 2))
})

test('many starters at once make the tables once', async () => {
  const logs = await Promise.all(Array.from({ length: 6 }, () => given.instance()))
  const tables = 'create table raced (n int); insert into raced values (1)'
  await Promise.all(logs.map(({ log }) => log.register('raced', { start: 'beginning', tables })))
  const { rows } = await given.database.query('select * from raced')
  expect(rows).toEqual([{ n: 1 }])
})

test('tables that cannot be made leave no registration behind', async () => {
  const { log } = await given.instance()
  await expect(log.register('broken', { start: 'beginning', tables: 'create tabel x ()' })).rejects.toThrow('syntax error')
  expect(await given.positions('broken')).toEqual([])
})

test('changed tables are refused with a way out; a new layout of the same SQL is not a change', async () => {
  const { log } = await given.instance()
  await log.register('stats', { start: 'beginning', tables: 'create table if not exists stats (n int)' })
  await log.register('stats', { start: 'beginning', tables: '\n  create table if not exists\n    stats (n int)\n' })
  await expect(log.register('stats', { start: 'beginning', tables: 'create table stats (n bigint)' })).rejects.toMatchObject({
    code: 'PROJECTION_CHANGED',
    message: expect.stringContaining('a new name'),
  })
  await expect(log.register('stats', { start: 'now' })).rejects.toMatchObject({ code: 'PROJECTION_CHANGED' })
})

test('one live instance holds a place; when its lease ends another takes it with a new epoch', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  await a.log.register('s', { start: 'beginning' })
  const first = await a.log.hold('s')
  expect(first).toBeDefined()
  expect(await b.log.hold('s')).toBeUndefined()
  expect((await a.log.hold('s'))?.epoch).toBe(first?.epoch)
  await a.end()
  expect((await b.log.hold('s'))?.epoch).toBe(first!.epoch + 1)
  expect(await a.log.hold('s')).toBeUndefined()
})

test('of many who ask for a free place at once, one gets it', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => given.instance()))
  await all[0]!.log.register('s', { start: 'beginning' })
  const held = await Promise.all(all.map(({ log }) => log.hold('s')))
  expect(held.filter((cursor) => cursor !== undefined)).toHaveLength(1)
})

test('a place given up is free at once, and only its holder can give it up', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  await a.log.register('s', { start: 'beginning' })
  const held = await a.log.hold('s')
  await b.log.release(held!)
  expect(await b.log.hold('s')).toBeUndefined()
  await a.log.release(held!)
  expect(await b.log.hold('s')).toBeDefined()
})

test('a former holder stores nothing, neither its place nor its rows', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  await a.log.register('s', { start: 'beginning', tables: 'create table fenced (n int)' })
  const former = await a.log.hold('s')
  await a.end()
  await b.log.hold('s')
  const write = a.log.advance(former!, none.with(0, 1), async (transaction) => {
    await transaction.query('insert into fenced values (1)')
  })
  await expect(write).rejects.toMatchObject({ code: 'FENCED' })
  await expect(a.log.advance(former!, none.with(0, 1))).rejects.toMatchObject({ code: 'FENCED' })
  expect(await given.positions('s')).toEqual(none)
  expect((await given.database.query('select * from fenced')).rows).toEqual([])
})

test('a cursor that moved since it was read is not moved again', async () => {
  const { log } = await given.instance()
  await log.register('s', { start: 'beginning' })
  const held = await log.hold('s')
  await log.advance(held!, none.with(0, 5))
  await expect(log.advance(held!, none.with(0, 3))).rejects.toMatchObject({ code: 'FENCED' })
  expect(await given.positions('s')).toEqual(none.with(0, 5))
})

test('a holder in the middle of its transaction keeps its place, and nobody waits for it', async () => {
  const [a, b] = [await given.instance(), await given.instance()]
  await a.log.register('s', { start: 'beginning' })
  const held = await a.log.hold('s')
  await a.log.advance(held!, none.with(0, 1), async () => {
    await a.end()
    expect(await b.log.hold('s')).toBeUndefined()
  })
  expect((await b.log.hold('s'))?.positions).toEqual(none.with(0, 1))
})

test('reading stops at a gap until it is filled', async () => {
  const { log } = await given.instance()
  await given.append(0, [sent('1'), sent('2')], 1)
  await given.append(0, [sent('4')], 4)
  await given.append(1, [sent('other')], 2)
  const [slice, ...others] = await log.read(none, 100)
  expect(others).toEqual([])
  expect(slice).toMatchObject({ partition: 0, first: 1, last: 2 })
  await given.append(0, [sent('3')], 3)
  expect(recipients(await log.read(none.with(0, 2), 100))).toEqual(['3', '4'])
})

test('a cursor inside a row gets the rest of the row', async () => {
  const { log } = await given.instance()
  await given.append(2, [sent('1'), sent('2'), sent('3')])
  expect(await log.read(none.with(2, 1), 100)).toMatchObject([
    { partition: 2, first: 2, last: 3, events: [{ data: { to: '2' } }, { data: { to: '3' } }] },
  ])
})

test('an answer is bounded, takes rows whole and gives every partition something', async () => {
  const { log } = await given.instance()
  for (let row = 0; row < 40; row++) await given.append(0, [sent('a'), sent('b'), sent('c')])
  await given.append(5, [sent('rare')])
  const slices = await log.read(none, 30)
  expect(slices.map((slice) => slice.partition)).toEqual([0, 5])
  expect(slices[0]!.events).toHaveLength(slices[0]!.last)
  expect(slices[0]!.last % 3).toBe(0)
  expect(slices[0]!.last).toBeGreaterThan(9)
  expect(slices[0]!.last).toBeLessThanOrEqual(30)
  expect((await log.read(none, 30, [5])).map((slice) => slice.partition)).toEqual([5])
})

test('a row larger than the limit is read all the same', async () => {
  const { log } = await given.instance()
  await given.append(
    7,
    Array.from({ length: 50 }, (_, n) => sent(`${n}`)),
  )
  expect((await log.read(none, 4))[0]?.last).toBe(50)
})

test('what a reactor gave up on is stored with its place, even if the error holds what text cannot', async () => {
  const { log } = await given.instance()
  await log.register('s', { start: 'beginning' })
  const held = await log.hold('s')
  await given.append(0, [{ data: { to: '\0 \ud800' }, key: 'k1' }])
  const [slice] = await log.read(none, 10)
  const dead = { subscriber: 's', partition: 0, event: slice!.events[0]!, attempts: 3, error: 'bad \0 \ud800', stack: undefined }
  await log.advance(held!, none.with(0, 1), undefined, [dead])
  const { rows } = await given.database.query('select kind, subscriber, key, attempts, message from twofold.dead_letter')
  expect(rows).toMatchObject([{ kind: 'event', subscriber: 's', key: 'k1', attempts: 3, message: { data: { to: '\0 \ud800' } } }])
})
