import { expect, test } from 'vitest'
import { GatheredLookups } from './gathered-lookups.ts'

/** A table, and which keys each query asked for. */
function tableOf(rows: ReadonlyMap<string, number>): { queries: (readonly string[])[]; lookups: GatheredLookups<number> } {
  const queries: (readonly string[])[] = []
  const lookups = new GatheredLookups<number>(async (keys) => {
    queries.push(keys)
    // What a query sees is what was there when it began.
    const seen = new Map(rows)
    await new Promise(setImmediate)
    return seen
  })
  return { queries, lookups }
}

test('rows asked for together are looked up together, and each gets its own', async () => {
  const { queries, lookups } = tableOf(
    new Map([
      ['a', 1],
      ['b', 2],
    ]),
  )
  expect(await Promise.all(['b', 'x', 'a', 'b'].map((key) => lookups.find(key)))).toEqual([2, undefined, 1, 2])
  expect(queries).toEqual([['b', 'x', 'a', 'b']])
})

test('a row stored before it is asked for is seen, also while an earlier look-up is under way', async () => {
  const rows = new Map<string, number>()
  const { queries, lookups } = tableOf(rows)
  const earlier = lookups.find('a')
  while (queries.length === 0) await new Promise(setImmediate)
  rows.set('a', 1)
  expect(await Promise.all([earlier, lookups.find('a')])).toEqual([undefined, 1])
})

test('a look-up that fails fails for all who asked, and the next one is a new one', async () => {
  let away = true
  const lookups = new GatheredLookups<number>(async (keys) => {
    if (away) throw new Error('away')
    return new Map(keys.map((key) => [key, 1]))
  })
  const settled = await Promise.allSettled([lookups.find('a'), lookups.find('b')])
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  away = false
  expect(await lookups.find('a')).toBe(1)
})

test('more than a query takes is looked up by several', async () => {
  const { queries, lookups } = tableOf(new Map([['2000', 7]]))
  const found = await Promise.all(Array.from({ length: 2001 }, (_, key) => lookups.find(String(key))))
  expect([found[2000], queries.map(({ length }) => length)]).toEqual([7, [1000, 1000, 1]])
})
