// The ceiling: the very statement that the engine commits by, on the very tables, with nothing around it. No mailbox, no handler, no reply,
// no state in memory: batches of credits are made up, sent and forgotten.
import pg from 'pg'
import { commitStatement } from '../../src/adapters/postgres/commit-statement.ts'
import { SESSION_SETTINGS } from '../../src/adapters/postgres/effect-store.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { encodeEvent } from '../../src/ports/event-log.ts'
import type { EffectBatch } from '../../src/ports/effect-store.ts'
import { accountName, verifyBank } from '../bank.ts'
import { withCpu, type Cpu } from '../cpu.ts'
import { idSource } from '../ids.ts'
import { closedLoad, type Load } from '../load.ts'
import { resultOf, withDatabase, type Scenario } from '../scenario.ts'

const ACCOUNTS = 10_000

/** As many as the engine puts into a batch at most. */
const BATCH_SIZE = 2000
const WARM_UP_SECONDS = 1

/** One or two are faster, by what else the machine has to do: both are tried, and the better one is the ceiling. */
const CONNECTIONS_TRIED = [1, 2]

export const batchSqlCeiling: Scenario = {
  name: 'batch-sql-ceiling',
  run: async ({ server, seconds }) => {
    const tried: (Load & Cpu)[] = []
    for (const connections of CONNECTIONS_TRIED)
      tried.push(await withDatabase(server, (url, client) => measure(url, client, connections, seconds)))
    const best = tried.reduce((one, other) => (other.perSecond > one.perSecond ? other : one))
    // How long a batch takes is not what a command takes.
    const { p50Ms: _batch, p99Ms: _batches, ...result } = resultOf('batch-sql-ceiling', best)
    const figures = Object.fromEntries(tried.map(({ perSecond }, at) => [`perSecondOn${CONNECTIONS_TRIED[at]}`, perSecond]))
    return [{ ...result, figures, lacks: 'handlers, replies, order, recovery', baseline: true }]
  },
}

async function measure(url: string, client: pg.Client, connections: number, seconds: number): Promise<Load & Cpu> {
  // A partition for each connection, with accounts of its own: waiting for each other's rows is not what is measured.
  await migrate(url, { appName: 'ceiling', partitionCount: connections })
  const options = SESSION_SETTINGS.map((setting) => `-c ${setting}`).join(' ')
  const clients = Array.from({ length: connections }, () => new pg.Client({ connectionString: url, options }))
  await Promise.all(clients.map((each) => each.connect()))
  try {
    const batches = clients.map((_, partition) => batchesOf(partition, ACCOUNTS / connections))
    const send = async (_: number, caller: number): Promise<void> => {
      await clients[caller]?.query(commitStatement((batches[caller] as () => EffectBatch)()) as pg.QueryConfig)
    }
    const before = await closedLoad(connections, WARM_UP_SECONDS, send)
    const after = await withCpu(
      client,
      () => closedLoad(connections, seconds, send),
      ({ sent }) => sent * BATCH_SIZE,
    )
    const done = (before.sent + after.sent) * BATCH_SIZE
    await verifyBank(client, { done, cents: done })
    return { ...after, perSecond: after.perSecond * BATCH_SIZE }
  } finally {
    await Promise.all(clients.map((each) => each.end()))
  }
}

/** Makes one batch after the other for the accounts of a partition: each account at most once in a batch, sorted as the engine sorts. */
function batchesOf(partition: number, accounts: number): () => EffectBatch {
  const names = Array.from({ length: accounts }, (_, at) => accountName(partition * accounts + at)).toSorted()
  const versions = new Uint32Array(accounts)
  const chosen = new Uint32Array(BATCH_SIZE)
  const none: never[] = []
  const nextId = idSource()
  let events = 0
  return () => {
    const time = Date.now()
    const finishedAt = new Date(time)
    for (let at = 0; at < BATCH_SIZE; at += 1) chosen[at] = ((events + at) * 7919) % accounts
    events += BATCH_SIZE
    const writes: EffectBatch['writes'][number][] = []
    const outcomes: EffectBatch['outcomes'][number][] = []
    const lines: string[] = []
    for (const account of chosen.toSorted()) {
      const key = names[account] ?? ''
      const from = versions[account] ?? 0
      const version = (versions[account] = from + 1)
      const state = `{"cents":${version}}`
      const id = nextId()
      writes.push({ service: 'bank', key, from, version, shape: 1, state })
      outcomes.push({
        id,
        service: 'bank',
        command: 'credit',
        status: 'succeeded',
        code: undefined,
        body: state,
        version,
        partition,
        eventSeq: events,
        finishedAt,
      })
      lines.push(encodeEvent(0, id, 0, version, key, `{"account":"${key}","cents":1}`))
    }
    const event = { partition, last: events, time, kinds: [{ service: 'bank', name: 'moved', shape: 1 }], lines }
    const other = { reads: none, claims: none, consumed: none, unparked: none, retried: none, parked: none, deadLetters: none }
    return { fences: [{ partition, epoch: '0' }], writes, outcomes, events: [event], ...other }
  }
}
