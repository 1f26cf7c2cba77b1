// Keys that wait because their head command keeps failing, and when each is due again. The commands themselves are in the database.
import { cellKey } from './cells.ts'
import type { ParkedKey } from './plan-batch.ts'

/** How often a key whose command died is looked at: an operator may have let it go on. */
const RELEASED_LOOK_MS = 1000

/** When a key whose head waits for `delayMs` is looked at again; `Infinity`: the head is dead. */
export function dueAfter(now: number, delayMs: number): number {
  return now + (delayMs === Infinity ? RELEASED_LOOK_MS : delayMs)
}

export class Parking {
  readonly #keys = new Map<string, ParkedKey>()
  /** None is due before: there may be very many keys, and every batch asks. */
  #earliest = Infinity

  has(service: string, key: string): boolean {
    return this.#keys.size > 0 && this.#keys.has(cellKey(service, key))
  }

  /** Whether something has been said about its key since that look. */
  isOutdated(look: ParkedKey): boolean {
    return this.#keys.get(cellKey(look.service, look.key)) !== look
  }

  set(parked: ParkedKey): void {
    this.#keys.set(cellKey(parked.service, parked.key), parked)
    this.#earliest = Math.min(this.#earliest, parked.dueAt)
  }

  /** As the database has it. Commands of a key that are in hand (due never) are not taken a second time; what a dead owner left stays that. */
  load(parked: ParkedKey): void {
    const known = this.#keys.get(cellKey(parked.service, parked.key))
    if (known?.dueAt === Infinity) return
    this.set(known?.leftBehind === true ? { ...parked, leftBehind: true } : parked)
  }

  /** Looks all keys up anew but those in hand. None is forgotten before that: its commands would be overtaken. */
  lookAgain(now: number): void {
    for (const parked of this.#keys.values()) if (parked.dueAt !== Infinity) this.set({ ...parked, dueAt: now })
  }

  /** Forgets a key, unless something has been said about it since `parked`. */
  delete(parked: ParkedKey): void {
    const id = cellKey(parked.service, parked.key)
    if (this.#keys.get(id) === parked) this.#keys.delete(id)
  }

  /** One more command waits behind the head of this key: whoever found none a moment ago must look again, and not forget the key. */
  renew(parked: ParkedKey): void {
    this.set({ ...(this.#keys.get(cellKey(parked.service, parked.key)) ?? parked) })
  }

  /** Forgets the keys of partitions that are not held any more. Who holds none does not look at those that are due, and would never sleep. */
  retain(held: (partition: number) => boolean): void {
    this.#earliest = Infinity
    for (const [id, { partition, dueAt }] of this.#keys) {
      if (held(partition)) this.#earliest = Math.min(this.#earliest, dueAt)
      else this.#keys.delete(id)
    }
  }

  /** Keys whose head is due, at most `limit`. */
  due(now: number, limit: number): ParkedKey[] {
    const due: ParkedKey[] = []
    if (now < this.#earliest) return due
    let earliest = Infinity
    for (const parked of this.#keys.values()) {
      if (due.length >= limit) return due
      earliest = Math.min(earliest, parked.dueAt)
      if (parked.dueAt <= now) due.push(parked)
    }
    this.#earliest = earliest
    return due
  }

  /** Milliseconds until a head may be due; `Infinity` when no key waits. */
  nextDueMs(now: number): number {
    return Math.max(0, this.#earliest - now)
  }
}
