// Credits of many accounts in known numbers, directly and through the log, whose effects are all there when a call returns.
import type pg from 'pg'
import type { Backend } from '../../src/app/backend.ts'
import { accountName } from '../bank.ts'
import { countedLoad } from '../load.ts'

const CALLERS = 4000

/** Of those that go through the log a caller waits for the effect of every so many, so that what waits there stays bounded. */
const EFFECT_AWAITED_EACH = 5

export type Way = 'direct' | 'log'

/** Which of `keys` accounts the command of that number credits; neighbours are far apart. */
export function accountOf(at: number, keys: number): string {
  return accountName((at * 7919) % keys)
}

/** Sends `count` credits of one cent to `keys` accounts; they are committed when it returns. */
export async function credit(backend: Backend, client: pg.ClientBase, way: Way, count: number, keys: number, first = 0): Promise<void> {
  const { ports } = backend
  const sentBy = new Uint32Array(CALLERS)
  await countedLoad(CALLERS, count, async (at, caller) => {
    const account = accountOf(first + at, keys)
    const command = way === 'direct' ? 'credit' : 'creditLater'
    const envelope = { id: ports.ids.next(), service: 'bank', command, keys: [account], input: `{"account":"${account}","cents":1}` }
    if (way === 'direct') {
      const result = await ports.direct?.call(envelope)
      if (result?.status !== 'finished') throw new Error(`a command ended as ${result?.status}`)
      return
    }
    await ports.log.append({ envelope })
    sentBy[caller] = ((sentBy[caller] ?? 0) + 1) % EFFECT_AWAITED_EACH
    if (sentBy[caller] === 0) await ports.outcomes.find(envelope.id, 120_000)
  })
  await emptied(client)
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
