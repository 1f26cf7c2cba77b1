// A peer's process: reads its order, makes the tables, measures, verifies, answers. What differs between peers is how one credit is done.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { withCpu } from '../cpu.ts'
import { idSource } from '../ids.ts'
import { closedLoad } from '../load.ts'
import { ACCOUNTS, TABLES, accountName, foundInTables, type Found } from './tables.ts'
import type { Answer, Measured, Order } from './order.ts'

/** One command: a cent for an account. */
export interface Credit {
  readonly id: string
  readonly account: string
}

export interface Peer {
  /** Ends once the effect is committed. */
  credit(credit: Credit): Promise<void>
  /** Sends commands that were done before once more, and ends when nothing more will come of it. Default: `credit` for each. */
  repeat?(credits: readonly Credit[]): Promise<void>
  /** What is there; default: what stands in the tables. */
  found?(): Promise<Found>
  /** Ends everything that the peer started. */
  stop(): Promise<void>
  readonly versions?: Readonly<Record<string, string>>
}

export interface Described {
  /** What the peer does not guarantee, or leaves to its user, in a few words. */
  readonly lacks: string
  start(order: Order): Promise<Peer>
}

/** Before anything is measured: the code is compiled, the connections are open. */
const WARM_UP_SECONDS = 3

/** How long one caller is alone. */
const ALONE_SECONDS = 1

/** Commands that are sent a second time at the end: whoever deduplicates changes nothing. */
const REPEATED = 200

/** Runs a peer by the order that comes in on stdin. Whatever it says but its answer belongs on stderr. */
export async function runPeer(described: Described): Promise<void> {
  let code = 0
  try {
    say({ measured: await measure(await readOrder(), described) })
  } catch (error) {
    code = 1
    say({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
  // Libraries leave timers and sockets behind; what counts has been stopped by now.
  if (process.stdout.writableLength > 0) await once(process.stdout, 'drain')
  process.exit(code)
}

async function measure(order: Order, described: Described): Promise<Measured> {
  const client = new pg.Client({ connectionString: order.url })
  await client.connect()
  await client.query(TABLES)
  say({ progress: 'starting' })
  const peer = await described.start(order)
  try {
    const nextId = idSource()
    const last: Credit[] = []
    const send = (at: number): Promise<void> => {
      const credit = { id: nextId(), account: accountName((at * 7919) % ACCOUNTS) }
      last[at % REPEATED] = credit
      return peer.credit(credit)
    }
    say({ progress: 'warming up' })
    const before = await closedLoad(order.callers, WARM_UP_SECONDS, send)
    const alone = await closedLoad(1, ALONE_SECONDS, send)
    say({ progress: 'measuring' })
    const { sent, ...load } = await withCpu(
      client,
      () => closedLoad(order.callers, order.seconds, send),
      (done) => done.sent,
    )
    say({ progress: 'verifying' })
    await (peer.repeat?.(last) ?? Promise.all(last.map((credit) => peer.credit(credit))))
    compare((await peer.found?.()) ?? (await foundInTables(client)), before.sent + alone.sent + sent)
    const { perSecond, p50Ms, p99Ms, nodeCpuUs, postgresCpuUs } = load
    const figures = {
      perSecond,
      p50Ms,
      p99Ms,
      p50MsAlone: alone.p50Ms,
      nodeCpuUs,
      ...(postgresCpuUs === undefined ? {} : { postgresCpuUs }),
    }
    return { ...figures, verified: true, lacks: described.lacks, versions: peer.versions ?? {} }
  } finally {
    await peer.stop()
    await client.end()
  }
}

function compare(found: Found, done: number): void {
  const faults = Object.entries(found).filter(([, value]) => value !== done)
  if (faults.length > 0) throw new Error(faults.map(([name, value]) => `${name}: ${value} instead of ${done}`).join('; '))
}

/** The first line of stdin. Once that is closed, by whatever end of the harness, this process ends too, with all that it has started. */
function readOrder(): Promise<Order> {
  return new Promise((resolve) => {
    const lines = createInterface({ input: process.stdin })
    lines.once('line', (line) => resolve(JSON.parse(line) as Order))
    lines.once('close', endGroup)
  })
}

/** The harness starts a peer as the leader of a group; started by hand it is none. */
function endGroup(): never {
  try {
    process.kill(-process.pid, 'SIGKILL')
  } catch {
    process.stderr.write('a peer is started by npm run bench -- --peers, which says on its stdin what to do\n')
  }
  process.exit(1)
}

function say(answer: Answer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
