// The states an engine has at hand: one cell per key, kept between batches because no other instance may change what we own.
import { getHeapStatistics } from 'node:v8'
import { newestShape, upgradeState, type AnyEntity } from '../../contract/entity.ts'
import { TwofoldError } from '../../errors.ts'
import type { LoadedEntity } from '../../ports/effect-store.ts'

/**
 * One entity in memory. `text` is its state as of the last command that succeeded: writing needs that text anyway, so keeping it
 * makes undoing a failed command free (parse it again) and shows whether a command changed anything (compare).
 *
 * A cell is `loaded` (nothing of the program has run for it) or `open`: a command opens it, because `initial` and `upgrades` may throw, or never
 * return, like any handler, and it is that command which fails then.
 */
export class Cell {
  readonly entity: AnyEntity
  readonly key: string
  /** The version in the database. */
  stored: number
  /** The version after the commands of the batch under way. */
  version: number
  exists: boolean
  /** The bytes that `Cells` has counted for its bound. */
  counted = 0
  #text: string | undefined
  #loaded: LoadedEntity | undefined
  #state: unknown
  #fresh = false

  constructor(entity: AnyEntity, key: string, loaded: LoadedEntity | undefined) {
    this.entity = entity
    this.key = key
    this.stored = loaded?.version ?? 0
    this.version = this.stored
    this.exists = loaded?.state !== undefined
    this.#loaded = loaded
  }

  /** To be called before anything else is asked of its state. @throws TwofoldError STATE_TOO_NEW, or whatever `initial` or an upgrade throws. */
  open(): void {
    if (this.#text !== undefined) return
    const { entity, key } = this
    const loaded = this.#loaded
    const shape = newestShape(entity)
    if (loaded !== undefined && loaded.shape > shape) {
      const message = `the state of ${entity.service} '${key}' has shape ${loaded.shape}, this program knows ${shape}: only a newer program may change it`
      throw new TwofoldError('STATE_TOO_NEW', message)
    }
    if (loaded?.state === undefined) this.#text = this.initial()
    else if (loaded.shape < shape) this.#text = this.serialize(upgradeState(entity, loaded.shape, JSON.parse(loaded.state)))
    else {
      // What was stored in this shape is what `serialize` made then.
      this.#state = JSON.parse(loaded.state)
      this.#fresh = true
      this.#text = loaded.state
    }
    this.#loaded = undefined
  }

  get text(): string {
    return this.#text ?? ''
  }

  /** About how much memory it takes, in characters of text. */
  get size(): number {
    return (this.#text ?? this.#loaded?.state ?? '').length
  }

  /** The state to hand to a handler. The same object until `undo`. */
  get state(): unknown {
    if (!this.#fresh) {
      this.#state = JSON.parse(this.#text ?? '')
      this.#fresh = true
    }
    return this.#state
  }

  /** Forgets whatever a handler did to the state since the last success. */
  undo(): void {
    this.#fresh = false
  }

  /** The state a handler left, as text. @throws TypeError when it is not JSON (undefined, a cycle, a bigint). */
  serialize(state: unknown): string {
    const text = JSON.stringify(state) as string | undefined
    if (text === undefined) throw new TypeError(`the state of ${this.entity.service} '${this.key}' became undefined; a state is plain JSON`)
    return text
  }

  /** Takes over the state a handler left and its text; true if it differs from the one before. */
  keep(state: unknown, text: string): boolean {
    this.#state = state
    this.#fresh = true
    if (text === this.#text) return false
    this.#text = text
    this.exists = true
    this.version += 1
    return true
  }

  /** Takes over what a handler put in the place of the state. That may be, or have in it, what is another key's, or the program's own. */
  replace(text: string): void {
    this.keep(undefined, text)
    this.#fresh = false
  }

  /** It exists from here on, though it is as `initial` has it; if it does already this is nothing. */
  create(): void {
    if (this.exists) return
    this.exists = true
    this.version += 1
  }

  /** What a removed entity starts from again, as text. */
  initial(): string {
    return this.serialize(this.entity.initial(this.key))
  }

  /** Removes the entity and leaves it at `initial`; true if there was one. */
  remove(initial: string): boolean {
    this.#text = initial
    this.#fresh = false
    if (!this.exists) return false
    this.exists = false
    this.version += 1
    return true
  }
}

/** Something by service and key. Two maps, because joining the two texts for every look-up costs more than both look-ups. */
export class ByKey<Value> {
  readonly #services = new Map<string, Map<string, Value>>()

  get(service: string, key: string): Value | undefined {
    return this.#services.get(service)?.get(key)
  }

  set(service: string, key: string, value: Value): void {
    let keys = this.#services.get(service)
    if (keys === undefined) this.#services.set(service, (keys = new Map()))
    keys.set(key, value)
  }

  delete(service: string, key: string): void {
    this.#services.get(service)?.delete(key)
  }
}

/** What one cell takes in memory beside its text and its state: measured with a million of them. */
const CELL_BYTES = 240

/** A state takes about three times what its text does, which is kept too. */
const BYTES_PER_CHARACTER = 4

/** The share of the heap's limit that states may take: 1.8 million small ones of 4 GB. */
const HEAP_SHARE = 1 / 8

/**
 * Cells that were used lately, in two generations: a full young one becomes the old one, and what is used again moves to the young one.
 * So about the most recently used are kept, and a cell that is used again and again costs one look-up, not a place in a list.
 */
export class Cells {
  readonly #bytesMax: number
  #young = new ByKey<Cell>()
  #old = new ByKey<Cell>()
  #bytes = 0

  /** The bound of both generations together, estimated. */
  constructor(bytesMax = getHeapStatistics().heap_size_limit * HEAP_SHARE) {
    this.#bytesMax = bytesMax
  }

  get(service: string, key: string): Cell | undefined {
    return this.#young.get(service, key) ?? this.#old.get(service, key)
  }

  evict(service: string, key: string): void {
    this.#young.delete(service, key)
    this.#old.delete(service, key)
  }

  clear(): void {
    this.#young = new ByKey()
    this.#old = new ByKey()
    this.#bytes = 0
  }

  /** Keeps these as the most recently used; between batches only, when no cell is in use. */
  keep(used: Iterable<Cell>): void {
    for (const cell of used) {
      const { service } = cell.entity
      if (this.#young.get(service, cell.key) !== cell) {
        this.#young.set(service, cell.key, cell)
        cell.counted = 0
      }
      const bytes = CELL_BYTES + cell.size * BYTES_PER_CHARACTER
      this.#bytes += bytes - cell.counted
      cell.counted = bytes
    }
    if (this.#bytes <= this.#bytesMax / 2) return
    this.#old = this.#young
    this.#young = new ByKey()
    this.#bytes = 0
  }
}

/** Service names have no NUL and neither have keys, so this cannot collide. */
export function cellKey(service: string, key: string): string {
  return `${service}\0${key}`
}
