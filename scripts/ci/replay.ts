// What a newcomer does, checked: `npm start`, wait until it is ready, replay 500 orders, Ctrl-C.
// Fails when the shop is not ready in time, when the replay finds a difference, or when the shop does not stop cleanly within 2 s.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = resolve(fileURLToPath(import.meta.url), '../../..')
const readyMsMax = 15_000
const stopMsMax = 2_000
const orderCount = 500
const realOrders = join(root, '../shared/data/olist-order-items.csv')

const folder = await mkdtemp(join(tmpdir(), 'twofold-replay-'))
// Where this runs as root, the embedded PostgreSQL runs as another user, who must be able to reach its folder.
await chmod(folder, 0o755)
const port = await freePort()
const url = `http://127.0.0.1:${port}`
const shop = spawn('npm', ['start'], {
  cwd: root,
  env: { ...process.env, PORT: String(port), HOST: '127.0.0.1', TWOFOLD_DATA_DIR: join(folder, 'data') },
  stdio: ['ignore', 'inherit', 'inherit'],
  // A process group of its own: Ctrl-C in a terminal reaches a whole group, npm and the shop alike.
  detached: true,
})
const ended = once(shop, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
process.once('SIGTERM', () => {
  signalGroup(shop, 'SIGKILL')
  process.exit(143)
})

try {
  await untilReady()
  await replay()
  await stop()
} finally {
  signalGroup(shop, 'SIGKILL')
  await rm(folder, { recursive: true, force: true })
}

async function untilReady(): Promise<void> {
  const started = performance.now()
  while (performance.now() - started < readyMsMax) {
    if (shop.exitCode !== null) throw new Error(`npm start ended with code ${shop.exitCode} before it was ready`)
    const ready = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined)
    if (ready?.status === 200) {
      say(`ready after ${Math.round(performance.now() - started)} ms at ${url}`)
      return
    }
    await delay(50)
  }
  throw new Error(`npm start was not ready within ${readyMsMax} ms: GET ${url}/readyz did not answer 200`)
}

async function replay(): Promise<void> {
  const source = existsSync(realOrders) ? ['--orders', realOrders] : []
  say(source.length > 0 ? `replaying ${orderCount} real orders` : `replaying ${orderCount} orders of the sample the program makes itself`)
  const player = spawn('npm', ['run', '--silent', 'replay', '--', ...source, '--limit', String(orderCount), '--url', url], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [code] = (await once(player, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`npm run replay ended with code ${code}`)
}

async function stop(): Promise<void> {
  const started = performance.now()
  signalGroup(shop, 'SIGINT')
  const end = await Promise.race([ended, delay(stopMsMax, undefined, { ref: false })])
  const took = Math.round(performance.now() - started)
  if (end === undefined) throw new Error(`npm start did not stop within ${stopMsMax} ms of SIGINT`)
  const [code, signal] = end
  if (code !== 0) throw new Error(`npm start ended with ${signal ?? `code ${code}`} after SIGINT; a clean stop ends with code 0`)
  say(`stopped with code 0 after ${took} ms`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: free } = server.address() as AddressInfo
  server.close()
  return free
}

/** Signals the group that `child` leads; a group that is gone is no fault. */
function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function say(sentence: string): void {
  process.stdout.write(`replay check: ${sentence}\n`)
}
