import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Latency } from './measure.ts'
import { parseOptions } from './options.ts'
import { centsOf, groupOrders, readOrders } from './read-orders.ts'
import { sumsOf } from './reconcile.ts'
import { differencesOf, isClean, tableOf } from './report.ts'
import { sampleOrders } from './sample-orders.ts'
import { nothingSent, type Sent } from './send-orders.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-replay-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function fileWith(text: string): Promise<string> {
  const file = join(folder, 'orders.csv')
  await writeFile(file, text)
  return file
}

test('prices become cents exactly', () => {
  expect(['58.9', '12.99', '199', '0.29', '1234567.05'].map(centsOf)).toEqual([5890, 1299, 19_900, 29, 123_456_705])
  expect(['', '-1', '1.999', '1,5', 'NaN'].map(centsOf)).toEqual([undefined, undefined, undefined, undefined, undefined])
})

const item = { order_id: 'o1', product_id: 'p', seller_id: 's1', price: '1.10' }

test('the items of an order become its lines', () => {
  const orders = groupOrders([item, { ...item, order_id: 'o2' }, { ...item, seller_id: 's2', price: '2' }], 'f')
  expect(orders.map((order) => [order.orderId, order.lines.length])).toEqual([
    ['o1', 2],
    ['o2', 1],
  ])
})

test('a customer is called after the order, in characters that are whole', () => {
  const [order] = groupOrders([{ ...item, order_id: '1234567😀' }], 'f')
  expect(order?.customerId).toBe('customer-1234567\ufffd')
})

test('a broken item is named with its place', () => {
  expect(() => groupOrders([item, { ...item, price: 'free' }], 'f.csv')).toThrow("f.csv, item 2: 'free' is not a price")
  expect(() => groupOrders([{ ...item, seller_id: '' }], 'f.csv')).toThrow('f.csv, item 1: seller_id missing')
})

test('a file is read as it was exported, with or without a byte order mark, quotes and columns nobody asked for', async () => {
  const file = await fileWith('\ufefforder_id,order_item_id,product_id,seller_id,price,freight_value\r\n"o1",1,p,"s, 1",58.9,13.29\r\n')
  expect(await readOrders(file)).toEqual([
    { orderId: 'o1', customerId: 'customer-o1', lines: [{ sellerId: 's, 1', productId: 'p', quantity: 1, priceCents: 5890 }] },
  ])
})

test('a file without orders, or that is none, is refused by its name', async () => {
  await expect(readOrders(await fileWith('order_id,product_id,seller_id,price\n'))).rejects.toThrow('orders.csv has no orders in it')
  await expect(readOrders(await fileWith('order_id\n"o1'))).rejects.toThrow('orders.csv is no CSV file')
  await expect(readOrders(await fileWith('id,price\n1,2\n'))).rejects.toThrow('item 1: order_id, product_id, seller_id missing')
  await expect(readOrders(join(folder, 'none.csv'))).rejects.toThrow(`there is no file ${join(folder, 'none.csv')}`)
  await expect(readOrders(folder)).rejects.toThrow(`${folder} cannot be read`)
})

test('an order counts once for each of its sellers', () => {
  const orders = groupOrders([item, item, { ...item, seller_id: 's2' }, { ...item, order_id: 'o2' }], 'f')
  expect(Object.fromEntries(sumsOf(orders))).toEqual({
    s1: { orders: 2, items: 3, revenueCents: 330 },
    s2: { orders: 1, items: 1, revenueCents: 110 },
  })
})

test('a sample is the same for the same seed', () => {
  expect(sampleOrders(50, 7)).toEqual(sampleOrders(50, 7))
  expect(sampleOrders(50, 7)).not.toEqual(sampleOrders(50, 8))
})

test('the command line takes rates in two spellings and refuses what it does not know', () => {
  expect(parseOptions(['--rate', '200/s', '--url', 'http://a/', '--url', 'http://b'])).toMatchObject({
    rate: 200,
    urls: ['http://a', 'http://b'],
  })
  for (const args of [
    ['--rate', 'fast'],
    ['--concurrency', '0'],
    ['--colour', 'red'],
    ['--url', 'nowhere'],
  ]) {
    expect(parseOptions(args)).toEqual({ fault: expect.stringContaining(args[1] === 'red' ? 'colour' : (args[1] ?? '')) })
  }
})

test('differences are shown with what they should be', () => {
  expect(differencesOf([], 3)).toBe('reconciliation of 3 sellers: 0 differences')
  expect(differencesOf([{ sellerId: 's', figure: 'items', expected: 2, answered: 1 }], 3)).toContain('seller s: items is 1, should be 2')
})

const clean: Sent = { ...nothingSent(), sent: 2, accepted: 2, succeeded: 2, seconds: 0.5 }

test('the table tells counts, latencies and throughput', () => {
  const accept = new Latency()
  for (const ms of [1, 2, 30]) accept.record(ms)
  const table = tableOf({ ...clean, accept, replayed: 1, rejected: 1, alreadyPlaced: 1, refused: ['o3: 422 {}'] })
  for (const row of [
    /^ {2}sent +2$/m,
    /^ {2}accepted +2 \(1 known already\)$/m,
    /^ {2}rejected +1 \(1 placed already\)$/m,
    /^ {2}accept +p50 2\.0 ms, p99 30\.0 ms, max 30\.0 ms$/m,
    /^ {2}effect +-$/m,
    /^ {2}orders per second +4$/m,
    /^ {2}refused +1\n {4}o3: 422 \{\}$/m,
  ])
    expect(table).toMatch(row)
})

test('only twenty of many differences are shown, and the rest are counted', () => {
  const difference = { sellerId: 's', figure: 'items', expected: 2, answered: 1 } as const
  const shown = differencesOf(
    Array.from({ length: 25 }, () => difference),
    30,
  ).split('\n')
  expect([shown.length, shown[0], shown.at(-1)]).toEqual([22, 'reconciliation of 30 sellers: 25 differences', '  and 5 more'])
})

test('whatever was lost, doubled, dead, refused or differs makes the replay fail; an order that was there already does not', () => {
  expect(isClean({ ...clean, replayed: 2, rejected: 2, alreadyPlaced: 2 }, [])).toBe(true)
  for (const fault of [{ lost: 1 }, { duplicated: 1 }, { dead: 1 }, { refused: ['o: 422'] }])
    expect(isClean({ ...clean, ...fault }, [])).toBe(false)
  expect(isClean(clean, [{ sellerId: 's', figure: 'items', expected: 2, answered: 1 }])).toBe(false)
})
