// Compare-and-set by version, from many clients, through takeovers and cut connections: one order must explain what everybody was told.
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkLinearizable, History, operationsOf, type Model } from '../../src/testing/index.ts'
import type { Engine } from '../../src/stateful/engine/engine.ts'
import { until } from '../e2e/program.ts'
import { engineDatabase, type EngineDatabase } from './fixture.ts'

// So few clients make small batches; the next one is to be planned behind them all the same.
const AHEAD = { overlapMin: 2 }

let bank: EngineDatabase

beforeEach(async () => {
  bank = await engineDatabase()
})
afterEach(() => bank.close())

const KEYS = Array.from({ length: 24 }, (_, at) => `register-${at}`)
const CLIENTS = 8
const ROUNDS = 40

/** An entity's version: a command names the one it saw, succeeds with the next one, or is told the current one. */
const versioned: Model<number> = {
  initial: 0,
  apply: (version, { input }) =>
    input === version ? { state: version + 1, output: { done: version + 1 } } : { state: version, output: { stale: version } },
}

test('compare-and-set is linearizable for every key, whoever owns it and whatever is cut', { timeout: 60_000 }, async () => {
  let owner: Engine = await bank.engine(undefined, AHEAD)
  const history = new History()
  let done = 0
  const client = async (process: number): Promise<void> => {
    const seen = new Map<string, number>()
    for (let round = 0; round < ROUNDS; round += 1) {
      const key = KEYS[(process * 7 + round * 5) % KEYS.length] ?? ''
      const version = seen.get(key) ?? 0
      const answer = await history.record({ process, f: 'cas', key, value: version }, () => compareAndSet(owner, key, version))
      if (answer !== undefined) seen.set(key, 'done' in answer ? answer.done : answer.stale)
      // As a client does: while an engine connects anew it would spend all of its rounds.
      else await delay(25)
      done += 1
    }
  }
  const faults = async (): Promise<number> => {
    let injected = 0
    for (const share of [0.2, 0.4, 0.6, 0.8]) {
      await until('the clients go on', () => done > CLIENTS * ROUNDS * share)
      if (done >= CLIENTS * ROUNDS) break
      if (injected % 2 === 0) await cutConnections()
      else owner = await bank.engine(undefined, AHEAD)
      injected += 1
    }
    return injected
  }
  const [injected] = await Promise.all([faults(), ...Array.from({ length: CLIENTS }, (_, process) => client(process))])
  const operations = operationsOf(history.entries)
  expect(injected, 'faults came while work was under way').toBeGreaterThanOrEqual(2)
  expect(operations.filter(({ outcome }) => outcome === 'ok').length).toBeGreaterThan((CLIENTS * ROUNDS) / 2)
  expect(checkLinearizable(operations, versioned), history.toLines()).toEqual([])
  const { rows } = await bank.client.query(`select e.key from twofold.entity e
    where version <> (state ->> 'balance')::int or version <> (select count(*) from twofold.event v where v.key = e.key)`)
  expect(rows, 'every version is one credit and one event').toEqual([])
})

async function compareAndSet(engine: Engine, key: string, version: number): Promise<{ done: number } | { stale: number }> {
  const condition = version === 0 ? 'absent' : { versions: [version] }
  const result = await engine.call({ ...bank.envelope('credit', { account: key, amount: 1 }), condition }, AbortSignal.timeout(10_000))
  // Deferred: it may have been stored before the connection broke.
  if (result.status !== 'finished') throw new Error(result.status)
  const { status, version: current } = result.outcome
  return status === 'succeeded' ? { done: current } : { stale: current }
}

async function cutConnections(): Promise<void> {
  await bank.client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'twofold engine'`,
  )
}
