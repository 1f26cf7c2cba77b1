// SQL commands in hand: each waits for its turn at its keys, then for a connection, and runs beside all others. A slow one holds up its own
// keys and nobody else.
//
// A partition is `served`, `full` (more of its commands wait in the log than fit here; it is not read on until half of them are done) or
// `left` (given up: what waits goes back, what runs gets a moment to end and is cut then).
import { pause } from '../../runtime/backoff.ts'
import { BatchAborted, emptyBatch } from '../../ports/effect-store.ts'
import type { SqlStore } from '../../ports/sql-store.ts'
import { HandlerTurns } from '../engine/handler-turns.ts'
import type { SqlHandlerWatch } from '../engine/watchdog.ts'
import type { Parking } from '../engine/parking.ts'
import type { ParkedKey } from '../engine/plan-batch.ts'
import { settle, type Work } from '../engine/work.ts'
import type { AnyStatefulSql } from '../stateful-sql.ts'
import { aborted } from './attempt.ts'
import { jobOf, type Job, type JobOptions, type ParkedInHand, type RowInHand } from './job.ts'
import { noteWaiting } from './note-waiting.ts'
import { runJob } from './run-job.ts'
import { SqlCommandRunner } from './run-sql-command.ts'
import { SessionPool } from './session-pool.ts'
import { Turns } from './turns.ts'

/**
 * So many commands are in hand at most, and so many of one partition: a slow key with a long queue must leave room for others. The rest stays
 * in the log; with more in hand each look at the log would have more rows to pass by.
 */
const JOBS_MAX = 1000
const JOBS_PER_PARTITION_MAX = 250

/** How long running handlers may go on when their partition is given up. Who waits for the partition waits with them. */
const GRACE_MS = 50

export interface SqlExecutorOptions extends Pick<JobOptions, 'handlerMs' | 'log' | 'now' | 'mayWrite' | 'carriedMsMax'> {
  readonly sides: readonly AnyStatefulSql[]
  readonly store: SqlStore
  /** Connections at most; so many handlers run at a time. */
  readonly connectionsMax: number
  /** Told which handlers run. */
  readonly watch?: SqlHandlerWatch | undefined
}

/** What the lane shares with it. */
export type SqlShared = Pick<JobOptions, 'held' | 'parking' | 'fenced' | 'ring' | 'behind'>

export class SqlExecutor {
  /** One partition numbers its events one transaction after the other: the batches of the lane take their turn here too. */
  readonly numbering = new Turns<number>()
  /** Who runs handlers beside whom: the batches of the lane take their turn here too, and before that for the numbers. */
  readonly handlers = new HandlerTurns()
  readonly #options: JobOptions
  readonly #pool: SessionPool
  readonly #ring: () => void
  readonly #parking: Parking
  readonly #keys = new Turns<string>()
  readonly #jobs = new Map<Job, Promise<void>>()
  /** How many copies of a command are in hand, by its id. */
  readonly #copies = new Map<string, number>()
  readonly #rows = new Map<string, RowInHand>()
  readonly #counts = new Map<number, number>()
  readonly #full = new Set<number>()
  readonly #left = new Set<number>()
  /** How often commands were begun that were given back while that could not be taken back. */
  readonly #begun = new Map<string, number>()
  #stopping = false
  #givenBack = 0

  constructor({ sides, store, connectionsMax, watch, ...rest }: SqlExecutorOptions, shared: SqlShared) {
    const runners = new Map(sides.map((side) => [side.contract.name, new SqlCommandRunner(side, watch)]))
    this.#pool = new SessionPool(store, connectionsMax)
    this.#options = { ...rest, ...shared, runners, pool: this.#pool, numbering: this.numbering, handlers: this.handlers }
    this.#parking = shared.parking
    this.#ring = shared.ring
  }

  serves(service: string): boolean {
    return this.#options.runners.has(service)
  }

  /** Numbers of log rows in hand: they are not taken again. */
  get rows(): readonly string[] {
    return [...this.#rows.keys()]
  }

  /** How often something went back to where it came from. */
  get givenBack(): number {
    return this.#givenBack
  }

  inHand(commandId: string): boolean {
    return this.#copies.has(commandId)
  }

  /** Partitions with something in hand that runs under watch. */
  get watching(): ReadonlySet<number> {
    return new Set([...this.#jobs.keys()].flatMap(({ work }) => (work.begun === undefined ? [] : [work.partition])))
  }

  /** A command that a dead owner left, to be run under watch. `before`: how often it was begun, this process's own last time included. */
  watched(work: Work, before: number): Work {
    const { id } = work.envelope
    const isOwn = this.#begun.get(id) === before
    this.#begun.delete(id)
    return { ...work, begun: isOwn ? before : before + 1 }
  }

  isFull(partition: number): boolean {
    return this.#full.has(partition)
  }

  /** Whether further commands of this partition are taken. One refusal holds until there is room again, so that nothing overtakes. */
  takes(partition: number): boolean {
    if (this.#stopping || this.#left.has(partition)) return false
    if (this.#jobs.size >= JOBS_MAX || this.#count(partition) >= JOBS_PER_PARTITION_MAX) this.#full.add(partition)
    return !this.#full.has(partition)
  }

  /** Commands of a log row. `ready` resolves once the rest of the row is stored. */
  addRow(seq: string, works: readonly Work[], ready?: Promise<boolean>): void {
    const row: RowInHand = { seq, remaining: works.length, dropped: false, ready }
    this.#rows.set(seq, row)
    void this.#unlessStored(row, works)
    for (const work of works) this.#add(jobOf(work, { row }))
  }

  /** Commands of a parked key that are due. Until they have ended the key is not looked at. */
  addParked(key: ParkedKey, works: readonly Work[]): void {
    const parked: ParkedInHand = { key: { ...key, dueAt: Infinity }, remaining: works.length, failed: false, givenBack: false, gone: false }
    this.#parking.set(parked.key)
    for (const work of works) this.#add(jobOf(work, { parked }))
  }

  /** `unreadAbove`: the log was not read before it, see `Job`. */
  addDirect(work: Work, unreadAbove?: number): void {
    this.#add(jobOf(work, { unreadAbove }))
  }

  /** Partitions are served from here on. */
  adopt(partitions: readonly number[]): void {
    for (const partition of partitions) this.#left.delete(partition)
  }

  /** Gives partitions up. Returns when nothing of them runs any more. */
  async leave(partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) this.#left.add(partition)
    await this.#empty((partition) => this.#left.has(partition))
  }

  /** Gives partitions up that are somebody else's already. */
  cut(partitions: readonly number[]): void {
    for (const partition of partitions) {
      this.#left.add(partition)
      this.#giveBack(partition)
    }
    for (const { work, cut, parked } of this.#jobs.keys()) {
      if (!this.#left.has(work.partition)) continue
      cut.abort()
      if (parked !== undefined) parked.gone = true
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#empty(() => true)
    await this.#pool.close()
  }

  #count(partition: number): number {
    return this.#counts.get(partition) ?? 0
  }

  #add(job: Job): void {
    const { id } = job.work.envelope
    const copies = this.#copies.get(id) ?? 0
    // Whoever waited for the other one may have gone to the log. This one comes behind it at their keys, and would do its work in vain.
    if (copies > 0) job.work = { ...job.work, mayHaveRun: true }
    this.#copies.set(id, copies + 1)
    this.#counts.set(job.work.partition, this.#count(job.work.partition) + 1)
    this.#jobs.set(job, this.#go(job))
  }

  #removed(job: Job): void {
    this.#jobs.delete(job)
    this.#counts.set(job.work.partition, this.#count(job.work.partition) - 1)
    const { id } = job.work.envelope
    const copies = (this.#copies.get(id) ?? 0) - 1
    if (copies > 0) this.#copies.set(id, copies)
    else this.#copies.delete(id)
  }

  async #go(job: Job): Promise<void> {
    const { work, row } = job
    const turn = this.#keys.take(job.names)
    try {
      await turn.ready
      // The lane that stores the rest of the row may itself be waiting for PostgreSQL, or for this command to be given up.
      if (row?.ready !== undefined) await Promise.race([row.ready, aborted(job.cut.signal)])
      if (job.cut.signal.aborted) return
      const end = await runJob(job, this.#options)
      if (end === 'ended') return
      if (end === 'behind' && !job.cut.signal.aborted) return this.#putBack(job)
      await this.#takeBack(job)
      // It may have been parked by a commit whose answer was lost.
      if (job.doubtful && this.#options.held.has(work.partition)) noteWaiting(job, this.#options)
      // Whoever gave it up has given back what waits behind it already.
      if (!job.cut.signal.aborted) this.#giveBack(work.partition, job)
    } catch (error) {
      this.#options.log.error(
        { err: error, commandId: work.envelope.id },
        'an SQL command could not be brought to an end; it is given back',
      )
      this.#giveBack(work.partition, job)
    } finally {
      turn.end()
      this.#removed(job)
      this.#done(job)
    }
  }

  /**
   * Gives a row back whose other commands were not stored. Not only when it is the turn of one of its keys: it is taken from the log again,
   * before what came behind it.
   */
  async #unlessStored(row: RowInHand, works: readonly Work[]): Promise<void> {
    if ((await row.ready) === false && this.#rows.get(row.seq) === row) this.#giveBack(works[0]?.partition ?? 0)
  }

  /** It was begun under watch and is given back: this process is still there, so that is held against nobody. */
  async #takeBack({ work: { begun, envelope, partition }, cut, counted }: Job): Promise<void> {
    if (begun === undefined || !counted) return
    const fences = [{ partition, epoch: this.#options.held.epochOf(partition) }]
    const batch = { ...emptyBatch, fences, survived: [envelope.id] }
    try {
      await this.#pool.with((session) => session.commitWithout(batch), cut.signal)
    } catch (error) {
      if (!(error instanceof BatchAborted && error.failure === 'fenced')) this.#begun.set(envelope.id, begun)
    }
  }

  #done({ work, row, parked, putBack }: Job): void {
    // Whoever was answered already does not hear this.
    if (!putBack) settle(work, { status: 'deferred' })
    if (row !== undefined && (row.remaining === 0 || row.dropped) && this.#rows.get(row.seq) === row) this.#rows.delete(row.seq)
    if (parked !== undefined) {
      parked.remaining -= 1
      const { service, key } = parked.key
      if (parked.remaining === 0 && !parked.failed && !parked.gone && this.#parking.has(service, key)) {
        // Whether anything of the key is left is looked up; newer commands wait behind it until then. Not before the last of them has ended: one
        // that still runs would be taken a second time.
        this.#parking.set({ ...parked.key, dueAt: this.#options.now() + (parked.givenBack ? GIVEN_BACK_MS : 0) })
        this.#ring()
      } else if (parked.failed) this.#ring()
    }
    if (this.#jobs.size >= JOBS_MAX / 2) return
    for (const partition of this.#full) {
      if (this.#count(partition) >= JOBS_PER_PARTITION_MAX / 2) continue
      this.#full.delete(partition)
      this.#ring()
    }
  }

  /** What waits of this partition goes back to where it came from, so that nothing overtakes what could not be done (`because`). */
  #giveBack(partition: number, because?: Job): void {
    this.#givenBack += 1
    for (const job of this.#jobs.keys()) {
      if (job.work.partition !== partition) continue
      if (job.row !== undefined) {
        job.row.dropped = true
        if (this.#rows.get(job.row.seq) === job.row) this.#rows.delete(job.row.seq)
      }
      if (job.running && job !== because) continue
      job.cut.abort()
      settle(job.work, { status: 'deferred' })
      if (job.parked !== undefined) job.parked.givenBack = true
    }
  }

  /**
   * Something older waits in the log: so the log is read before the command runs again, and before those that wait behind it, in their order.
   * What runs beside it finds that out by itself.
   */
  #putBack(because: Job): void {
    const works: Work[] = []
    for (const job of this.#jobs.keys()) {
      const waits =
        job.work.partition === because.work.partition && job.unreadAbove !== undefined && !job.running && !job.cut.signal.aborted
      if (!waits && job !== because) continue
      job.putBack = true
      job.cut.abort()
      works.push(job === because ? { ...job.work, mayHaveRun: true } : job.work)
    }
    this.#options.behind(works)
  }

  /** Returns when no job of these partitions is left: those that wait go back at once, those that run are cut after a moment. */
  async #empty(concerns: (partition: number) => boolean): Promise<void> {
    const jobs = [...this.#jobs].filter(([{ work }]) => concerns(work.partition))
    if (jobs.length === 0) return
    for (const partition of new Set(jobs.map(([{ work }]) => work.partition))) this.#giveBack(partition)
    const ended = Promise.all(jobs.map(([, job]) => job))
    const grace = new AbortController()
    await Promise.race([ended.then(() => grace.abort()), pause(GRACE_MS, grace.signal)])
    for (const [job] of jobs) job.cut.abort()
    await ended
  }
}

/** When the parked commands that were given back are looked at again. */
const GIVEN_BACK_MS = 1000
