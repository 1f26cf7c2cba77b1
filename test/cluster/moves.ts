// What a change of owners costs the keys that move, seen by one client per key that sends again as soon as it is answered: an instance
// comes, leaves, comes again and dies.
import { until } from '../e2e/program.ts'
import type { Ledger, Node } from './ledger.ts'

/** So many that each of two instances has some of their keys, but for once in some 10,000 times. */
const CLIENTS = 16

/** Times in milliseconds. */
export interface Moves {
  readonly nothing: Observed
  /** `holds`: for how long each partition that moved was served by nobody, the shortest first. */
  readonly comes: Observed & { readonly holds: readonly number[] }
  /** `takenMs`: until its partitions were all taken; of one that leaves, until its process had ended too. */
  readonly leaves: Observed & { readonly takenMs: number }
  readonly dies: Observed & { readonly takenMs: number }
}

export interface Observed {
  /** When, on the clock of `performance.now()`. */
  readonly from: number
  readonly till: number
  /** The longest of each key meanwhile, the shortest first. */
  readonly pauses: readonly number[]
}

/** Needs a ledger without any instance yet. Throws where a client was answered and its command is not there exactly once, in order. */
export async function observeMoves(ledger: Ledger): Promise<Moves> {
  const first = await ledger.start({ LOG_LEVEL: 'debug' })
  const accounts = Array.from({ length: CLIENTS }, (_, at) => `account-${at}`)
  const clients = new Clients(ledger, first, accounts)
  const served = (moment = performance.now()): Promise<void> => until('every key is served', () => clients.servedSince(moment), 30_000)
  const firstHasAll = (): Promise<void> => until('the first has all', async () => (await ledger.shares(first))[0] === 64)
  const since = async (from: number): Promise<Observed> => {
    await served()
    const till = performance.now()
    return { from, till, pauses: clients.pauses(from, till) }
  }
  try {
    await served()
    const steadyFrom = performance.now()
    for (let round = 0; round < 5; round += 1) await served()
    const nothing = await since(steadyFrom)

    const second = await ledger.start({ LOG_LEVEL: 'debug' })
    const comesFrom = performance.now()
    await ledger.untilShared(first, second)
    const comes = { ...(await since(comesFrom)), holds: holdsOf(first, second) }

    const stoppedAt = performance.now()
    const code = await second.program.end('SIGTERM')
    if (code !== 0) throw new Error(`an instance that was told to stop ended with ${code}`)
    await firstHasAll()
    const leftMs = Math.round(performance.now() - stoppedAt)
    const leaves = { ...(await since(stoppedAt)), takenMs: leftMs }

    const third = await ledger.start({ LOG_LEVEL: 'debug' })
    await ledger.untilShared(first, third)
    await served()
    const diedAt = performance.now()
    await third.program.end('SIGKILL')
    await firstHasAll()
    const takenMs = Math.round(performance.now() - diedAt)
    const dies = { ...(await since(diedAt)), takenMs }
    if ((dies.pauses.at(-1) ?? 0) < takenMs / 2) throw new Error('the instance that was killed had none of these keys: nothing is shown')
    await clients.stop()
    await clients.verify()
    return { nothing, comes, leaves, dies }
  } finally {
    await clients.stop()
  }
}

/** Send until they are stopped. Every answer is a moment at which its key was served. */
class Clients {
  readonly #ledger: Ledger
  readonly #node: Node
  readonly #accounts: readonly string[]
  readonly #served: { readonly at: number; readonly number: number }[][] = []
  readonly #stopping = new AbortController()
  readonly #running: Promise<void>[]

  constructor(ledger: Ledger, node: Node, accounts: readonly string[]) {
    this.#ledger = ledger
    this.#node = node
    this.#accounts = accounts
    this.#running = accounts.map((account) => this.#run(account))
  }

  async #run(account: string): Promise<void> {
    const served: { at: number; number: number }[] = []
    this.#served.push(served)
    for (let number = 1; !this.#stopping.signal.aborted; number += 1) {
      const { status } = await this.#ledger.send(this.#node, 'note', { account, number })
      if (status === 204) served.push({ at: performance.now(), number })
    }
  }

  /** Since when every key has been served again. */
  servedSince(moment: number): boolean {
    return this.#served.every((served) => (served.at(-1)?.at ?? 0) > moment)
  }

  /** The longest pause of each key that overlaps these moments, in whole milliseconds, the shortest first. */
  pauses(from: number, till: number): number[] {
    const longest = (served: readonly { readonly at: number }[]): number =>
      served.reduce((max, { at }, index) => {
        const before = served[index - 1]?.at ?? at
        return at > from && before < till ? Math.max(max, at - before) : max
      }, 0)
    return this.#served.map((served) => Math.round(longest(served))).toSorted((a, b) => a - b)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.#running)
  }

  /** What was answered is there, once, and in the order in which it was sent. */
  async verify(): Promise<void> {
    await until('nothing waits', async () => (await this.#ledger.count('_command')) === 0)
    const states = await this.#ledger.states()
    for (const [at, account] of this.#accounts.entries()) {
      const numbers = states[account]?.numbers ?? []
      const stored = new Set(numbers)
      const missing = this.#served[at]?.filter(({ number }) => !stored.has(number)) ?? []
      if (missing.length > 0) throw new Error(`${account} was answered ${missing.length} times for what is not there`)
      const disordered = numbers.find((number, place) => place > 0 && number <= (numbers[place - 1] ?? 0))
      if (disordered !== undefined) throw new Error(`command ${disordered} of ${account} took effect twice, or after one sent later`)
    }
  }
}

/**
 * From when the giver had stored its last batch until the taker could begin with one, by what both log. The clients' own ways are not in it.
 */
function holdsOf(giver: Node, taker: Node): number[] {
  const times = (node: Node, message: string): [number, number][] =>
    node.program
      .output()
      .split('\n')
      .filter((line) => line.includes(message))
      .map((line) => JSON.parse(line) as { time: number; partitions: number[] })
      .flatMap(({ time, partitions }) => partitions.map((partition): [number, number] => [partition, time]))
  const served = new Map(times(taker, '"serving partitions"'))
  // Of one that moved several times the last move counts.
  const stopped = new Map(times(giver, '"stopped serving partitions"'))
  return [...served]
    .flatMap(([partition, time]) => time - (stopped.get(partition) ?? Infinity))
    .filter((ms) => ms >= 0)
    .toSorted((a, b) => a - b)
}
