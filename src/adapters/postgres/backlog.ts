// Refuses commands before what waits becomes too much: in the log, behind one key, or on the disk. Every instance counts what its own
// partitions hold and reads what the others counted, twice a second; what it has appended itself since then it adds.
import { TwofoldError } from '../../errors.ts'
import type { Admission } from '../../ports/admission.ts'
import type { Database } from '../../ports/database.ts'
import { pause } from '../../runtime/backoff.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Service } from '../../runtime/service.ts'
import { publishBacklog, readBacklog, type PartitionBacklog } from './backlog-statistics.ts'
import type { FreeSpace } from './free-space.ts'

/** What may wait; beyond it commands are refused. */
export interface BacklogLimits {
  /** Commands that wait in the log or behind a failing one, of the whole app. */
  readonly waitingCommandsMax: number
  /** Their size in the log, in bytes. */
  readonly waitingBytesMax: number
  /** How long the oldest command of a partition may have waited, in milliseconds; then this partition takes no more. `false`: for ever. */
  readonly waitingMsMax: number | false
  /** Commands that wait behind one key's failing head. */
  readonly parkedPerKeyMax: number
}

export interface BacklogOptions {
  readonly database: Database
  readonly instanceId: string
  readonly limits: BacklogLimits
  readonly freeSpace: FreeSpace
  readonly log: Logger
}

const EVERY_MS = 500

/** Counting pauses for so many times as long as it took: it must not keep a busy database busy. */
const REST = 20
const REST_MS_MAX = 60_000

/** When a refused command may be sent again, in seconds. The disk does not get empty by itself. */
const RETRY_SECONDS = 2
const RETRY_STORAGE_SECONDS = 30

interface Appended {
  readonly at: number
  commands: number
  bytes: number
}

export class PostgresBacklog implements Admission, Service {
  readonly #options: BacklogOptions
  readonly #stopping = new AbortController()
  readonly #fullKeys = new Set<string>()
  #partitions = new Map<number, PartitionBacklog>()
  #counted = { commands: 0, bytes: 0 }
  /** What this instance appended, one entry for each look; those that the counts contain by now are forgotten. */
  #own: Appended[] = [{ at: performance.now(), commands: 0, bytes: 0 }]
  #since = { commands: 0, bytes: 0 }
  #countedAt = -Infinity
  #restMs = 0
  #loop: Promise<void> | undefined

  constructor(options: BacklogOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    await this.look()
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
  }

  admit({ service, keys }: Parameters<Admission['admit']>[0]): void {
    const { freeSpace, limits } = this.#options
    if (freeSpace.isLow) throw storageFull(freeSpace.sentence)
    if (this.#fullKeys.size === 0) return
    for (const key of keys) {
      if (!this.#fullKeys.has(keyId(service, key))) continue
      const message = `key '${key}' of '${service}' waits behind a command that keeps failing, and ${limits.parkedPerKeyMax} commands wait behind it already, which is all it takes`
      throw new TwofoldError('KEY_BACKLOG_FULL', message, { retryAfterSeconds: RETRY_SECONDS })
    }
  }

  /** Returns when one more command of that partition may wait in the log. @throws TwofoldError BACKLOG_FULL */
  admitToLog(partition: number): void {
    const { waitingCommandsMax, waitingBytesMax, waitingMsMax } = this.#options.limits
    const commands = this.#counted.commands + this.#since.commands
    const bytes = this.#counted.bytes + this.#since.bytes
    if (commands >= waitingCommandsMax) throw backlogFull(`${commands} commands wait`, `${waitingCommandsMax} may`)
    if (bytes >= waitingBytesMax) throw backlogFull(`commands of ${bytes} bytes wait`, `${waitingBytesMax} bytes may`)
    if (waitingMsMax === false) return
    const { oldestMs } = this.#partitions.get(partition) ?? {}
    if (oldestMs !== undefined && oldestMs >= waitingMsMax)
      throw backlogFull(
        `a command of partition ${partition} has waited ${Math.round(oldestMs / 1000)} s`,
        `${waitingMsMax / 1000} s is the most`,
      )
  }

  appended(commands: number, bytes: number): void {
    const latest = this.#own.at(-1)
    if (latest === undefined) return
    latest.commands += commands
    latest.bytes += bytes
    this.#since.commands += commands
    this.#since.bytes += bytes
  }

  /** Counts, where that is due, and reads what everybody counted. */
  async look(): Promise<void> {
    const { database, instanceId, limits, freeSpace } = this.#options
    await freeSpace.look()
    const started = performance.now()
    if (started >= this.#countedAt + this.#restMs) {
      await publishBacklog(database, instanceId, limits.parkedPerKeyMax)
      this.#countedAt = performance.now()
      this.#restMs = Math.min((this.#countedAt - started) * REST, REST_MS_MAX)
    }
    this.#take(await readBacklog(database))
  }

  #take(partitions: readonly PartitionBacklog[]): void {
    const now = performance.now()
    this.#partitions = new Map(partitions.map((each) => [each.partition, each]))
    this.#counted = { commands: sumOf(partitions, (each) => each.commands + each.parked), bytes: sumOf(partitions, (each) => each.bytes) }
    this.#fullKeys.clear()
    for (const { fullKeys } of partitions) for (const [service, key] of fullKeys) this.#fullKeys.add(keyId(service, key))
    // What was appended before the oldest of these counts is in all of them. One that is as old as the hills keeps ten minutes' worth.
    const oldest = now - Math.max(0, ...partitions.map(({ ageMs }) => ageMs))
    const from = this.#own.findLastIndex(({ at }) => at <= oldest)
    this.#own = [...this.#own.slice(Math.max(0, from)).slice(-1200), { at: now, commands: 0, bytes: 0 }]
    this.#since = { commands: sumOf(this.#own, ({ commands }) => commands), bytes: sumOf(this.#own, ({ bytes }) => bytes) }
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await pause(EVERY_MS, this.#stopping.signal)
      if (this.#stopping.signal.aborted) return
      // Without the database the last counts and what was appended since are what is known; nothing can be appended either.
      await this.look().catch((error: unknown) => this.#options.log.debug({ reason: String(error) }, 'cannot count what waits right now'))
    }
  }
}

function backlogFull(given: string, allowed: string): TwofoldError {
  const message = `${given} to be run, ${allowed}: nothing was taken; send fewer commands, or start more instances of the stateful side`
  return new TwofoldError('BACKLOG_FULL', message, { retryAfterSeconds: RETRY_SECONDS })
}

function storageFull(sentence: string): TwofoldError {
  return new TwofoldError('STORAGE_FULL', `${sentence}; no new commands are taken, so that those accepted can finish`, {
    retryAfterSeconds: RETRY_STORAGE_SECONDS,
  })
}

function sumOf<Each>(all: readonly Each[], part: (each: Each) => number): number {
  return all.reduce((sum, each) => sum + part(each), 0)
}

function keyId(service: string, key: string): string {
  return `${service}\0${key}`
}
