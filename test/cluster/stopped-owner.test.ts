// Rules 18 and 24: an owner that is stopped for longer than its lease is replaced, also when it keeps row locks; back again it changes
// nothing, and says so.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../e2e/program.ts'
import type { Ledger } from './ledger.ts'
import { openLedger } from './open-ledger.ts'

const LEASE_MS = 1500

let ledger: Ledger

beforeEach(async () => {
  ledger = await openLedger(LEASE_MS)
})
afterEach(() => ledger.close())

test.each([
  ['anywhere', false],
  ['in the middle of a transaction that keeps row locks', true],
])('an owner that is stopped %s is replaced; back again it changes nothing and says so', { timeout: 60_000 }, async (_, keepsLocks) => {
  const stopped = await ledger.start({ FREEZES: 'yes' })
  const successor = await ledger.start()
  await ledger.untilShared(stopped, successor)
  const accounts = await ledger.accountsOf(stopped, 4)
  const [theirs = ''] = await ledger.accountsOf(successor, 1)
  const [home = ''] = accounts
  for (const account of [...accounts, theirs]) await ledger.send(successor, 'note', { account, number: 1 })

  const holders = `pg_stat_activity where datname = current_database() and application_name = 'twofold locks ${stopped.id}' and state <> 'idle'`
  const locks = async (): Promise<number> => (await ledger.client.query(`select 1 from ${holders}`)).rowCount ?? 0
  if (keepsLocks) {
    // Its handler stops the process, after the keys of both owners were locked.
    await ledger.accept(successor, 'freeze', { from: home, to: theirs, amount: 5 })
    await until('the process keeps locks', async () => (await locks()) === 1)
  } else stopped.program.child.kill('SIGSTOP')

  const stoppedAt = performance.now()
  for (const account of accounts) await ledger.accept(successor, 'note', { account, number: 2 })
  await until('the other has taken over', async () => (await ledger.shares(successor))[0] === 64)
  await until('what was accepted is finished', async () => (await ledger.count('waiting')) === 0)
  expect(await locks()).toBe(0)
  const [before, outcomes] = [await ledger.states(), await ledger.count('outcome')]
  expect(before[home]).toEqual({ balance: keepsLocks ? -5 : 0, numbers: [1, 2], version: keepsLocks ? 3 : 2 })
  expect(before[theirs]).toMatchObject({ balance: keepsLocks ? 5 : 0, numbers: [1] })
  await until('twice the lease has passed', () => performance.now() - stoppedAt > 2 * LEASE_MS)

  stopped.program.child.kill('SIGCONT')
  const [line] = await stopped.program.printed(/.*lost partitions: this instance has stopped writing.*/)
  const said = JSON.parse(line) as { partitions: number[]; owners: Record<string, number[]> }
  expect(said.partitions).toHaveLength(32)
  expect(said.owners).toEqual({ [successor.id]: said.partitions })
  expect([await ledger.states(), await ledger.count('outcome')]).toEqual([before, outcomes])

  // It is worth something again: it gets its share anew and serves it.
  await ledger.untilShared(stopped, successor)
  const [again = ''] = await ledger.accountsOf(stopped, 1, 'again')
  expect((await ledger.send(stopped, 'note', { account: again, number: 1 })).status).toBe(204)
})
