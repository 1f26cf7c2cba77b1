// Keys are served again when owners change. What is asserted is the promised time, and a few times what the machine made a small write of the
// test's own wait meanwhile; what was measured is printed. `npm run bench -- --only moves` measures the same where nothing else runs.
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Ledger } from './ledger.ts'
import { observeMoves, type Moves, type Observed } from './moves.ts'
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
  const [moves, writes] = await besideWrites(ledger.url, () => observeMoves(ledger))
  const stallOf = ({ from, till }: Observed): number =>
    Math.max(
      ...writes.filter((write) => write.from < till && write.till > from).map((write) => Math.round(write.till - write.from - BEAT_MS)),
    )
  console.log(printed(moves, stallOf))
  const { nothing, comes, leaves, dies } = moves
  const patienceMs = (during: Observed): number =>
    STALLS_MAX * Math.min(STALL_MS_MAX, Math.max(stallOf(during), nothing.pauses.at(-1) ?? 0))
  expect(comes.holds).toHaveLength(32)
  expect(comes.holds.at(-1)).toBeLessThan(100 + patienceMs(comes))
  expect(comes.pauses.at(-1)).toBeLessThan(100 + patienceMs(comes))
  expect(leaves.pauses.at(-1)).toBeLessThan(1000 + patienceMs(leaves))
  expect(dies.pauses.at(-1)).toBeLessThan(LEASE_MS + 2000 + patienceMs(dies))
})

/** When a small write was about to be made, `BEAT_MS` before it was sent, and when it was answered. */
interface Write {
  readonly from: number
  readonly till: number
}

/** Runs `work`, and tells of the small writes that were made beside it. */
async function besideWrites<Result>(url: string, work: () => Promise<Result>): Promise<[Result, readonly Write[]]> {
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

async function beat(client: pg.Client, over: AbortSignal): Promise<readonly Write[]> {
  const writes: Write[] = []
  while (!over.aborted) {
    const from = performance.now()
    await new Promise((resolve) => setTimeout(resolve, BEAT_MS))
    await client.query('insert into beat values (clock_timestamp())')
    writes.push({ from, till: performance.now() })
  }
  return writes
}

function printed({ nothing, comes, leaves, dies }: Moves, stallOf: (during: Observed) => number): string {
  const spread = (times: readonly number[]): string => `${times[times.length >> 1]} ms, at most ${times.at(-1)} ms`
  const told = (during: Observed): string => `a key waits ${spread(during.pauses)}; a write of the test's own at most ${stallOf(during)} ms`
  return [
    `moves of partitions, the median and the longest (a lease is ${LEASE_MS} ms):`,
    `  an instance comes: ${told(comes)}; a partition is served by nobody for ${spread(comes.holds)}`,
    `  an instance is stopped: ${told(leaves)}; all is taken over, and its process over, after ${leaves.takenMs} ms`,
    `  an instance is killed: ${told(dies)}; all is taken over after ${dies.takenMs} ms`,
    `  nothing moves: ${told(nothing)}`,
  ].join('\n')
}
