import { expect, test } from 'vitest'
import { assignPartitions } from './assign.ts'

const ids = ['a1', 'b2', 'c3', 'd4', 'e5'].map((id) => `0190b1d2-0000-7000-8000-0000000000${id}`)

test('every partition has exactly one owner and shares differ by at most one', () => {
  for (let count = 1; count <= ids.length; count += 1) {
    for (const partitions of [1, 7, 64, 100]) {
      const shares = [...assignPartitions(ids.slice(0, count), partitions).values()]
      expect(shares.flat().toSorted((a, b) => a - b)).toEqual(Array.from({ length: partitions }, (_, partition) => partition))
      const sizes = shares.map((share) => share.length)
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
    }
  }
})

test('all instances compute the same, in whatever order they see each other', () => {
  expect(assignPartitions(ids.toReversed(), 64)).toEqual(assignPartitions(ids, 64))
})

test('a newcomer takes its share and moves few of the others', () => {
  const before = ownerOf(assignPartitions(ids.slice(0, 4), 64))
  const after = ownerOf(assignPartitions(ids, 64))
  const moved = before.filter((owner, partition) => after[partition] !== owner && after[partition] !== ids[4])
  expect(moved.length).toBeLessThan(16)
})

test('without instances nobody owns anything', () => {
  expect(assignPartitions([], 64).size).toBe(0)
})

function ownerOf(shares: Map<string, number[]>): string[] {
  const owners: string[] = []
  for (const [id, share] of shares) for (const partition of share) owners[partition] = id
  return owners
}
