// Command ids on the database's clock: uuidv7 (RFC 9562 §5.7), rising strictly within a process.
import { randomFillSync } from 'node:crypto'
import type { CommandIds } from '../../ports/command-ids.ts'
import type { Database } from '../../ports/database.ts'
import type { Service } from '../../runtime/service.ts'

/** How often the offset to the database's clock is measured. */
const MEASURE_MS = 30_000

export interface CommandIdsOptions {
  readonly database: Database
  /** The process clock, in milliseconds since 1970. Default `Date.now`. */
  readonly clock?: () => number
}

export class PostgresCommandIds implements CommandIds, Service {
  readonly #database: Database
  readonly #clock: () => number
  readonly #random = Buffer.alloc(4096)
  #at = this.#random.length
  #offsetMs = 0
  #lastMs = 0
  #counter = 0
  #timer: NodeJS.Timeout | undefined

  constructor({ database, clock = Date.now }: CommandIdsOptions) {
    this.#database = database
    this.#clock = clock
  }

  async start(): Promise<void> {
    await this.#measure()
    this.#timer = setInterval(() => void this.#measure().catch(() => undefined), MEASURE_MS)
    this.#timer.unref()
  }

  stop(): Promise<void> {
    clearInterval(this.#timer)
    return Promise.resolve()
  }

  now(): number {
    return Math.round(this.#clock() + this.#offsetMs)
  }

  /** 48 bits of milliseconds, a 12-bit counter within the millisecond, 62 random bits. A clock that goes back does not make ids go back. */
  next(): string {
    const now = this.now()
    if (now > this.#lastMs) {
      this.#lastMs = now
      this.#counter = 0
    } else if (this.#counter === 0xfff) {
      this.#lastMs += 1
      this.#counter = 0
    } else this.#counter += 1
    const time = this.#lastMs.toString(16).padStart(12, '0')
    const counter = this.#counter.toString(16).padStart(3, '0')
    const random = this.#takeRandom()
    const variant = ((Number.parseInt(random.charAt(0), 16) & 0x3) | 0x8).toString(16)
    return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}-${variant}${random.slice(1, 4)}-${random.slice(4)}`
  }

  #takeRandom(): string {
    if (this.#at + 8 > this.#random.length) {
      randomFillSync(this.#random)
      this.#at = 0
    }
    this.#at += 8
    return this.#random.toString('hex', this.#at - 8, this.#at)
  }

  /** Half of the shortest of three round trips is the best guess at how old the answer is. */
  async #measure(): Promise<void> {
    let best = { tripMs: Infinity, offsetMs: this.#offsetMs }
    for (let round = 0; round < 3; round += 1) {
      const sent = this.#clock()
      const { rows } = await this.#database.query<{ ms: string }>('select extract(epoch from clock_timestamp()) * 1000 as ms')
      const tripMs = this.#clock() - sent
      if (tripMs < best.tripMs) best = { tripMs, offsetMs: Number(rows[0]?.ms) - (sent + tripMs / 2) }
    }
    this.#offsetMs = best.offsetMs
  }
}

/** The smallest uuidv7 of a millisecond: ids made from then on are not below it. */
export function lowestIdAt(ms: number): string {
  const time = Math.max(0, Math.floor(ms)).toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000`
}
