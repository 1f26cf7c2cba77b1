// Rules 14 and 15: one client after the other, accepted and waiting in turns, through two gateways, while partitions move and owners come,
// go and die. The state itself remembers in which order commands took effect.
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../e2e/program.ts'
import type { Ledger, Node } from './ledger.ts'
import { openLedger } from './open-ledger.ts'

const LEASE_MS = 1500
const CLIENTS = 12

let ledger: Ledger

beforeEach(async () => {
  ledger = await openLedger(LEASE_MS)
})
afterEach(() => ledger.close())

test(
  'commands of one key take effect in the order in which they were acknowledged, whoever owns it and however they came',
  { timeout: 120_000 },
  async () => {
    const gateways = [await ledger.start(), await ledger.start()]
    const accounts = Array.from({ length: CLIENTS }, (_, at) => `account-${at}`)
    const acknowledged = { accepted: 0, finished: 0 }
    const last = new Map<string, number>()
    const stopping = new AbortController()
    const client = async (account: string, at: number): Promise<void> => {
      for (let number = 1; !stopping.signal.aborted; number += 1) {
        const gateway = gateways[((number * 7 + at) >> 1) % 2] as Node
        // Sometimes two of a kind follow each other, sometimes they take turns, at the same gateway and at the other.
        const send =
          (number * 5 + at) % 3 === 0
            ? ledger.accept(gateway, 'note', { account, number })
            : ledger.send(gateway, 'note', { account, number })
        const { status } = await send
        expect([202, 204]).toContain(status)
        acknowledged[status === 202 ? 'accepted' : 'finished'] += 1
        last.set(account, number)
      }
    }
    const goOn = async (): Promise<void> => {
      const before = acknowledged.accepted + acknowledged.finished
      await until('the clients go on', () => acknowledged.accepted + acknowledged.finished > before + CLIENTS * 5, 30_000)
    }
    const changes = async (): Promise<void> => {
      await ledger.untilShared(...gateways)
      await goOn()
      // Comes and takes its share, dies with it, comes again, and leaves.
      const killed = await ledger.start()
      await until('the third owns some', async () => ((await ledger.shares(killed))[0] ?? 0) > 10)
      await goOn()
      await killed.program.end('SIGKILL')
      await until('the others have all of it', async () => (await ledger.shares(...gateways)).reduce((sum, each) => sum + each, 0) === 64)
      await goOn()
      const leaving = await ledger.start()
      await until('the third owns some', async () => ((await ledger.shares(leaving))[0] ?? 0) > 10)
      await goOn()
      expect(await leaving.program.end('SIGTERM')).toBe(0)
      await goOn()
    }
    await Promise.all([changes().finally(() => stopping.abort()), ...accounts.map(client)])
    await until('everything has taken effect', async () => (await ledger.count('waiting')) + (await ledger.count('parked')) === 0)
    expect(Math.min(acknowledged.accepted, acknowledged.finished), 'both ways were taken').toBeGreaterThan(CLIENTS * 5)
    const states = await ledger.states()
    for (const account of accounts)
      expect(states[account]?.numbers, account).toEqual(Array.from({ length: last.get(account) ?? 0 }, (_, at) => at + 1))
  },
)
