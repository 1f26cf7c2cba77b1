import { expect, test } from 'vitest'
import { backoffMs } from './backoff.ts'

const retry = { minMs: 100, maxMs: 10_000 }
const longest = 1 - Number.EPSILON

test('the bound doubles with every attempt up to the longest', () => {
  const bounds = [1, 2, 3, 4, 7, 8, 1000].map((attempt) => backoffMs(attempt, retry, () => longest))
  expect(bounds).toEqual([99, 199, 399, 799, 6399, 9999, 9999])
})

test('the pause is drawn from all of it, from nothing on: those who failed together come back apart', () => {
  expect([0, 0.25, 0.5].map((drawn) => backoffMs(3, retry, () => drawn))).toEqual([0, 100, 200])
  const drawn = Array.from({ length: 1000 }, () => backoffMs(1, retry))
  expect(drawn.every((ms) => ms >= 0 && ms < 100)).toBe(true)
  expect(new Set(drawn).size).toBeGreaterThan(50)
})
