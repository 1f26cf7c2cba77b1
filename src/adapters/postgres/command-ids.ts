// Command ids on the database's clock: uuidv7 (RFC 9562 §5.7), rising strictly within a process.
import { randomFillSync } from 'node:crypto'
import type { CommandIds } from '../../ports/command-ids.ts'
import type { Database } from '../../ports/database.ts'
import type { Service } from '../../runtime/service.ts'

/** How often the offset to the database's clock is measured. */
const MEASURE_MS = 30_000

const HEX_DIGITS = Buffer.from('0123456789abcdef', 'latin1')

export interface CommandIdsOptions {
  readonly database: Database
  /** The process clock, in milliseconds since 1970. Default `Date.now`. */
  readonly clock?: () => number
}

export class PostgresCommandIds implements CommandIds, Service {
  readonly #database: Database
  readonly #clock: () => number
  /** Random bytes; what stands before `#used` is used up. */
  readonly #random = Buffer.alloc(4096)
  #used = 4096
  /** The id as text, whose parts are overwritten: one text made of it costs less than putting one together. */
  readonly #text = Buffer.from('00000000-0000-7000-8000-000000000000', 'latin1')
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
    if (now > this.#lastMs) this.#begin(now)
    else if (this.#counter === 0xfff) this.#begin(this.#lastMs + 1)
    else this.#counter += 1
    this.#writeDigits(15, this.#counter, 3)
    if (this.#used + 8 > this.#random.length) this.#refill()
    const at = this.#used
    this.#used = at + 8
    const variant = (this.#random.readUInt16BE(at) & 0x3fff) | 0x8000
    this.#writeDigits(19, variant, 4)
    this.#writeDigits(24, this.#random.readUIntBE(at + 2, 3), 6)
    this.#writeDigits(30, this.#random.readUIntBE(at + 5, 3), 6)
    return this.#text.toString('latin1')
  }

  #begin(ms: number): void {
    this.#lastMs = ms
    this.#counter = 0
    this.#writeDigits(0, Math.floor(ms / 0x10000), 8)
    this.#writeDigits(9, ms % 0x10000, 4)
  }

  /** `value`, below 2^32, as `digits` hexadecimal digits. */
  #writeDigits(from: number, value: number, digits: number): void {
    for (let at = from + digits - 1, rest = value; at >= from; at -= 1, rest >>>= 4) this.#text[at] = HEX_DIGITS[rest & 0xf] ?? 0
  }

  #refill(): void {
    randomFillSync(this.#random)
    this.#used = 0
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
