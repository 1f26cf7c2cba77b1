// What others have built for the same work. Each lives in bench/peers/NAME with packages of its own and says in its README how it is set up.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { askPeer } from './ask-peer.ts'
import { installPeer } from './install-peer.ts'
import type { Measured, Order } from './peers/order.ts'
import { withDatabase, type Scenario, type Setting } from './scenario.ts'

/** How much of it is under way. What `concurrency` means is each peer's own: workers, jobs, connections, partitions, prefetched messages. */
type Load = Pick<Order, 'callers' | 'concurrency'>

// Each is tried with each of its loads before its first round, and measured with the one it is fastest with: on another machine that may
// be another one.
export const peers: readonly Scenario[] = [
  peer('pg-boss', [load(2000, 1), load(2000, 2), load(2000, 4), load(4000, 4)]),
  peer('graphile-worker', [load(2000, 1), load(2000, 2), load(2000, 4), load(4000, 2)]),
  peer('bullmq', [load(500, 32), load(500, 64), load(1000, 128), load(1000, 256)]),
  peer('dbos', [load(32, 8), load(64, 16), load(128, 32), load(256, 32)]),
  peer('restate', [load(64, 4), load(128, 4), load(128, 24), load(256, 8)]),
  peer('nestjs-rabbitmq', [load(500, 32), load(500, 64), load(1000, 128), load(1000, 256)]),
]

function load(callers: number, concurrency: number): Load {
  return { callers, concurrency }
}

/** A load is tried for so long, or as long as it would be measured where that is less. */
const TRY_SECONDS = 2

function peer(folderName: string, tried: readonly Load[]): Scenario {
  const name = `peer-${folderName}`
  const folder = fileURLToPath(new URL(`peers/${folderName}`, import.meta.url))
  const servers: Record<string, string> = {}
  let best: Promise<Load> | undefined
  return {
    name,
    async run(setting) {
      await installPeer(name, folder)
      best ??= bestOf(name, folder, tried, { ...setting, seconds: Math.min(setting.seconds, TRY_SECONDS) })
      const chosen = await best
      const { p50MsAlone, versions, ...measured } = await measure(name, folder, setting, chosen)
      Object.assign(servers, versions)
      return [{ name, ...measured, figures: { p50MsAlone, ...chosen }, baseline: true }]
    },
    async versions() {
      const { dependencies } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
      return { ...dependencies, ...servers }
    },
  }
}

async function bestOf(name: string, folder: string, tried: readonly Load[], setting: Setting): Promise<Load> {
  let best = { perSecond: 0, load: tried[0] as Load }
  for (const one of tried) {
    const { perSecond } = await measure(name, folder, setting, one)
    process.stderr.write(`${name}: ${Math.round(perSecond)}/s with ${one.callers} callers and a concurrency of ${one.concurrency}\n`)
    if (perSecond > best.perSecond) best = { perSecond, load: one }
  }
  return best.load
}

async function measure(name: string, folder: string, { server, seconds }: Setting, { callers, concurrency }: Load): Promise<Measured> {
  const scratch = await mkdtemp(join(tmpdir(), 'twofold-peer-'))
  try {
    return await withDatabase(server, (url) => askPeer(name, folder, { url, seconds, scratch, callers, concurrency }))
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}
