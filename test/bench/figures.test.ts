// What a run makes of its rounds: medians, ratios, the table and the comparison.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { figuresOf, readResults } from '../../bench/results.ts'
import { comparison, peerTable, resultTable } from '../../bench/table.ts'

const base = { name: 'one-transaction-each', baseline: true, verified: true } as const
const engine = { name: 'engine-direct', verified: true } as const

const scenarios = figuresOf([
  { ...base, perSecond: 100, p50Ms: 1 },
  { ...engine, perSecond: 1000, figures: { bytes: 30 } },
  { ...base, perSecond: 300, p50Ms: 3 },
  { ...engine, perSecond: 9000, figures: { bytes: 10 } },
  { ...base, perSecond: 200, p50Ms: 9 },
  { ...engine, perSecond: 4000, figures: { bytes: 20 } },
])

test('medians of the rounds count, and ratios are to the baselines', () => {
  expect(scenarios).toEqual([
    { ...base, perSecond: 200, p50Ms: 3, rounds: 3 },
    { ...engine, perSecond: 4000, figures: { bytes: 20 }, rounds: 3, ratioTo: { 'one-transaction-each': 20 } },
  ])
})

test('the table has a row for each scenario and for each that failed, and no empty column', () => {
  const lines = resultTable({ scenarios, failures: [{ name: 'peer-x', reason: 'no Redis\nat all' }] }).split('\n')
  expect(lines.map((line) => line.split('|').map((cell) => cell.trim()))).toEqual([
    ['', 'scenario', 'per second', 'p50 ms', 'to one-transaction-each', 'further', 'without', ''],
    expect.anything(),
    ['', 'one-transaction-each', '200', '3.00', '', '', '', ''],
    ['', 'engine-direct', '4,000', '', '20.0×', 'bytes 20', '', ''],
    ['', 'peer-x', 'failed', '', '', '', 'no Redis', ''],
  ])
})

test('peers are set against what does the same work, where they were measured', () => {
  expect(peerTable(scenarios)).toBeUndefined()
  const withPeer = figuresOf([
    { ...engine, perSecond: 5000 },
    { ...base, name: 'peer-x', perSecond: 100 },
  ])
  const rows = peerTable(withPeer)?.split('\n') ?? []
  expect(rows.map((row) => row.split('|').map((cell) => cell.trim()))).toEqual([
    ['', 'times as fast as', 'engine-direct', ''],
    expect.anything(),
    ['', 'peer-x', '50.0×', ''],
  ])
})

test('a comparison tells what has changed, of what both have measured', () => {
  const before = figuresOf([
    { ...base, perSecond: 100, p50Ms: 6 },
    { name: 'hot-key', perSecond: 1, verified: true },
  ])
  const lines = comparison(scenarios, before).split('\n')
  expect(lines).toHaveLength(3)
  expect(lines[2]?.split('|').map((cell) => cell.trim())).toEqual(['', 'one-transaction-each', '100', '200', '2.00×', '0.50×', ''])
})

test('a file that is no result file is refused with what to name instead', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'twofold-results-'))
  try {
    await writeFile(join(folder, 'other.json'), '{}')
    await expect(readResults(join(folder, 'other.json'))).rejects.toThrow('is not a result file: it has no scenarios')
    await expect(readResults(join(folder, 'none.json'))).rejects.toThrow('name one of bench/results/')
  } finally {
    await rm(folder, { recursive: true })
  }
})
