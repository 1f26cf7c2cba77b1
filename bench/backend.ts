// One process of the bank with all that commands need, on a database of its own.
import { pino } from 'pino'
import { startBackend, type Backend } from '../src/app/backend.ts'
import { resolveOptions, type StartOptions } from '../src/app/options.ts'
import type { App } from '../src/app/define-app.ts'
import { accountName, bankApp } from './bank.ts'

/** Starts one; by default it holds both sides and has taken all partitions when this returns. */
export async function bankBackend(url: string, options: StartOptions = {}, app: App = bankApp): Promise<Backend> {
  const resolved = resolveOptions({ roles: ['stateless', 'stateful'], ...options })
  const backend = await startBackend(app, url, resolved, pino({ level: 'warn' }))
  if (resolved.roles.includes('stateful')) await untilOwned(backend)
  return backend
}

async function untilOwned({ ports }: Backend): Promise<void> {
  const envelope = { id: ports.ids.next(), service: 'bank', command: 'credit', keys: [accountName(0)], input: '{}' }
  for (let tries = 0; ports.direct?.reaches(envelope) !== true; tries += 1) {
    if (tries > 500) throw new Error('the backend owns no partition after 5 s')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
