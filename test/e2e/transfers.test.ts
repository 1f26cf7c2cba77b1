import { afterAll, expect, test } from 'vitest'
import pg from 'pg'
import { createClient, type Client } from 'twofold'
import { wallets } from '../../examples/shop/wallets/contract.ts'
import { testDatabase } from '../support/database.ts'
import { addressOf, startProgram, until, type Program } from './program.ts'

const WALLETS = 100
const CLIENTS = 64
const TRANSFERS = 10_000
const START_CENTS = 1000

const programs: Program[] = []
const database = await testDatabase()

afterAll(async () => {
  await Promise.all(programs.map((program) => program.end('SIGKILL')))
  await database.drop()
})

test('10,000 transfers among 100 wallets from 64 clients on 2 instances make and lose no money', { timeout: 300_000 }, async () => {
  // Both instances take requests and own half of the partitions, so about half of all transfers have two owners.
  const environment = { DATABASE_URL: database.url, PORT: '0', LOG_LEVEL: 'error' }
  for (let instance = 0; instance < 2; instance += 1) {
    const program = startProgram('examples/shop/main.ts', environment)
    programs.push(program)
    await addressOf(program)
  }
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await until('both instances own partitions', async () => {
    const { rows } = await client.query('select owner from twofold.partition where owner is not null group by owner')
    return rows.length === 2
  })
  const callers = await Promise.all(programs.map(async (program) => createClient(wallets, { url: await addressOf(program) })))
  const callerOf = (at: number): Client<typeof wallets> => {
    const caller = callers[at % callers.length]
    if (caller === undefined) throw new Error('no instance was started')
    return caller
  }
  const walletId = (at: number): string => `wallet-${at % WALLETS}`
  await Promise.all(
    Array.from({ length: WALLETS }, (_, at) =>
      callerOf(at).deposit({ walletId: walletId(at), amountCents: START_CENTS }, { timeoutMs: 120_000 }),
    ),
  )

  let sent = 0
  const ended = { succeeded: 0, rejected: 0 }
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, caller) => {
      while (sent < TRANSFERS) {
        const at = (sent += 1)
        // A fixed pseudo-random walk, so that a failing run can be repeated.
        const [from, to] = [walletId(at * 7919 + caller), walletId(at * 104_729 + caller * 31 + 1)]
        const outcome = await callerOf(caller).transfer({ from, to, amountCents: 1 + (at % 400) }, { timeoutMs: 120_000 })
        ended[outcome.status] += 1
      }
    }),
  )

  expect(ended.succeeded + ended.rejected).toBe(TRANSFERS)
  expect(ended.succeeded, 'most transfers move money').toBeGreaterThan(TRANSFERS / 2)
  const { rows } = await client.query(`select count(*)::int as wallets, sum((state ->> 'balanceCents')::int)::int as total,
    min((state ->> 'balanceCents')::int)::int as lowest from twofold.entity where service = 'wallets'`)
  expect(rows[0]).toMatchObject({ wallets: WALLETS, total: WALLETS * START_CENTS })
  expect(rows[0].lowest).toBeGreaterThanOrEqual(0)
  // Every balance is the sum of the events about it: no effect without its event, no event without its effect.
  const folded =
    await client.query(`select sum((data ->> 'amountCents')::int) filter (where data ->> 'from' is null)::int as deposited, count(*)::int as events
    from twofold.event where service = 'wallets'`)
  expect(folded.rows[0]).toEqual({ deposited: WALLETS * START_CENTS, events: WALLETS + ended.succeeded })
  await client.end()
})
