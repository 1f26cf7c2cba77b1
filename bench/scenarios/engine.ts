// The engine without HTTP: commands handed to the owner directly, appended to the log, and all for one key.
import type pg from 'pg'
import type { CarrierName } from 'twofold'
import type { App } from '../../src/app/define-app.ts'
import type { Backend } from '../../src/app/backend.ts'
import type { Envelope } from '../../src/contract/envelope.ts'
import { bankBackend } from '../backend.ts'
import { accountName, bankApp, verifyBank } from '../bank.ts'
import { withQueuesRemoved } from '../brokers.ts'
import { withCpu, type Cpu } from '../cpu.ts'
import { closedLoad, countedLoad, type Load } from '../load.ts'
import { finished, resultOf, withDatabase, type Result, type Scenario, type Setting } from '../scenario.ts'

const CALLERS = 4000
const ACCOUNTS = 10_000

/** Before anything is measured: the code is compiled, the connections are open, the states are loaded. */
const WARM_UP_SECONDS = 2

export const engineDirect: Scenario = {
  name: 'engine-direct',
  run: (setting) => measured('engine-direct', setting, (backend) => directly(backend, (at) => accountName((at * 7919) % ACCOUNTS))),
}

export const hotKey: Scenario = {
  name: 'hot-key',
  run: (setting) => measured('hot-key', setting, (backend) => directly(backend, () => accountName(0))),
}

/** A caller waits for the effect of every so many of its commands, so that what waits in the log stays bounded. */
const EFFECT_AWAITED_EACH = 5

export const engineLog: Scenario = {
  name: 'engine-log',
  run: (setting) => accepted('engine-log', setting),
}

/** What `engine-log` does, through RabbitMQ: published, confirmed, consumed, committed, acknowledged. */
export const engineRabbitMq: Scenario = {
  name: 'engine-rabbitmq',
  run: (setting) => accepted('engine-rabbitmq', setting, 'rabbitmq'),
}

async function accepted(name: string, setting: Setting, carrier: CarrierName = 'postgres'): Promise<readonly Result[]> {
  const accept = async (backend: Backend, client: pg.Client): Promise<Load & Cpu> => {
    const sentBy = new Uint32Array(CALLERS)
    const append: Send = async (at, caller) => {
      const credit = creditOf('creditLater', accountName((at * 7919) % ACCOUNTS), 1)
      const envelope = { id: backend.ports.ids.next(), service: 'bank', ...credit }
      await backend.ports.log.append({ envelope })
      sentBy[caller] = ((sentBy[caller] ?? 0) + 1) % EFFECT_AWAITED_EACH
      if (sentBy[caller] === 0) await backend.ports.outcomes.find(envelope.id, 60_000)
    }
    const before = await closedLoad(CALLERS, WARM_UP_SECONDS, append)
    await finished(client, before.sent)
    const untilDone = async (): Promise<Load> => {
      const started = performance.now()
      const appends = await closedLoad(CALLERS, setting.seconds, append)
      // Durable is not enough: what counts is committed effects, the last one included.
      await finished(client, before.sent + appends.sent)
      return { ...appends, perSecond: appends.sent / ((performance.now() - started) / 1000) }
    }
    const after = await withCpu(client, untilDone, ({ sent }) => sent)
    await verifyBank(client, { done: before.sent + after.sent, cents: before.sent + after.sent })
    return after
  }
  const load = await withBackend(setting, accept, { carrier })
  // How long an append takes is not what a caller waits for.
  const { p50Ms: _append, p99Ms: _appends, ...result } = resultOf(name, load)
  return [result]
}

/** Enough on every account that no transfer of a run is refused. */
const CENTS_AT_FIRST = 1_000_000

export const multiKey: Scenario = {
  name: 'multi-key',
  async run(setting) {
    const load = await withBackend(setting, async (backend, client) => {
      const filled = await countedLoad(CALLERS, ACCOUNTS, directly(backend, accountName, CENTS_AT_FIRST))
      const transfer = called(backend, (at) => {
        const from = (at * 7919) % ACCOUNTS
        const to = (from + 1 + (at % (ACCOUNTS - 1))) % ACCOUNTS
        const keys = [accountName(from), accountName(to)]
        return { command: 'transfer', keys, input: `{"from":"${keys[0]}","to":"${keys[1]}","cents":1}` }
      })
      const transfers = await withCpu(
        client,
        () => closedLoad(CALLERS, setting.seconds, transfer),
        ({ sent }) => sent,
      )
      await verifyBank(client, { done: filled.sent + transfers.sent, cents: filled.sent * CENTS_AT_FIRST })
      return transfers
    })
    return [resultOf('multi-key', load)]
  },
}

type Send = (at: number, caller: number) => Promise<void>

function directly(backend: Backend, account: (at: number) => string, cents = 1): Send {
  return called(backend, (at) => creditOf('credit', account(at), cents))
}

function called({ ports }: Backend, command: (at: number) => Pick<Envelope, 'command' | 'keys' | 'input'>): Send {
  return async (at) => {
    const { command: name, keys, input } = command(at)
    const result = await ports.direct?.call({ id: ports.ids.next(), service: 'bank', command: name, keys, input })
    if (result?.status !== 'finished' || result.outcome.status !== 'succeeded') throw new Error(`a command ended as ${result?.status}`)
  }
}

function creditOf(command: 'credit' | 'creditLater', account: string, cents: number): Pick<Envelope, 'command' | 'keys' | 'input'> {
  return { command, keys: [account], input: `{"account":"${account}","cents":${cents}}` }
}

async function measured(name: string, setting: Setting, prepare: (backend: Backend) => Send): Promise<readonly Result[]> {
  const load = await withBackend(setting, async (backend, client) => {
    const send = prepare(backend)
    const before = await closedLoad(CALLERS, WARM_UP_SECONDS, send)
    const after = await withCpu(
      client,
      () => closedLoad(CALLERS, setting.seconds, send),
      ({ sent }) => sent,
    )
    await verifyBank(client, { done: before.sent + after.sent, cents: before.sent + after.sent })
    return after
  })
  return [resultOf(name, load)]
}

/** A backend with every role on a fresh database, owning all partitions. */
export async function withBackend<Value>(
  setting: Setting,
  use: (backend: Backend, client: pg.Client) => Promise<Value>,
  { app = bankApp, carrier = 'postgres' }: { readonly app?: App; readonly carrier?: CarrierName } = {},
): Promise<Value> {
  return withDatabase(setting.server, async (url, client) => {
    const used = async (): Promise<Value> => {
      const backend = await bankBackend(url, { carrier }, app)
      try {
        return await use(backend, client)
      } finally {
        await backend.stop()
      }
    }
    return carrier === 'rabbitmq' ? withQueuesRemoved(url, used) : used()
  })
}
