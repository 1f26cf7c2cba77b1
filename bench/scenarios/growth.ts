// Does it get slower when there is more of everything? Ten times the keys, the history, the backlog, each beside the small one in one run.
import type pg from 'pg'
import type { Backend } from '../../src/app/backend.ts'
import { bankBackend } from '../backend.ts'
import { verifyBank } from '../bank.ts'
import { withCpu, type Cpu } from '../cpu.ts'
import { countedLoad, type Load } from '../load.ts'
import { resultOf, withDatabase, type Result, type Scenario } from '../scenario.ts'
import { accountOf, appended, credit, emptied } from '../soak/credits.ts'

const KEYS = 10_000
const HISTORY = 100_000
const BACKLOG = 100_000

/** A gateway keeps nothing of what waits in the log: it may grow by so much while a million commands join, the client's own included. */
const RSS_GROWTH_MIB_MAX = 256

/** Accepting the last commands of a backlog has at least this share of the speed of the first. Generous: the machine may be busy meanwhile. */
const ACCEPT_SHARE_MIN = 0.3

const WARM_UP = 20_000
const MEASURED = 100_000

/**
 * Each key is written five times before anything is measured, be there few or many: a page of rows that were inserted together has no room for an
 * update of each, and it takes some rounds until it has (docs/decisions/0014-engine-speed.md).
 */
const ROUNDS = 5

export const growthKeys: Scenario = {
  name: 'growth-keys',
  run: ({ server }) => smallAndLarge((times) => direct(server, `growth-keys-${times}x`, KEYS * times, ROUNDS * KEYS * times)),
}

/** So many commands of the same keys came before. */
export const growthHistory: Scenario = {
  name: 'growth-history',
  run: ({ server }) => smallAndLarge((times) => direct(server, `growth-history-${times}x`, KEYS, HISTORY * times)),
}

/** So many commands wait in the log before an owner starts to run them. */
export const growthBacklog: Scenario = {
  name: 'growth-backlog',
  run: ({ server }) =>
    smallAndLarge((times) => withDatabase(server, (url, client) => backlog(`growth-backlog-${times}x`, url, client, BACKLOG * times))),
}

/** Both, with what share of the small one's speed and how much more processor time per command the large one has. */
async function smallAndLarge(measure: (times: 1 | 10) => Promise<Result>): Promise<readonly Result[]> {
  const [small, large] = [await measure(1), await measure(10)]
  const cpuUs = ({ nodeCpuUs = 0, postgresCpuUs = 0 }: Result): number => nodeCpuUs + postgresCpuUs
  const figures = {
    ...large.figures,
    speedOfSmall: (large.perSecond ?? 0) / (small.perSecond ?? 1),
    cpuOfSmall: cpuUs(large) / Math.max(cpuUs(small), Number.EPSILON),
  }
  return [small, { ...large, figures }]
}

function direct(server: string, name: string, keys: number, before: number): Promise<Result> {
  return withDatabase(server, async (url, client) => {
    const backend = await bankBackend(url)
    try {
      for (const count of [before, WARM_UP]) await credit(backend, client, 'direct', count, keys)
      const load = await withCpu(
        client,
        () => credit(backend, client, 'direct', MEASURED, keys),
        () => MEASURED,
      )
      const done = before + WARM_UP + MEASURED
      await verifyBank(client, { done, cents: done })
      return resultOf(name, load)
    } finally {
      await backend.stop()
    }
  })
}

async function backlog(name: string, url: string, client: pg.Client, commands: number): Promise<Result> {
  const gateway = await bankBackend(url, { roles: ['stateless'] })
  try {
    const first = await accepted(gateway, client, WARM_UP, 0)
    const rss = rssMiB()
    for (let waiting = WARM_UP; waiting < commands - WARM_UP; waiting += WARM_UP) await countedAppends(gateway, WARM_UP, waiting)
    const last = await accepted(gateway, client, WARM_UP, commands - WARM_UP)
    const rssGrowthMiB = rssMiB() - rss
    mustNotRot(commands, rssGrowthMiB, last.perSecond / first.perSecond)
    const statusMs = await statusOfWaiting(gateway)
    const owner = await bankBackend(url, { roles: ['stateful'] })
    try {
      const started = performance.now()
      const drained = await withCpu(
        client,
        async () => {
          await emptied(client)
          return { seconds: (performance.now() - started) / 1000 }
        },
        () => commands,
      )
      // One more than were sent in rounds: the command whose status was asked for.
      await verifyBank(client, { done: commands + 1, cents: commands + 1 })
      const { nodeCpuUs, postgresCpuUs, seconds } = drained
      const figures = {
        acceptPerSecondFirst: first.perSecond,
        acceptPerSecondLast: last.perSecond,
        acceptCpuUsFirst: cpuOf(first),
        acceptCpuUsLast: cpuOf(last),
        rssGrowthMiB,
        statusMs,
      }
      const cpu = { nodeCpuUs, ...(postgresCpuUs === undefined ? {} : { postgresCpuUs }) }
      return { name, perSecond: commands / seconds, ...cpu, figures, verified: true }
    } finally {
      await owner.stop()
    }
  } finally {
    await gateway.stop()
  }
}

/** @throws where a backlog makes the gateway larger, or slow to accept */
function mustNotRot(commands: number, rssGrowthMiB: number, acceptShare: number): void {
  if (rssGrowthMiB > RSS_GROWTH_MIB_MAX)
    throw new Error(
      `the gateway grew by ${rssGrowthMiB.toFixed(0)} MiB while ${commands} commands joined the log; ${RSS_GROWTH_MIB_MAX} may be`,
    )
  if (acceptShare < ACCEPT_SHARE_MIN)
    throw new Error(
      `behind ${commands} commands others are accepted at ${acceptShare.toFixed(2)} of the first speed; ${ACCEPT_SHARE_MIN} is the least`,
    )
}

function accepted(gateway: Backend, client: pg.Client, count: number, first: number): Promise<Load & Cpu> {
  return withCpu(
    client,
    () => countedAppends(gateway, count, first),
    () => count,
  )
}

function countedAppends(gateway: Backend, count: number, first: number): Promise<Load> {
  return countedLoad(2000, count, (at) => appended(gateway, accountOf(first + at, KEYS)))
}

function cpuOf({ nodeCpuUs, postgresCpuUs = 0 }: Cpu): number {
  return nodeCpuUs + postgresCpuUs
}

function rssMiB(): number {
  return process.memoryUsage().rss / 2 ** 20
}

/** How long it takes to be told that a command waits. */
async function statusOfWaiting(gateway: Backend): Promise<number> {
  const id = await appended(gateway, accountOf(0, KEYS))
  const started = performance.now()
  for (let asked = 0; asked < 20; asked += 1) {
    const pending = await gateway.ports.outcomes.pending(id)
    if (pending?.status !== 'queued') throw new Error(`a waiting command is ${pending?.status ?? 'unknown'}`)
  }
  return (performance.now() - started) / 20
}
