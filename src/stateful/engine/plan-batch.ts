// Runs the commands of a batch in order, in memory, and writes down what their one transaction has to store.
import { DEFAULT_RETRY, type AfterDeath, type AnyCommand } from '../../contract/command.ts'
import { conditionHolds, isKnown, PRECONDITION_FAILED } from '../../contract/condition.ts'
import { newestShape } from '../../contract/entity.ts'
import type { Envelope } from '../../contract/envelope.ts'
import { isTwofoldError, TwofoldError } from '../../errors.ts'
import type { AnyEvent } from '../../contract/event.ts'
import { madeAt } from '../../ports/command-ids.ts'
import { encodeEvent } from '../../ports/event-log.ts'
import {
  byKey,
  type DeadLetter,
  type EffectBatch,
  type EntityRead,
  type EntityWrite,
  type EventAppend,
  type ParkWrite,
  type RetryWrite,
} from '../../ports/effect-store.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import { backoffMs } from '../../runtime/backoff.ts'
import { cellKey, type Cell } from './cells.ts'
import { dueAfter } from './parking.ts'
import { rowsOf } from './pieces.ts'
import type { CommandRunner, Emitted, Ran } from './run-command.ts'
import type { Work } from './work.ts'

/** The cells of one command, in the order of its keys; undefined for a service that this program does not know. */
export type LoadedCells = readonly (Cell | undefined)[]

/** What a batch is planned with. */
export interface PlanOptions {
  readonly runners: ReadonlyMap<string, Pick<CommandRunner, 'command' | 'run'>>
  /** The cells of every command, loaded. None for a command whose state Twofold does not keep. */
  readonly cells: readonly LoadedCells[]
  /** Whether a key waits behind a failing head. */
  readonly parkedKey: (service: string, key: string) => boolean
  /** Whether what a look at a parked key found is out of date: since then its head has failed again, and those behind it wait on. */
  readonly outdated: (look: ParkedKey) => boolean
  /** The partition of a key that this instance owns, to be fenced; undefined for a key of another owner. */
  readonly fenceOf: (service: string, key: string) => number | undefined
  readonly epochOf: (partition: number) => string
  /** The number of the last committed event of a partition. */
  readonly lastEvent: (partition: number) => number
  /** Rows that are consumed once all of these commands are in a batch. */
  readonly consumed: readonly string[]
  /** Commands whose values the database refused, by id: they fail without being run. */
  readonly refused: ReadonlyMap<string, Error>
  readonly now: number
  /** Partitions whose log was not read before. */
  readonly unread?: readonly number[] | undefined
  /** How old a service's command of the log may be that is run, in milliseconds: of an older one it is not known much longer whether it has run. */
  readonly carriedMsMax: ((service: string) => number) | undefined
  /** They have run already, and how they ended is only to be stored. Default: they have not. */
  readonly hasRun?: boolean
}

/** A key that waits, and when its head is due. */
export interface ParkedKey {
  readonly service: string
  readonly key: string
  readonly partition: number
  readonly dueAt: number
  /** Its owner died: its commands run under watch. */
  readonly leftBehind?: boolean
}

/** A batch ready to be stored, and what is to be told and remembered once it is. */
export interface PlannedBatch {
  readonly batch: EffectBatch
  /** So many of the commands are in it, the first ones: beyond them the handlers would have held the thread for too long. */
  readonly taken: number
  readonly cells: ReadonlySet<Cell>
  readonly answers: readonly { readonly work: Work; readonly result: DirectResult }[]
  /** Keys (by `cellKey`) that wait now. */
  readonly parkedKeys: ReadonlyMap<string, ParkedKey>
  readonly lastEvents: ReadonlyMap<number, number>
}

/**
 * So long the handlers of one batch hold the thread, in milliseconds, and the one that is running then. What is left of the batch waits for the
 * next one: between two the lease is renewed, partitions change hands, and all else of the process gets its turn. A renewal takes a few such
 * turns, and the shortest lease is 500 ms. A batch of usual handlers is planned in a fraction of it.
 */
export const HOLD_MS_MAX = 50

/** Plans a batch, or as much of it as there is time for; see `BatchPlan` for what happens to each command. */
export function planBatch(works: readonly Work[], options: PlanOptions): PlannedBatch {
  const plan = new BatchPlan(options)
  const until = performance.now() + HOLD_MS_MAX
  let taken = 0
  for (const work of works) {
    plan.add(work, options.cells[taken] ?? [])
    taken += 1
    if (performance.now() >= until) break
  }
  if (taken === works.length) return plan.finish(taken, options.consumed)
  const later = rowsOf(works.slice(taken))
  return plan.finish(
    taken,
    options.consumed.filter((row) => !later.has(row)),
  )
}

class BatchPlan {
  readonly #options: PlanOptions
  readonly #cells = new Set<Cell>()
  readonly #outcomes = new Map<string, StoredOutcome>()
  readonly #now: Date
  readonly #claims = new Map<string, EffectBatch['claims'][number]>()
  readonly #events = new Map<number, { readonly kinds: AnyEvent[]; readonly lines: string[]; last: number }>()
  readonly #parked: ParkWrite[] = []
  readonly #parkedKeys = new Map<string, ParkedKey>()
  readonly #parkedIds = new Set<string>()
  readonly #retried: RetryWrite[] = []
  readonly #unparked: string[] = []
  readonly #deadLetters: DeadLetter[] = []
  readonly #answers: { work: Work; result: DirectResult }[] = []
  readonly #partitions = new Set<number>()

  constructor(options: PlanOptions) {
    this.#options = options
    this.#now = new Date(options.now)
  }

  /** Runs one command, or parks it behind its key's head, or drops it because this very batch has answered it already. */
  add(work: Work, loaded: LoadedCells): void {
    const { envelope, origin } = work
    this.#partitions.add(work.partition)
    const known = work.finished ?? this.#outcomes.get(envelope.id)
    if (known !== undefined) return this.#duplicate(work, known)
    if (this.#parkedIds.has(envelope.id)) return void this.#answers.push({ work, result: { status: 'held' } })
    if (this.#claimedByNeighbour(work)) return
    if (work.fault !== undefined) return this.#die(work, work.fault, 0)
    if (isExpired(work, this.#options)) return this.#die(work, expired(this.#options.now - madeAt(envelope.id)), 0)
    const home = envelope.keys[0] ?? ''
    const waits = this.#parkedKeys.size > 0 && this.#parkedKeys.has(cellKey(envelope.service, home))
    // A parked command that comes after its head has failed again simply stays where it is.
    if (origin.from === 'parked' && (waits || this.#options.outdated(origin.look))) return
    if (waits || (origin.from !== 'parked' && this.#options.parkedKey(envelope.service, home))) return this.#park(work, 0, 0, undefined)
    const refusal = this.#options.refused.get(envelope.id)
    if (refusal !== undefined) return this.#failed(work, refusal)
    if (endsProcesses(work)) return this.#die(work, endedProcess(), BEGUN_MAX)
    const late = this.#options.hasRun === true ? undefined : pastDeadline(work, this.#commandOf(envelope), this.#options.now)
    if (late !== undefined) return this.#failed(work, late)
    const runner = this.#options.runners.get(envelope.service)
    const cells = runner === undefined ? [] : (loaded as readonly Cell[])
    for (const cell of cells) this.#cells.add(cell)
    for (let at = 1; at < cells.length; at += 1) {
      const partition = this.#options.fenceOf(envelope.service, envelope.keys[at] ?? '')
      if (partition !== undefined) this.#partitions.add(partition)
    }
    const ran = runner === undefined ? noRunner(envelope.service) : this.#run(runner, envelope, cells)
    if (ran.status === 'failed') return this.#failed(work, ran.error)
    const version = cells[0]?.version ?? 0
    if (ran.status === 'succeeded') this.#emit(work, ran, version)
    // Whoever demanded a version of what was removed is told that there is none, not the last one there was.
    const gone = ran.status === 'rejected' && ran.code === PRECONDITION_FAILED && cells[0]?.exists === false
    this.#finish(work, ran, gone ? 0 : version)
  }

  #run(runner: Pick<CommandRunner, 'run'>, { id, command, input, condition, traceparent }: Envelope, cells: readonly Cell[]): Ran {
    const [home] = cells
    if (condition !== undefined && !isKnown(condition)) return { status: 'failed', error: unknownCondition(condition) }
    if (condition !== undefined && home !== undefined && !conditionHolds(condition, home))
      return { status: 'rejected', code: PRECONDITION_FAILED, data: undefined }
    return runner.run(command, input, cells, { commandId: id, now: this.#now, traceparent, creates: condition === 'absent' })
  }

  finish(taken: number, consumed: readonly string[]): PlannedBatch {
    const writes: EntityWrite[] = []
    const reads: EntityRead[] = []
    for (const cell of this.#cells) {
      const { entity, key, stored, version } = cell
      const { service } = entity
      if (version === stored) reads.push({ service, key, version })
      else writes.push({ service, key, from: stored, version, shape: newestShape(entity), state: cell.exists ? cell.text : undefined })
    }
    const { epochOf, unread } = this.#options
    const batch: EffectBatch = {
      fences: [...this.#partitions].map((partition) => ({ partition, epoch: epochOf(partition) })),
      writes: writes.toSorted(byKey),
      reads: reads.toSorted(byKey),
      outcomes: [...this.#outcomes.values()],
      claims: [...this.#claims.values()].toSorted((a, b) => (a.hash < b.hash ? -1 : 1)),
      events: [...this.#events].map(([partition, log]) => this.#packed(partition, log)),
      consumed,
      unparked: this.#unparked,
      retried: this.#retried,
      parked: this.#parked,
      deadLetters: this.#deadLetters,
      unread,
    }
    const lastEvents = new Map([...this.#events].map(([partition, { last }]) => [partition, last]))
    return { batch, taken, cells: this.#cells, answers: this.#answers, parkedKeys: this.#parkedKeys, lastEvents }
  }

  #packed(partition: number, { kinds, lines, last }: { kinds: readonly AnyEvent[]; lines: readonly string[]; last: number }): EventAppend {
    const named = kinds.map(({ service, name, version }) => ({ service, name, shape: version }))
    return { partition, last, time: this.#options.now, kinds: named, lines }
  }

  #duplicate(work: Work, outcome: StoredOutcome): void {
    if (work.origin.from === 'parked') this.#unparked.push(work.origin.seq)
    this.#answers.push({ work, result: { status: 'finished', outcome } })
  }

  /** Direct commands claim their Idempotency-Key here; those from the log or a broker did so when they were appended. */
  #claimedByNeighbour(work: Work): boolean {
    const { claim, id } = work.envelope
    if (claim === undefined || work.origin.from !== 'direct') return false
    const neighbour = this.#claims.get(claim.hash)
    if (neighbour === undefined) {
      this.#claims.set(claim.hash, { ...claim, commandId: id })
      return false
    }
    const stored = { commandId: neighbour.commandId, fingerprint: neighbour.fingerprint, answer: undefined }
    this.#answers.push({ work, result: { status: 'claimed', claim: stored } })
    return true
  }

  #emit(work: Work, ran: Extract<Ran, { status: 'succeeded' }>, version: number): void {
    if (ran.events.length === 0) return
    const { partition, envelope } = work
    let log = this.#events.get(partition)
    if (log === undefined) this.#events.set(partition, (log = { kinds: [], lines: [], last: this.#options.lastEvent(partition) }))
    for (let ordinal = 0; ordinal < ran.events.length; ordinal += 1) {
      const { event, data } = ran.events[ordinal] as Emitted
      let kind = log.kinds.indexOf(event)
      if (kind < 0) kind = log.kinds.push(event) - 1
      log.lines.push(encodeEvent(kind, envelope.id, ordinal, version, envelope.keys[0] ?? '', data))
    }
    log.last += ran.events.length
  }

  #finish(work: Work, ran: Exclude<Ran, { status: 'failed' }>, version: number): void {
    if (ran.status === 'rejected') this.#store(work, 'rejected', ran.code, ran.data, version)
    else this.#store(work, 'succeeded', undefined, ran.reply, version)
  }

  #store(
    work: Work,
    status: StoredOutcome['status'],
    code: string | undefined,
    body: string | undefined,
    version: number,
    afterDeath: AfterDeath = 'continue',
  ): void {
    const { envelope, partition, origin } = work
    const eventSeq = this.#events.get(partition)?.last ?? this.#options.lastEvent(partition)
    const { id, service, command } = envelope
    const rejectedWith = status === 'rejected' ? this.#statusOf(envelope, code) : undefined
    const outcome = { id, service, command, status, code, body, rejectedWith, version, partition, eventSeq, finishedAt: this.#now }
    this.#outcomes.set(envelope.id, outcome)
    if (origin.from === 'parked' && afterDeath === 'continue') this.#unparked.push(origin.seq)
    this.#answers.push({ work, result: { status: 'finished', outcome } })
  }

  #failed(work: Work, error: unknown): void {
    const { retry } = this.#commandOf(work.envelope)
    const before = work.origin.from === 'parked' ? work.origin.attempts : 0
    const message = error instanceof Error ? error.message : String(error)
    // While a newer program is being rolled out an older one may meet its states. That is nobody's failure: the command waits for it.
    if (isTwofoldError(error, 'STATE_TOO_NEW')) return this.#park(work, before, retry.maxMs, message)
    if (error instanceof PastDeadline) return this.#die(work, error, before)
    const attempts = before + 1
    const delayMs = backoffMs(attempts, retry)
    const late = retry.deadlineMs !== false && this.#options.now + delayMs > madeAt(work.envelope.id) + retry.deadlineMs
    if (attempts < retry.attempts && !late) return this.#park(work, attempts, delayMs, message)
    this.#die(work, error, attempts)
  }

  #die(work: Work, error: unknown, attempts: number): void {
    const { envelope, partition } = work
    const message = error instanceof Error ? error.message : String(error)
    const stack = error instanceof Error ? error.stack : undefined
    this.#deadLetters.push({ envelope, partition, attempts, error: message, stack })
    const { afterDeath } = this.#commandOf(envelope)
    // A dead head that stays in its place holds its key, as one that is tried again does.
    if (afterDeath === 'park') this.#park(work, attempts, Infinity, message)
    const code = isTwofoldError(error, 'EXPIRED') ? 'EXPIRED' : 'HANDLER_FAILED'
    this.#store(work, 'dead', code, JSON.stringify({ message, attempts }), 0, afterDeath)
  }

  /** What a rejection is answered with, now and whenever the request is repeated. None for a condition that did not hold: that is always 412. */
  #statusOf(envelope: Envelope, code: string | undefined): number | undefined {
    const { rejections } = this.#commandOf(envelope)
    return code !== undefined && Object.hasOwn(rejections, code) ? rejections[code]?.status : undefined
  }

  #commandOf({ service, command }: Envelope): Pick<AnyCommand, 'retry' | 'afterDeath' | 'rejections'> {
    return this.#options.runners.get(service)?.command(command) ?? UNKNOWN
  }

  /** Sets a command aside with its key: durable, so that neither the log nor a caller holds it. */
  #park(work: Work, attempts: number, delayMs: number, error: string | undefined): void {
    const { envelope, partition, origin } = work
    const key = envelope.keys[0] ?? ''
    const id = cellKey(envelope.service, key)
    const isHead = origin.from === 'parked' || !this.#options.parkedKey(envelope.service, key)
    if (isHead && !this.#parkedKeys.has(id))
      this.#parkedKeys.set(id, { service: envelope.service, key, partition, dueAt: dueAfter(this.#options.now, delayMs) })
    // A dead one is answered by its outcome.
    if ((origin.from === 'direct' || origin.from === 'carried') && delayMs !== Infinity)
      this.#answers.push({ work, result: { status: 'held' } })
    if (origin.from === 'parked') this.#retried.push({ seq: origin.seq, was: origin.attempts, attempts, delayMs, error: error ?? '' })
    else this.#parked.push({ partition, envelope, attempts, delayMs, error })
    this.#parkedIds.add(envelope.id)
  }
}

/** So often a command may be begun, and its process end, after the one it was first run by: then it is not begun again. */
const BEGUN_MAX = 2

/** Whether so many processes have ended while they ran it that it is not begun again. */
export function endsProcesses({ begun = 0 }: Work): boolean {
  return begun > BEGUN_MAX
}

/**
 * Whether it has waited in the log or at a broker for so long that it dies without being run: a copy of it may have run so long ago that its outcome is about
 * to be forgotten, or is.
 */
export function isExpired({ envelope, origin }: Work, { carriedMsMax, now }: Pick<PlanOptions, 'carriedMsMax' | 'now'>): boolean {
  const waited = origin.from === 'log' || origin.from === 'carried'
  return carriedMsMax !== undefined && waited && now - madeAt(envelope.id) > carriedMsMax(envelope.service)
}

/** A command that has failed before is not tried again. */
class PastDeadline extends Error {
  override readonly name = 'PastDeadline'
}

/**
 * Why a command that has failed is not tried again: its pause ended before its deadline, and yet it is its turn only now. The first attempt is
 * made however late it is.
 */
export function pastDeadline({ envelope, origin }: Work, { retry }: Pick<AnyCommand, 'retry'>, now: number): PastDeadline | undefined {
  if (origin.from !== 'parked' || origin.attempts === 0 || retry.deadlineMs === false) return undefined
  if (now <= madeAt(envelope.id) + retry.deadlineMs) return undefined
  const last = origin.error === undefined ? '' : `; it had failed with: ${origin.error}`
  return new PastDeadline(`it was not tried again, because its deadline (${retry.deadlineMs} ms) was over${last}`)
}

/** A newer program may demand what this one cannot decide: such a command waits alone for one that can. */
function unknownCondition(condition: unknown): Error {
  return new TwofoldError('STATE_TOO_NEW', `this program does not know the condition ${JSON.stringify(condition)}; a newer one made it`)
}

function expired(ageMs: number): Error {
  const hours = (ageMs / 3_600_000).toFixed(1)
  return new TwofoldError(
    'EXPIRED',
    `it waited ${hours} hours to be run; whether it has run before is not known much longer, so it was not run`,
  )
}

function endedProcess(): Error {
  const message = `its handler did not return, or ended the process: ${BEGUN_MAX} processes ended while they ran it, after the first`
  return new TwofoldError('HANDLER_FAILED', message)
}

/** A command that this program does not know may come from a newer one. */
const UNKNOWN = { retry: DEFAULT_RETRY, afterDeath: 'continue', rejections: {} } as const

function noRunner(service: string): Ran {
  return { status: 'failed', error: new Error(`this program has no stateful side for service '${service}'`) }
}
