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
  /** `#random` in hexadecimal; what stands before `#at` is used up. */
  #hex = ''
  #at = 0
  #offsetMs = 0
  #lastMs = 0
  #prefix = ''
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
    if (now > this.#lastMs) this.#begin(now)
    else if (this.#counter === 0xfff) this.#begin(this.#lastMs + 1)
    else this.#counter += 1
    if (this.#at + 16 > this.#hex.length) this.#refill()
    const at = this.#at
    this.#at = at + 16
    const counter = this.#counter.toString(16).padStart(3, '0')
    const variant = ((Number.parseInt(this.#hex.charAt(at), 16) & 0x3) | 0x8).toString(16)
    return `${this.#prefix}${counter}-${variant}${this.#hex.slice(at + 1, at + 4)}-${this.#hex.slice(at + 4, at + 16)}`
  }

  #begin(ms: number): void {
    this.#lastMs = ms
    this.#counter = 0
    const time = ms.toString(16).padStart(12, '0')
    this.#prefix = `${time.slice(0, 8)}-${time.slice(8)}-7`
  }

  #refill(): void {
    this.#hex = randomFillSync(this.#random).toString('hex')
    this.#at = 0
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
