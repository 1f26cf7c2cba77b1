// Which parked commands are taken up, and which keys wait on.
import { expect, test } from 'vitest'
import type { ParkedCommand } from '../../ports/effect-store.ts'
import { Parking } from './parking.ts'
import type { ParkedKey } from './plan-batch.ts'
import { noteParked, takeParked } from './take-parked.ts'

const key: ParkedKey = { service: 'shop', key: 'a', partition: 1, dueAt: 100 }

function parked(seq: string, dueAt: number, of = 'a'): ParkedCommand {
  const id = `0190b1d2-7000-7000-8000-${seq.padStart(12, '0')}`
  return { seq, partition: 1, attempts: 1, dueAt, envelope: { id, service: 'shop', command: 'act', keys: [of], input: '{}' } }
}

async function taken(commands: readonly ParkedCommand[]): Promise<{ seqs: string[]; parking: Parking }> {
  const parking = new Parking()
  parking.set(key)
  const { works } = await takeParked([key], { parked: async () => commands }, parking, { now: () => 1000, batchSizeMax: 100 })
  return { seqs: works.map(({ origin }) => (origin.from === 'parked' ? origin.seq : '')), parking }
}

test('a command that died holds its key once it is the first, not those before it', async () => {
  const behind = await taken([parked('1', 100), parked('2', Infinity), parked('3', 100)])
  expect([behind.seqs, behind.parking.due(1000, 10)]).toEqual([['1'], [key]])
  const first = await taken([parked('2', Infinity), parked('3', 100)])
  expect([first.seqs, first.parking.due(1000, 10), first.parking.has('shop', 'a')]).toEqual([[], [], true])
})

test('while parked keys are looked up anew none is forgotten, and none that is in hand is taken again', () => {
  const parking = new Parking()
  for (const [name, dueAt] of [['a', 5000] as const, ['b', Infinity] as const, ['c', 5000] as const])
    parking.set({ ...key, key: name, dueAt })
  parking.lookAgain(1000)
  expect(['a', 'b', 'c'].map((each) => parking.has('shop', each))).toEqual([true, true, true])
  noteParked([parked('1', 3000), parked('2', 900, 'b')], new Set(), parking, () => 1000)
  // What is not stored any more is looked up, and forgotten then.
  expect(parking.due(1000, 10).map((each) => each.key)).toEqual(['c'])
  expect(parking.due(3000, 10).map((each) => each.key)).toEqual(['a', 'c'])
})

test('a key that a dead owner left stays under watch when parked keys are looked up anew after the log has run', () => {
  const parking = new Parking()
  noteParked([parked('1', 3000), parked('2', 3000, 'b')], new Set([1]), parking, () => 1000)
  parking.set({ ...key, key: 'b', dueAt: 2000 })
  parking.lookAgain(1000)
  noteParked([parked('1', 3000), parked('2', 3000, 'b')], new Set(), parking, () => 1000)
  expect(parking.due(3000, 10).map(({ key: name, leftBehind }) => [name, leftBehind])).toEqual([
    ['a', true],
    ['b', false],
  ])
})
