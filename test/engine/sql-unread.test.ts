// Rule 14 for SQL handlers where the log was not read before them, since it had been empty for a while: their commit looks into it.
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { DirectResult } from '../../src/ports/direct-carrier.ts'
import type { Engine } from '../../src/stateful/engine/engine.ts'
import { until } from '../e2e/program.ts'
import { butSql, sqlScene, type SqlScene } from './sql-fixture.ts'

let scene: SqlScene
/** Of each commit, whether it looked into the log. */
let looked: boolean[]

beforeEach(async () => {
  scene = await sqlScene()
  looked = []
})
afterEach(() => scene.close())

const finished = { status: 'finished', outcome: { status: 'succeeded' } }

function engineThatTells(): Promise<Engine> {
  const session: Parameters<SqlScene['engine']>[1] = {
    session: (real) =>
      butSql(real, {
        commit(batch) {
          looked.push(batch.unreadAbove !== undefined)
          return real.commit(batch)
        },
        commitWithout(batch) {
          looked.push(batch.unreadAbove !== undefined)
          return real.commitWithout(batch)
        },
      }),
  }
  return scene.engine(undefined, session)
}

/** Calls until a commit has looked for itself. A slow machine may pass by the moment; then it comes again. */
async function quieten(engine: Engine, account: string): Promise<void> {
  for (let calls = 0; calls < 200 && looked.at(-1) !== true; calls += 1) await scene.call(engine, 'put', { account })
  expect(looked.at(-1), 'a commit looks for itself').toBe(true)
}

interface Round {
  /** What each run of the first command found in the account. */
  readonly runs: readonly number[]
  readonly results: readonly DirectResult[]
  readonly account: string
}

/** Two direct commands of one key, the first of which runs while something for its key is acknowledged in the log. */
async function round(engine: Engine, account: string, ends: 'succeeds' | 'throws'): Promise<Round> {
  const runs: number[] = []
  scene.acts.set(account, async (tx) => {
    await tx.query(`insert into account values ($1, 1) on conflict (name) do update set cents = account.cents + 1`, [`${account} was here`])
    const { rows } = await tx.query<{ cents: number }>('select cents from account where name = $1', [account])
    const cents = rows[0]?.cents ?? 0
    if (runs.push(cents) === 1) await scene.append([scene.envelope('put', { account, amount: 5 })])
    if (ends === 'throws' && cents === 0) throw new Error('there is nothing in it')
  })
  const results = await Promise.all([scene.call(engine, 'act', { account }), scene.call(engine, 'take', { account, amount: 5 })])
  return { runs, results, account }
}

test.each(['succeeds', 'throws'] as const)(
  'an SQL command whose commit finds something in the log has no effect and runs again behind it, one that %s too',
  async (ends) => {
    const engine = await engineThatTells()
    const [other = '', ...accounts] = scene.neighbours(21)
    let found: Round | undefined
    // One that meets a log that is read before it runs once, and nothing is in its way.
    for (const account of accounts) {
      await quieten(engine, other)
      looked.length = 0
      const each = await round(engine, account, ends)
      if (each.runs.length > 1 && each.results.every(({ status }) => status === 'finished')) found = each
      if (found !== undefined) break
    }
    expect(found?.runs, 'in vain before the log, and then behind it').toEqual([0, 5])
    expect(found?.results, 'the one behind it came behind the log as well').toMatchObject([finished, finished])
    const balances = await scene.balances()
    expect([balances[found?.account ?? ''], balances[`${found?.account} was here`]]).toEqual([0, 1])
    const numbers = await scene.eventNumbers()
    expect(numbers).toEqual(numbers.map(({ length }) => Array.from({ length }, (_, at) => at + 1)))
  },
)

test.each([
  ['succeeds', 'finished', 1],
  // Its attempt is stored, and the next one is its second run.
  ['throws', 'held', 2],
] as const)(
  'a copy of an SQL command that its caller appends while it runs is nothing that it overtakes, where it %s too',
  async (ends, status, runsOfAll) => {
    const engine = await engineThatTells()
    const [other = '', ...accounts] = scene.neighbours(21)
    let hasLooked = false
    for (const account of accounts) {
      await quieten(engine, other)
      looked.length = 0
      let runs = 0
      const envelope = scene.envelope('act', { account })
      scene.acts.set(account, async () => {
        runs += 1
        if (runs === 1) await scene.append([envelope])
        if (runs === 1 && ends === 'throws') throw new Error('not at once')
      })
      const result = await engine.call(envelope)
      hasLooked = looked[0] === true
      await until('both copies are gone', async () => (await scene.count('_command')) + (await scene.count('_parked')) === 0)
      expect([result.status, runs]).toEqual([status, runsOfAll])
      if (hasLooked) break
    }
    expect(hasLooked, 'the log was not read before').toBe(true)
  },
)
