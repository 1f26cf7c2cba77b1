// What others have built for the same work. Each lives in bench/peers/NAME with packages of its own, which `npm ci` must not bring to
// everybody: they are installed where they are first measured. Each runs as a process of its own.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { withDatabase, type Scenario } from './scenario.ts'
import type { Answer, Measured, Order } from './peers/order.ts'

/** How much of it is in flight: the best of those tried, see the READMEs and docs/decisions/0017-how-peers-are-measured.md. */
type Load = Pick<Order, 'callers' | 'concurrency'>

export const peers: readonly Scenario[] = [
  peer('pg-boss', { callers: 2000, concurrency: 2 }),
  peer('graphile-worker', { callers: 2000, concurrency: 2 }),
  peer('bullmq', { callers: 1000, concurrency: 64 }),
  peer('dbos', { callers: 64, concurrency: 16 }),
  peer('restate', { callers: 128, concurrency: 4 }),
  peer('nestjs-rabbitmq', { callers: 1000, concurrency: 64 }),
]

function peer(folderName: string, load: Load): Scenario {
  const name = `peer-${folderName}`
  const folder = fileURLToPath(new URL(`peers/${folderName}`, import.meta.url))
  const servers: Record<string, string> = {}
  return {
    name,
    async run({ server, seconds }) {
      await install(name, folder)
      const scratch = await mkdtemp(join(tmpdir(), 'twofold-peer-'))
      try {
        const measured = await withDatabase(server, (url) => askPeer(name, folder, { url, seconds, scratch, ...load }))
        Object.assign(servers, measured.versions)
        const { p50MsAlone, versions: _versions, ...figures } = measured
        return [{ name, ...figures, figures: { p50MsAlone }, baseline: true }]
      } finally {
        await rm(scratch, { recursive: true, force: true })
      }
    },
    async versions() {
      const { dependencies } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
      return { ...dependencies, ...servers }
    },
  }
}

const INSTALL_MS = 300_000

/** Brings the peer's packages, as its lock file names them. Their install scripts are not run: none of them needs one. */
async function install(name: string, folder: string): Promise<void> {
  const [locked, installed] = await Promise.all(
    ['package-lock.json', 'node_modules/.package-lock.json'].map((file) => changedAt(join(folder, file))),
  )
  if (installed !== undefined && locked !== undefined && installed >= locked) return
  process.stderr.write(`${name}: installing its packages\n`)
  const npm = spawn('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--no-progress'], { cwd: folder, timeout: INSTALL_MS })
  let said = ''
  for (const stream of [npm.stdout, npm.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()))
  const [code] = (await once(npm, 'close')) as [number | null]
  if (code === 0) return
  const reason = said.trim().split('\n').slice(-5).join(' ')
  throw new Error(
    `its packages cannot be installed: run 'npm ci' in bench/peers/${name.replace('peer-', '')} where npm's registry can be reached (${reason})`,
  )
}

async function changedAt(file: string): Promise<number | undefined> {
  return (await stat(file).catch(() => undefined))?.mtimeMs
}

/** Beside the load: starting servers, warming up, verifying. */
const AROUND_MS = 120_000

/** Of what it says on stderr, the last lines. */
const COMPLAINTS_MAX = 20

/** Runs the peer whose `main.ts` is in `folder`, and hands on what it has measured. */
export async function askPeer(name: string, folder: string, order: Order): Promise<Measured> {
  // In a process group of its own: what it has started beside it goes with it.
  const child = spawn(process.execPath, [join(folder, 'main.ts')], { cwd: folder, detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
  const complaints: string[] = []
  const closed = new Promise<void>((resolve) => child.on('close', () => resolve()))
  child.on('error', (error) => complaints.push(error.message))
  // A group of its own gets no Ctrl-C from the terminal.
  const onInterrupt = (): never => {
    endGroup(child.pid)
    process.exit(130)
  }
  process.once('SIGINT', onInterrupt)
  const timer = setTimeout(() => endGroup(child.pid), order.seconds * 3000 + AROUND_MS)
  createInterface({ input: child.stderr }).on('line', (line) => {
    complaints.push(line)
    if (complaints.length > COMPLAINTS_MAX) complaints.shift()
  })
  let answer: Measured | undefined
  let progress = 'starting'
  try {
    child.stdin.on('error', () => undefined)
    child.stdin.end(`${JSON.stringify(order)}\n`)
    for await (const line of createInterface({ input: child.stdout })) {
      const said = answerOf(line)
      if (said === undefined) complaints.push(line)
      else if ('measured' in said) answer = said.measured
      else if ('progress' in said) process.stderr.write(`${name}: ${(progress = said.progress)}\n`)
      else complaints.push(said.failed)
    }
    await closed
  } finally {
    clearTimeout(timer)
    process.off('SIGINT', onInterrupt)
    endGroup(child.pid)
  }
  if (answer !== undefined) return answer
  throw new Error(`ended while ${progress}, without an answer: ${complaints.join('\n').trim() || 'it took too long, or was killed'}`)
}

/** Libraries write to stdout too: what is no answer is a complaint. */
function answerOf(line: string): Answer | undefined {
  try {
    const said: unknown = JSON.parse(line)
    return typeof said === 'object' && said !== null && ('measured' in said || 'progress' in said || 'failed' in said)
      ? (said as Answer)
      : undefined
  } catch {
    return undefined
  }
}

function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left in the group.
  }
}
