import { expect, test } from 'vitest'
import { defineContract, entity } from 'twofold'
import { Cell, Cells } from './cells.ts'

const of = entity(defineContract('bank', { commands: {} }), { initial: () => ({ cents: 0 }) })

const cell = (key: string, state = '{"cents":1}'): Cell => new Cell(of, key, { service: 'bank', key, version: 1, shape: 1, state })

test('what was used lately stays, and all of it together is bounded by its size', () => {
  const cells = new Cells(200_000)
  const often = cell('often')
  for (let at = 0; at < 10_000; at += 1) cells.keep([often, cell(`${at}`)])
  expect(cells.get('bank', 'often')).toBe(often)
  const kept = Array.from({ length: 10_000 }, (_, at) => cells.get('bank', `${at}`)).filter((each) => each !== undefined)
  expect(kept.length).toBeGreaterThan(300)
  expect(kept.length).toBeLessThan(700)
})

test('a large state counts for what it is', () => {
  const cells = new Cells(200_000)
  const large = JSON.stringify({ text: 'x'.repeat(10_000) })
  for (let at = 0; at < 100; at += 1) cells.keep([cell(`${at}`, large)])
  expect(Array.from({ length: 100 }, (_, at) => cells.get('bank', `${at}`)).filter((each) => each !== undefined).length).toBeLessThan(7)
})

test('a hundred thousand small states are kept where nothing else is said', () => {
  const cells = new Cells()
  for (let at = 0; at < 100_000; at += 1) cells.keep([cell(`${at}`)])
  expect(cells.get('bank', '0')).toBeDefined()
})
