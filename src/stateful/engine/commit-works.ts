// Brings a sequence of commands to its effects: run in memory, store in one transaction, and when that is refused find out why,
// forget what was cached, and run what is left again.
import type { AnyEntity } from '../../contract/entity.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import { BatchAborted, byKey, type EffectSession, type LoadedEntity, type Recovery } from '../../ports/effect-store.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Logger } from '../../runtime/logger.ts'
import { ByKey, Cell, Cells, cellKey } from './cells.ts'
import { afterCommit, beforeCommit } from './commit-points.ts'
import type { HeldPartitions } from './held-partitions.ts'
import type { Parking } from './parking.ts'
import { cutAfter, halves, inDoubt, splitPieces, type Piece } from './pieces.ts'
import { HOLD_MS_MAX, planBatch, type LoadedCells, type PlannedBatch } from './plan-batch.ts'
import type { CommandRunner } from './run-command.ts'
import { SharedKeys } from './shared-keys.ts'
import { tellDead } from './tell-dead.ts'
import { settle, type Work } from './work.ts'

const CONFLICT_PAUSE = { minMs: 1, maxMs: 100 }

/** After this many refusals in a row the commands go back to where they came from. */
const ATTEMPTS_MAX = 20

export interface CommitOptions {
  readonly runners: ReadonlyMap<string, CommandRunner>
  readonly entities: ReadonlyMap<string, AnyEntity>
  readonly slots: SlotMap
  readonly held: HeldPartitions
  readonly parking: Parking
  readonly log: Logger
  readonly crash?: CrashPoints | undefined
  readonly now: () => number
  /** How old a service's command of the log may be that is run, in milliseconds; undefined: however old. */
  readonly carriedMsMax?: ((service: string) => number) | undefined
  /** False once the lease may have ended by this process's own clock: nothing is submitted any more. */
  readonly mayWrite: () => boolean
  /** The current connection; opens a new one after a loss. Throws BatchAborted `lost` when this instance is stopping. */
  readonly session: () => Promise<EffectSession>
  /** The connection failed. */
  readonly lost: () => Promise<void>
  /** Aborted: this instance is stopping, and what is refused is not tried again. */
  readonly stopping: AbortSignal
  /** A part of a batch is stored: it is slow, not stuck. */
  readonly progressed: () => void
  /** A partition is no longer ours. */
  readonly fenced: (partitions: readonly number[]) => void
  /** Something waits in the log that these direct commands must not overtake: it is read before they are tried again. */
  readonly behind: (works: readonly Work[]) => void
}

/** A batch in the order in which it takes effect, perhaps planned while the commit of the one before it is still under way. */
export interface PreparedBatch {
  readonly pieces: readonly Piece[]
  /** Partitions whose log was not read before. */
  readonly unread: readonly number[] | undefined
  /** Rests on that commit: when it fails, this is thrown away. */
  readonly planned: PlannedBatch | undefined
  /** How many commits had failed and how many batches had been given back when it was prepared. */
  readonly failures: number
  readonly givenBack: number
}

/** What a plain attempt decided on. */
interface Attempt {
  planned: PlannedBatch | undefined
  readonly unread: readonly number[] | undefined
}

export class Committer {
  readonly #options: CommitOptions
  readonly #cells = new Cells()
  readonly #shared: SharedKeys
  /** The batch whose commit is under way. */
  #ahead: PlannedBatch | undefined
  #failures = 0
  #givenBack = 0

  constructor(options: CommitOptions) {
    this.#options = options
    this.#shared = new SharedKeys(options.now)
  }

  /** How many batches went back to where they came from. */
  get givenBack(): number {
    return this.#givenBack
  }

  /** Forgets every cached state. */
  forget(): void {
    this.#cells.clear()
  }

  /** Plans a batch, while the commit before it may be under way, where nothing else stands before it. */
  async prepare(works: readonly Work[], rows: readonly string[], unread?: readonly number[]): Promise<PreparedBatch> {
    const pieces = splitPieces(works, rows, (work) => this.#isCross(work))
    const [piece] = pieces
    const counts = { failures: this.#failures, givenBack: this.#givenBack, unread }
    if (piece === undefined || pieces.length > 1 || piece.cross) return { ...counts, pieces, planned: undefined }
    const session = await this.#options.session()
    const cells = await this.#loaded(session, piece)
    await this.#options.crash?.reach('engine.loaded')
    // What failed meanwhile has left these cells as it never stored them.
    const planned = counts.failures === this.#failures ? this.#plan(piece, cells, new Map(), unread) : undefined
    if (planned !== undefined) session.encode(planned.batch)
    await this.#options.crash?.reach('engine.planned')
    if (planned === undefined || planned.taken === piece.works.length) return { ...counts, pieces, planned }
    const { begun, rest } = cutAfter(piece, planned.taken)
    return { ...counts, pieces: [begun, rest], planned }
  }

  /**
   * Runs and stores a batch in order and consumes the log rows it came in. Direct callers are answered. One after the other, in the
   * order in which they were prepared. `pauses`: nothing is planned behind it. Then it stores no more once its handlers have held the thread for
   * long, and returns what is left: that comes next, before all else.
   */
  async commit(prepared: PreparedBatch, pauses = false): Promise<readonly Piece[]> {
    const [first] = prepared.pieces
    // What comes after a batch that was given back must not overtake it.
    if (prepared.givenBack !== this.#givenBack) return this.#giveBack(prepared.pieces, 'the batch before it was given back')
    if (first === undefined) return []
    const stale = prepared.planned !== undefined && prepared.failures !== this.#failures
    if (stale) this.#evict(first.works)
    return this.#commitPieces(prepared.pieces, { planned: stale ? undefined : prepared.planned, unread: prepared.unread }, pauses)
  }

  async #commitPieces(all: readonly Piece[], first: Attempt, pauses: boolean): Promise<readonly Piece[]> {
    const pauseAt = pauses ? performance.now() + HOLD_MS_MAX : Infinity
    let pieces = all
    let attempt = first
    let refused: ReadonlyMap<string, Error> = new Map()
    let attempts = 0
    /** What is planned behind this batch meanwhile does not rest on what is stored of it. */
    let atOdds = false
    while (pieces.length > 0) {
      const [next, ...rest] = pieces
      if (next === undefined) break
      let piece = next
      try {
        const taken = await this.#commitPiece(piece, refused, attempt)
        const isPart = taken < piece.works.length
        // What was planned since the first failure rests on a plan that was thrown away; behind a part of a piece it knows nothing of the rest.
        atOdds ||= isPart
        if (atOdds) this.#failures += 1
        pieces = isPart ? [cutAfter(piece, taken).rest, ...rest] : rest
        this.#options.progressed()
        if (performance.now() >= pauseAt) break
        attempts = 0
        refused = new Map()
      } catch (error) {
        this.#failures += 1
        atOdds = true
        this.#evict(piece.works)
        if (!(error instanceof BatchAborted)) throw error
        if (error.failure === 'lost') {
          piece = inDoubt(piece)
          pieces = [piece, ...rest]
        }
        if (error.failure === 'behind') return this.#putBack(pieces)
        attempts += 1
        if (attempts > ATTEMPTS_MAX || this.#options.stopping.aborted) return this.#giveBack(pieces, error.message)
        // Whoever keeps getting in the way gets a moment to finish.
        if (attempts > 2) await pause(backoffMs(attempts, CONFLICT_PAUSE), this.#options.stopping)
        if (error.failure === 'lost') await this.#options.lost()
        if (error.failure === 'fenced') pieces = await this.#withoutFenced(pieces, error)
        else if (error.failure !== 'data') pieces = [...(await this.#recovered(piece, attempt.planned)), ...rest]
        else if (piece.works.length > 1) pieces = [...halves(piece), ...rest]
        else refused = new Map(piece.works.map((work) => [work.envelope.id, error]))
      } finally {
        this.#ahead = undefined
        attempt = { planned: undefined, unread: first.unread }
      }
    }
    return pieces
  }

  /** Notes in `attempt` what it decides on. Returns how many of its commands are stored: the first ones. */
  async #commitPiece(piece: Piece, refused: ReadonlyMap<string, Error>, attempt: Attempt): Promise<number> {
    if (!this.#options.mayWrite()) throw new BatchAborted('fenced', 'the lease of this instance may have ended by its own clock')
    const session = await this.#options.session()
    if (piece.cross) return this.#commitCross(session, piece, refused, attempt.unread)
    const planned = (attempt.planned ??= this.#plan(piece, await this.#loaded(session, piece), refused, attempt.unread))
    this.#ahead = planned
    const { crash } = this.#options
    if (crash) await beforeCommit(crash, planned.batch)
    await session.commit(planned.batch)
    if (crash) await afterCommit(crash, planned.batch)
    this.#committed(planned)
    return planned.taken
  }

  /** The cells of every command of a piece: those at hand, and the rest from the database. */
  async #loaded(session: EffectSession, { works }: Piece): Promise<readonly LoadedCells[]> {
    const loaded = works.map(({ envelope: { service, keys } }) => keys.map((key) => this.#cells.get(service, key)))
    const missing = works.filter((_, at) => loaded[at]?.includes(undefined))
    if (missing.length === 0) return loaded
    const keys = keysOf(missing).filter(({ service, key }) => this.#options.entities.has(service) && !this.#cells.get(service, key))
    const read = this.#readCells(keys, await session.load(keys))
    return works.map(({ envelope: { service, keys: all } }, at) => all.map((key, place) => loaded[at]?.[place] ?? read.get(service, key)))
  }

  async #commitCross(
    session: EffectSession,
    piece: Piece,
    refused: ReadonlyMap<string, Error>,
    unread: readonly number[] | undefined,
  ): Promise<number> {
    const keys = keysOf(piece.works).filter(({ service }) => this.#options.entities.has(service))
    // All that its commit will check, before any row is locked: a takeover locks partitions in their order, and must not meet us half-way.
    const partitions = new Set(piece.works.map((work) => work.partition))
    for (const { service, key } of keys) {
      const partition = this.#heldPartition(service, key)
      if (partition !== undefined) partitions.add(partition)
    }
    const fences = [...partitions].map((partition) => ({ partition, epoch: this.#options.held.epochOf(partition) }))
    const planned = await session.locked(keys, fences, async (locked) => {
      const read = this.#readCells(keys, await locked.load(keys))
      const cells = piece.works.map(({ envelope }) => envelope.keys.map((key) => read.get(envelope.service, key)))
      const plan = this.#planned(piece, cells, refused, unread)
      await locked.commit(plan.batch)
      return plan
    })
    this.#committed(planned)
    // Other owners may write these next, so nothing of them is kept.
    this.#evict(piece.works)
    return planned.taken
  }

  #readCells(keys: readonly { service: string; key: string }[], loaded: readonly LoadedEntity[]): Pick<ByKey<Cell>, 'get'> {
    const cells = new ByKey<Cell>()
    const found = new ByKey<LoadedEntity>()
    for (const row of loaded) found.set(row.service, row.key, row)
    for (const { service, key } of keys) {
      const entity = this.#options.entities.get(service)
      if (entity) cells.set(service, key, new Cell(entity, key, found.get(service, key)))
    }
    return cells
  }

  /** Plans a plain piece on top of the batch under way. From here on its cells are as they will be once it is stored. */
  #plan(
    piece: Piece,
    cells: readonly LoadedCells[],
    refused: ReadonlyMap<string, Error>,
    unread: readonly number[] | undefined,
  ): PlannedBatch {
    const planned = this.#planned(piece, cells, refused, unread)
    for (const cell of planned.cells) cell.stored = cell.version
    this.#cells.keep(planned.cells)
    // Those of the rest need not be loaded again.
    for (const later of cells.slice(planned.taken)) this.#cells.keep(later.filter((cell) => cell !== undefined))
    return planned
  }

  #planned(
    piece: Piece,
    cells: readonly LoadedCells[],
    refused: ReadonlyMap<string, Error>,
    unread: readonly number[] | undefined,
  ): PlannedBatch {
    const { runners, held, parking, now } = this.#options
    const ahead = this.#ahead
    return planBatch(piece.works, {
      runners,
      cells,
      parkedKey: (service, key) => parking.has(service, key) || (ahead !== undefined && ahead.parkedKeys.has(cellKey(service, key))),
      outdated: (look) => parking.isOutdated(look),
      fenceOf: (service, key) => this.#heldPartition(service, key),
      epochOf: (partition) => held.epochOf(partition),
      lastEvent: (partition) => ahead?.lastEvents.get(partition) ?? held.lastEvent(partition),
      consumed: piece.consumed,
      refused,
      now: now(),
      unread,
      carriedMsMax: this.#options.carriedMsMax,
    })
  }

  #committed(planned: PlannedBatch): void {
    for (const [partition, last] of planned.lastEvents) this.#options.held.setLastEvent(partition, last)
    for (const parked of planned.parkedKeys.values()) this.#options.parking.set(parked)
    // Not before the next batch, which is ready, is on its way: whoever is answered goes on at once, and there may be thousands.
    setImmediate(() => {
      for (const { work, result } of planned.answers) settle(work, result)
      void this.#options.crash?.reach('engine.answered')
    })
    tellDead(this.#options.log, planned.batch.deadLetters)
  }

  /** What is left of a piece after a refusal: without what turns out to be answered, claimed by another, parked or consumed. */
  async #recovered(piece: Piece, planned: PlannedBatch | undefined): Promise<Piece[]> {
    const session = await this.#options.session()
    const ids = piece.works.map((work) => work.envelope.id)
    const hashes = piece.works.flatMap((work) => (work.origin.from === 'direct' && work.envelope.claim ? [work.envelope.claim.hash] : []))
    const recovery = await session.recover(ids, hashes, piece.consumed)
    if (planned !== undefined) await this.#shared.note(session, planned.batch)
    await this.#renumber(session, piece)
    const outcomes = new Map(recovery.outcomes.map((outcome) => [outcome.id, outcome]))
    const works = piece.works.flatMap((work) => this.#afterRefusal(work, recovery, outcomes.get(work.envelope.id)))
    const consumed = piece.consumed.filter((row) => recovery.waiting.has(row))
    const left = works.filter(
      (work) => work.origin.from !== 'log' || recovery.waiting.has(work.origin.row) || !piece.consumed.includes(work.origin.row),
    )
    return splitPieces(left, consumed, (work) => this.#isCross(work))
  }

  /**
   * Events are numbered on from what is stored. A commit whose answer was lost may be stored only now, so this is asked after the
   * outcomes: numbers that count a commit in whose outcomes were not seen only make the next try a conflict again.
   */
  async #renumber(session: EffectSession, piece: Piece): Promise<void> {
    const partitions = [...new Set(piece.works.map((work) => work.partition))]
    for (const [partition, seq] of await session.lastEvents(partitions)) this.#options.held.setLastEvent(partition, seq)
  }

  /** What is still to be done about one command, and answers its caller if nothing is. */
  #afterRefusal(work: Work, recovery: Recovery, outcome: StoredOutcome | undefined): Work[] {
    const { envelope, origin } = work
    const parked = recovery.parked.has(envelope.id)
    // Perhaps it is its own death that was stored, by a commit whose answer was lost.
    if (origin.from === 'parked' && recovery.holding.has(envelope.id)) return []
    if (origin.from === 'parked') return parked ? [outcome === undefined ? work : { ...work, finished: outcome }] : []
    // By a commit whose answer was lost, and which may have shown only now: its key would wait for ever, and be overtaken.
    const { parking, now } = this.#options
    if (parked) parking.renew({ service: envelope.service, key: envelope.keys[0] ?? '', partition: work.partition, dueAt: now() })
    if (outcome) settle(work, { status: 'finished', outcome })
    else if (parked) settle(work, { status: 'held' })
    if (outcome || parked) return []
    const claim = envelope.claim && origin.from === 'direct' ? recovery.claims.get(envelope.claim.hash) : undefined
    if (claim === undefined) return [work]
    if (claim.commandId !== envelope.id) {
      settle(work, { status: 'claimed', claim })
      return []
    }
    // Its caller has stopped waiting and appended it, and the append made the claim: it is ours, and must not be made again.
    const { claim: _made, ...unclaimed } = envelope
    return [{ ...work, envelope: unclaimed }]
  }

  #isCross(work: Work): boolean {
    const { service, keys } = work.envelope
    if (keys.some((key) => this.#shared.has(service, key))) return true
    return keys.length > 1 && keys.some((key, at) => at > 0 && this.#heldPartition(service, key) === undefined)
  }

  #heldPartition(service: string, key: string): number | undefined {
    const partition = partitionOf(this.#options.slots, service, key)
    return this.#options.held.has(partition) ? partition : undefined
  }

  #evict(works: readonly Work[]): void {
    for (const { service, key } of keysOf(works)) this.#cells.evict(service, key)
  }

  /** Gives up the partitions that turned out to be lost: their log rows are another owner's now, their direct commands go to the log. */
  async #withoutFenced(pieces: readonly Piece[], error: BatchAborted): Promise<Piece[]> {
    const { held, mayWrite } = this.#options
    if (!mayWrite()) {
      this.#giveBack(pieces, error.message)
      return []
    }
    const fences = held.numbers.map((partition) => ({ partition, epoch: held.epochOf(partition) }))
    const ours = await (await this.#options.session()).stillHeld(fences)
    const lost = held.numbers.filter((partition) => !ours.has(partition))
    const fields = { partitions: lost, reason: error.message }
    this.#options.log.warn(fields, 'batch refused: another instance owns some of its partitions; nothing of it was stored')
    this.#options.fenced(lost)
    const [kept, given] = [[] as Work[], [] as Work[]]
    for (const work of pieces.flatMap((piece) => piece.works)) (held.has(work.partition) ? kept : given).push(work)
    for (const work of given) settle(work, { status: 'deferred' })
    const theirs = new Set(given.flatMap(({ origin }) => (origin.from === 'log' ? [origin.row] : [])))
    const consumed = pieces.flatMap((piece) => piece.consumed.filter((row) => !theirs.has(row)))
    return splitPieces(kept, consumed, (work) => this.#isCross(work))
  }

  #putBack(pieces: readonly Piece[]): readonly Piece[] {
    this.#givenBack += 1
    this.#options.behind(pieces.flatMap((piece) => piece.works))
    return []
  }

  #giveBack(pieces: readonly Piece[], reason: string): readonly Piece[] {
    this.#givenBack += 1
    this.#options.log.warn({ reason }, 'batch given back')
    for (const piece of pieces) for (const work of piece.works) settle(work, { status: 'deferred' })
    return []
  }
}

function keysOf(works: readonly Work[]): { service: string; key: string }[] {
  const keys = new Map<string, { service: string; key: string }>()
  for (const { envelope } of works)
    for (const key of envelope.keys) keys.set(cellKey(envelope.service, key), { service: envelope.service, key })
  return [...keys.values()].toSorted(byKey)
}
