// Credits of many accounts in known numbers, directly and through the log, whose effects are all there when a call returns.
import type pg from 'pg'
import type { Backend } from '../../src/app/backend.ts'
import type { Envelope } from '../../src/contract/envelope.ts'
import { accountName } from '../bank.ts'
import { countedLoad, type Load } from '../load.ts'

const CALLERS = 4000

/** Of those that go through the log a caller waits for the effect of every so many, so that what waits there stays bounded. */
const EFFECT_AWAITED_EACH = 5

export type Way = 'direct' | 'log'

/** Which of `keys` accounts the command of that number credits; neighbours are far apart. */
export function accountOf(at: number, keys: number): string {
  return accountName((at * 7919) % keys)
}

/** Sends `count` credits of one cent to `keys` accounts; they are committed when it returns. */
export async function credit(backend: Backend, client: pg.ClientBase, way: Way, count: number, keys: number, first = 0): Promise<Load> {
  const { ports } = backend
  const sentBy = new Uint32Array(CALLERS)
  const load = await countedLoad(CALLERS, count, async (at, caller) => {
    const account = accountOf(first + at, keys)
    if (way === 'direct') {
      const result = await ports.direct?.call(creditOf(backend, 'credit', account))
      if (result?.status !== 'finished') throw new Error(`a command ended as ${result?.status}`)
      return
    }
    const id = await appended(backend, account)
    sentBy[caller] = ((sentBy[caller] ?? 0) + 1) % EFFECT_AWAITED_EACH
    if (sentBy[caller] === 0) await ports.outcomes.find(id, 120_000)
  })
  await emptied(client)
  return load
}

/** Appends one and tells its id; durable when it returns. */
export async function appended(backend: Backend, account: string): Promise<string> {
  const envelope = creditOf(backend, 'creditLater', account)
  await backend.ports.log.append({ envelope })
  return envelope.id
}

function creditOf({ ports }: Backend, command: 'credit' | 'creditLater', account: string): Envelope {
  return { id: ports.ids.next(), service: 'bank', command, keys: [account], input: `{"account":"${account}","cents":1}` }
}

/** Once no command waits in the log. */
export async function emptied(client: pg.ClientBase): Promise<void> {
  const endsAt = performance.now() + 600_000
  while (performance.now() < endsAt) {
    if ((await client.query('select 1 from twofold._command limit 1')).rowCount === 0) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error('commands still wait in the log after ten minutes')
}
