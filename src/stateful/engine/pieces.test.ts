import { expect, test } from 'vitest'
import { CROSS_BATCH_MAX, splitPieces } from './pieces.ts'
import type { Work } from './work.ts'

const work = (id: string, keys: string[], row = 'r1'): Work => ({
  envelope: { id, service: 's', command: 'c', keys, input: '{}' },
  partition: 0,
  origin: { from: 'log', row },
})
const ids = (works: readonly Work[]): string[] => works.map((each) => each.envelope.id)
const isCross = (each: Work): boolean => each.envelope.keys.length > 1

test('without a cross command there is one piece', () => {
  const pieces = splitPieces([work('1', ['a']), work('2', ['b'])], ['r1'], isCross)
  expect(pieces.map((piece) => [piece.cross, ids(piece.works), piece.consumed])).toEqual([[false, ['1', '2'], ['r1']]])
})

test('what follows a cross command of the same home key stays behind it', () => {
  const pieces = splitPieces([work('1', ['a']), work('2', ['a', 'z']), work('3', ['a']), work('4', ['b'])], ['r1'], isCross)
  expect(pieces.map((piece) => [piece.cross, ids(piece.works)])).toEqual([
    [false, ['1', '4']],
    [true, ['2', '3']],
  ])
})

test('a row is consumed by the last piece that has one of its commands', () => {
  const works = [work('1', ['a'], 'r1'), work('2', ['a', 'z'], 'r2'), work('3', ['b'], 'r2'), work('4', ['c'], 'r3')]
  const split = [work('5', ['d'], 'r5'), work('6', ['e', 'z'], 'r5')]
  const pieces = splitPieces([...works, ...split], ['r1', 'r2', 'r3', 'r4', 'r5'], isCross)
  expect(pieces.map((piece) => piece.consumed)).toEqual([
    ['r1', 'r3', 'r4'],
    ['r2', 'r5'],
  ])
})

test('cross pieces are bounded', () => {
  const works = Array.from({ length: CROSS_BATCH_MAX + 1 }, (_, at) => work(String(at), [`k${at}`, 'z']))
  expect(splitPieces(works, ['r1'], isCross).map((piece) => [piece.works.length, piece.consumed])).toEqual([
    [CROSS_BATCH_MAX, []],
    [1, ['r1']],
  ])
})
