// Keys are served again when owners change. What is asserted is the promised time, and a few times what the machine made a small write of the
// test's own wait meanwhile; what was measured is printed. `npm run bench -- --only moves` measures the same where nothing else runs.
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Ledger } from './ledger.ts'
import { observeMoves, type Moves } from './moves.ts'
import { openLedger } from './open-ledger.ts'

const LEASE_MS = 2000

/** A change of owners is a few steps, each of which may meet the worst moment of a busy machine. */
const STALLS_MAX = 4

/** A machine that keeps a write waiting for longer than this shows nothing; the test is red there as well. */
const STALL_MS_MAX = 2500

const BEAT_MS = 20

let ledger: Ledger

beforeEach(async () => {
  ledger = await openLedger(LEASE_MS)
})
afterEach(() => ledger.close())

test('keys are served again in time when an instance comes, leaves or dies', { timeout: 180_000 }, async () => {
  const [moves, writeMs] = await besideWrites(ledger.url, () => observeMoves(ledger))
  const stallMs = Math.min(STALL_MS_MAX, Math.max(writeMs, moves.nothing.pauses.at(-1) ?? 0))
  console.log(printed(moves, writeMs))
  const { comes, leaves, dies } = moves
  const patienceMs = STALLS_MAX * stallMs
  expect(comes.holds).toHaveLength(32)
  expect(comes.holds.at(-1)).toBeLessThan(100 + patienceMs)
  expect(comes.pauses.at(-1)).toBeLessThan(100 + patienceMs)
  expect(leaves.pauses.at(-1)).toBeLessThan(1000 + patienceMs)
  expect(dies.pauses.at(-1)).toBeLessThan(LEASE_MS + 2000 + patienceMs)
})

/** Runs `work`, and tells the longest that one of the small writes beside it took, in milliseconds. */
async function besideWrites<Result>(url: string, work: () => Promise<Result>): Promise<[Result, number]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('create table beat (at timestamptz not null)')
  const over = new AbortController()
  const beating = beat(client, over.signal)
  try {
    const result = await work()
    over.abort()
    return [result, await beating]
  } finally {
    over.abort()
    await beating.catch(() => undefined)
    await client.end()
  }
}

async function beat(client: pg.Client, over: AbortSignal): Promise<number> {
  let longestMs = 0
  while (!over.aborted) {
    const began = performance.now()
    await new Promise((resolve) => setTimeout(resolve, BEAT_MS))
    await client.query('insert into beat values (clock_timestamp())')
    longestMs = Math.max(longestMs, performance.now() - began - BEAT_MS)
  }
  return Math.round(longestMs)
}

function printed({ nothing, comes, leaves, dies }: Moves, writeMs: number): string {
  const spread = (times: readonly number[]): string => `${times[times.length >> 1]} ms, at most ${times.at(-1)} ms`
  return [
    `moves of partitions, the median and the longest (a lease is ${LEASE_MS} ms):`,
    `  an instance comes: a partition is served by nobody for ${spread(comes.holds)}; a key waits ${spread(comes.pauses)}`,
    `  an instance is stopped: a key waits ${spread(leaves.pauses)}; all is taken over, and its process over, after ${leaves.takenMs} ms`,
    `  an instance is killed: a key waits ${spread(dies.pauses)}; all is taken over after ${dies.takenMs} ms`,
    `  nothing moves: a key waits ${spread(nothing.pauses)}; a write of the test's own took ${writeMs} ms at most in all this time`,
  ].join('\n')
}
