// Keys are served again when owners change: what is asserted is the promised time and some patience, for a machine that is busy with other
// things. `npm run bench -- --only moves` measures how long it takes.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Ledger } from './ledger.ts'
import { observeMoves } from './moves.ts'
import { openLedger } from './open-ledger.ts'

const LEASE_MS = 2000
const PATIENCE_MS = 10_000

let ledger: Ledger

beforeEach(async () => {
  ledger = await openLedger(LEASE_MS)
})
afterEach(() => ledger.close())

test('keys are served again in time when an instance comes, leaves or dies', { timeout: 180_000 }, async () => {
  const { comes, leaves, dies } = await observeMoves(ledger)
  expect(comes.holds).toHaveLength(32)
  expect(comes.holds.at(-1)).toBeLessThan(100 + PATIENCE_MS)
  expect(comes.pauses.at(-1)).toBeLessThan(100 + PATIENCE_MS)
  expect(leaves.pauses.at(-1)).toBeLessThan(1000 + PATIENCE_MS)
  expect(dies.pauses.at(-1)).toBeLessThan(LEASE_MS + 2000 + PATIENCE_MS)
})
