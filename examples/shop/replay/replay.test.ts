import { expect, test } from 'vitest'
import { parseOptions } from './options.ts'
import { centsOf, groupOrders } from './read-orders.ts'
import { sumsOf } from './reconcile.ts'
import { differencesOf } from './report.ts'
import { sampleOrders } from './sample-orders.ts'

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

test('a broken item is named with its place', () => {
  expect(() => groupOrders([item, { ...item, price: 'free' }], 'f.csv')).toThrow("f.csv, item 2: 'free' is not a price")
  expect(() => groupOrders([{ ...item, seller_id: '' }], 'f.csv')).toThrow('f.csv, item 1: seller_id missing')
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
