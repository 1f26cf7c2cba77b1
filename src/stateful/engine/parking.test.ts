import { expect, test } from 'vitest'
import { Parking } from './parking.ts'

const key = (name: string, partition: number, dueAt: number): Parameters<Parking['set']>[0] => ({
  service: 's',
  key: name,
  partition,
  dueAt,
})

test('keys of partitions that were given up wake nobody any more', () => {
  const parking = new Parking()
  parking.set(key('a', 1, 100))
  parking.set(key('b', 2, 900))
  parking.retain((partition) => partition === 2)
  expect(parking.nextDueMs(500)).toBe(400)
  parking.retain(() => false)
  expect(parking.nextDueMs(500)).toBe(Infinity)
})
