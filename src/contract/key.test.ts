import { expect, test } from 'vitest'
import { keyFault, slotOf, SLOT_COUNT } from './key.ts'

// Computed by another program (FNV-1a, 32 bit, over the UTF-8 bytes of service, NUL, key).
test('slots are what they have always been: a change would give keys two owners', () => {
  const vectors: Record<string, number> = { '': 1412, a: 1919, 'wallet-1': 847, Zürich: 1767, 注文: 3758 }
  expect(Object.fromEntries(Object.keys(vectors).map((key) => [key, slotOf('orders', key)]))).toEqual(vectors)
})

test('slots are spread evenly', () => {
  const counts = Array.from({ length: 16 }, () => 0)
  for (let at = 0; at < 16_000; at += 1) counts[slotOf('orders', `order-${at}`) % 16]! += 1
  expect(Math.min(...counts)).toBeGreaterThan(800)
  expect(Math.max(...counts)).toBeLessThan(1200)
  expect(slotOf('orders', 'x')).toBeLessThan(SLOT_COUNT)
})

test('service and key are told apart', () => {
  expect(slotOf('ab', 'c')).not.toBe(slotOf('a', 'bc'))
})

test('keys that a database cannot keep apart are refused with the reason', () => {
  expect(keyFault('order-1')).toBeUndefined()
  expect(keyFault('é'.repeat(127))).toBeUndefined()
  expect(keyFault('é'.repeat(128))).toContain('at most 255 bytes long, this one is 256')
  expect(keyFault('')).toContain('empty')
  expect(keyFault('a\0b')).toContain('NUL')
  expect(keyFault('\ud800')).toContain('lone surrogate')
  expect(keyFault(7)).toContain('not number')
})
