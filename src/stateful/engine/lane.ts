// One lane: one commit at a time. Batches form by themselves from what arrived while the last commit was under way.
import { BatchAborted, type EffectStore } from '../../ports/effect-store.ts'
import type { PartitionRow } from '../../ports/instances.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import type { Service } from '../../runtime/service.ts'
import { Wake } from '../../runtime/wake.ts'
import type { Collected } from '../sql/divert.ts'
import type { SqlExecutor, SqlShared } from '../sql/executor.ts'
import { hold, readPartitions } from './adopt-partitions.ts'
import type { CarriedWorks } from './carried-works.ts'
import { Changes } from './changes.ts'
import { collect, NOTHING } from './collect.ts'
import { Committer, type CommitOptions, type PreparedBatch } from './commit-works.ts'
import type { HandlerTurn } from './handler-turns.ts'
import { HeldPartitions } from './held-partitions.ts'
import { LaneSession } from './lane-session.ts'
import { runLeftBehind, takeBack } from './left-behind.ts'
import { Mailbox } from './mailbox.ts'
import { Parking } from './parking.ts'
import { PausedBatch } from './paused-batch.ts'
import type { Relay } from './relay.ts'
import { noteParked } from './take-parked.ts'
import { takeTurn } from './take-turn.ts'
import { settle, type Work } from './work.ts'

/** How long an idle lane sleeps between looks at the log; a ring ends the sleep at once. */
const IDLE_MS_MIN = 25
const IDLE_MS_MAX = 1000

export interface LaneOptions extends Pick<
  CommitOptions,
  'runners' | 'entities' | 'slots' | 'log' | 'now' | 'carriedMsMax' | 'mayWrite' | 'fenced' | 'crash'
> {
  readonly store: EffectStore
  /** About how many commands form a batch at most. */
  readonly batchSizeMax: number
  /** Behind a batch of so many commands the next is planned while it is stored. */
  readonly overlapMin: number
  readonly mailboxSizeMax: number
  /** Makes what runs the commands of SQL services, where there are some. */
  readonly sql?: ((shared: SqlShared) => SqlExecutor) | undefined
  /** Makes what a broker brings and gets, where one carries the commands. */
  readonly carried?: ((ring: () => void) => { readonly works: CarriedWorks; readonly relay: Relay }) | undefined
}

/** Told when a batch is over, and whether it was stored; `undefined`: a part of it, and the rest comes next. */
type Over = (stored: boolean | undefined) => void

/**
 * A lane is `idle` (asleep until rung or until its poll), `working` (a batch is being committed, perhaps the next one planned) or
 * `changing` (no commit is under way, partitions are taken up or given up). Partitions change hands only then, so a batch never sees its
 * ownership change except by being fenced. What is left of a batch that had to pause is the next batch, as far as it is still ours then.
 */
export class Lane implements Service {
  readonly #options: LaneOptions
  readonly #held = new HeldPartitions()
  readonly #parking = new Parking()
  readonly #mailbox: Mailbox
  readonly #committer: Committer
  readonly #sql: SqlExecutor | undefined
  readonly #carried: ReturnType<NonNullable<LaneOptions['carried']>> | undefined
  readonly #wake = new Wake()
  readonly #begunHere = new Set<string>()
  readonly #changes = new Changes()
  /** The batch that is being planned, and the one that is being committed. */
  #next: Collected = NOTHING
  #current: Collected = NOTHING
  readonly #paused = new PausedBatch()
  #underWay: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined
  #busySince: number | undefined
  /** It is slow, not stuck. */
  readonly #progressed = (): void => void (this.#busySince = performance.now())
  /** Something waits in the log: it is read next, however quiet it was. */
  #mustRead = false
  #loop: Promise<void> | undefined
  readonly #stopping = new AbortController()
  readonly #session: LaneSession

  constructor(options: LaneOptions) {
    this.#options = options
    this.#mailbox = new Mailbox(options.mailboxSizeMax)
    this.#session = new LaneSession(options.store, this.#stopping.signal)
    this.#committer = new Committer({
      ...options,
      held: this.#held,
      parking: this.#parking,
      session: () => this.#session.open(),
      lost: () => this.#reconnect(),
      stopping: this.#stopping.signal,
      fenced: (partitions) => this.#fenced(partitions),
      behind: (works) => this.#mailbox.putBack(works),
      progressed: this.#progressed,
    })
    this.#sql = options.sql?.({
      held: this.#held,
      parking: this.#parking,
      ring: () => this.#wake.ring(),
      behind: (works) => {
        this.#mailbox.putBack(works)
        this.appended()
      },
      fenced: (partition) => void this.#change(() => this.#fenced([partition])),
    })
    this.#carried = options.carried?.(() => this.#wake.ring())
  }

  async start(): Promise<void> {
    await this.#session.open()
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    // First: what runs may be waiting for a batch of this lane.
    await this.#sql?.stop()
    this.#stopping.abort()
    this.#wake.ring()
    await this.#loop
    this.#changes.cancel()
    for (const work of this.#mailbox.take(Infinity)) settle(work, { status: 'deferred' })
    // Those whose commands were stored last are told before.
    await new Promise(setImmediate)
    await this.#carried?.works.stop()
    await this.#session.close()
  }

  holds(partition: number): boolean {
    return this.#held.has(partition)
  }

  /** Whether this very process has the command in a batch right now. */
  inHand(commandId: string): boolean {
    const batches = [this.#current, this.#next].flatMap(({ works, left }) => [...works, ...left])
    return [...batches, ...this.#paused.works].some((work) => work.envelope.id === commandId) || this.#sql?.inHand(commandId) === true
  }

  /** For how long nothing has come to an end, in milliseconds; 0 when idle. A stuck lane must not have its lease renewed. */
  busyMs(): number {
    return this.#busySince === undefined ? 0 : performance.now() - this.#busySince
  }

  /** Something was appended to the log. */
  appended(): void {
    this.#mustRead = true
    this.#wake.ring()
  }

  /** False: the mailbox is full, or the lane is stopping. */
  deliver(work: Work): boolean {
    if (this.#stopping.signal.aborted || !this.#mailbox.add(work)) return false
    this.#wake.ring()
    return true
  }

  /** Takes a direct command back unless a batch has it: then its caller is told, as of one that may be stored where it came back in doubt. */
  withdraw(work: Work): boolean {
    const withdrawn = this.#mailbox.remove(work)
    if (withdrawn !== undefined) settle(withdrawn, { status: 'deferred' })
    return withdrawn !== undefined
  }

  /** Starts to serve partitions this instance owns. What is to be known of them is read while a batch of others is under way. */
  async adopt(rows: readonly PartitionRow[]): Promise<void> {
    if (this.#stopping.signal.aborted) return
    const known = await this.#session
      .open()
      .then((session) => readPartitions(rows, session))
      .catch((error: unknown) => ({ error }))
    return this.#change(() => {
      // A lane that serves nothing has not noticed that its connection is gone; it gets a new one, for the next try.
      if ('error' in known) throw known.error
      hold(known, { held: this.#held, parking: this.#parking, now: this.#options.now })
      this.#sql?.adopt(rows.map((row) => row.partition))
      this.#carried?.works.consume(rows.map(({ partition, abandoned }) => ({ partition, isAbandoned: abandoned === true })))
    })
  }

  /** Stops to serve partitions, after the batch under way: then they may be given to somebody else. */
  async drop(partitions: readonly number[]): Promise<void> {
    await this.#sql?.leave(partitions)
    await this.#change(() => this.#letGo(partitions))
    // What was stored last is acknowledged first. Whoever serves them next has to wait until the broker may deliver to somebody else.
    await new Promise(setImmediate)
    await this.#carried?.works.release(partitions)
  }

  /** What was cached of them is another owner's to change now. */
  #letGo(partitions: readonly number[]): void {
    for (const partition of partitions) this.#held.drop(partition)
    this.#parking.retain((partition) => this.#held.has(partition))
    this.#carried?.relay.retain((partition) => this.#held.has(partition))
    this.#committer.forget()
    this.#sql?.cut(partitions)
    // What was stored just now is acknowledged first.
    setImmediate(() => void this.#carried?.works.release(partitions.filter((partition) => !this.#held.has(partition))))
  }

  #fenced(partitions: readonly number[]): void {
    this.#letGo(partitions)
    this.#options.fenced(partitions)
  }

  async #run(): Promise<void> {
    let idleMs = IDLE_MS_MIN
    let failures = 0
    while (!this.#stopping.signal.aborted) {
      try {
        if (this.#changes.size > 0) await this.#settled()
        this.#changes.run()
        const worked = await this.#cycle()
        failures = 0
        if (worked) idleMs = IDLE_MS_MIN
        else if (this.#changes.size === 0) {
          const rung = await this.#wake.sleep(Math.min(idleMs, Math.max(1, this.#parking.nextDueMs(this.#options.now()))))
          idleMs = rung ? IDLE_MS_MIN : Math.min(IDLE_MS_MAX, idleMs * 2)
        }
      } catch (error) {
        // What is under way ends before its connection is taken away; how it failed has been told, or is what we are at.
        await this.#settled().catch(() => undefined)
        if (this.#stopping.signal.aborted) break
        failures += 1
        this.#paused.defer()
        this.#options.log.error({ err: error, failures }, 'the engine could not go on with a batch; it starts anew')
        if (failures > 1) await pause(backoffMs(failures, { minMs: 100, maxMs: 5000 }), this.#stopping.signal)
        await this.#reconnect()
        const takenBack = this.#session.open().then((session) => takeBack(session, this.#begunHere, [...this.#begunHere]))
        await takenBack.catch(() => undefined)
      }
    }
    await this.#settled().catch(() => undefined)
    this.#paused.defer()
  }

  /** One batch: collected, planned, and its commit begun. False: there was nothing to do. */
  async #cycle(): Promise<boolean> {
    this.#busySince ??= performance.now()
    let over: Over | undefined
    let done = false
    const { givenBack } = this.#committer
    try {
      // Whoever was answered just now, or is just arriving, shares this batch.
      await new Promise(setImmediate)
      this.#next = this.#paused.take(this.#held) ?? (await this.#collect())
      const { works, rows, left, diverted, unread, stored } = this.#next
      over = (isStored = true) => stored?.(isStored)
      if (left.length > 0 && !(await this.#runLeft(left, givenBack))) return this.#deferNext()
      done = works.length + rows.length === 0
      // Where the log was quiet it is not read just because of them.
      if (done) return left.length > 0 || (diverted === true && (unread === undefined || this.#mailbox.size > 0))
      const end = await this.#turn(works, false)
      if (end === undefined) return this.#deferNext()
      over = (isStored) => {
        end()
        if (isStored !== undefined) stored?.(isStored)
      }
      const prepared = { ...(await this.#committer.prepare(works, rows, unread)), givenBack }
      // Nothing is planned behind it.
      const pauses = prepared.planned === undefined || prepared.pieces.length > 1 || works.length < this.#options.overlapMin
      await this.#settled()
      this.#begin(prepared, pauses, over)
      over = undefined
      if (pauses) await this.#settled()
      return true
    } catch (error) {
      // Whether the last commit was stored may be unknown; the same id in the log can only be answered, never run twice.
      for (const work of [...this.#next.left, ...this.#next.works]) settle(work, { status: 'deferred', begun: true })
      throw error
    } finally {
      over?.(done)
      this.#next = NOTHING
      if (this.#underWay === undefined) this.#busySince = undefined
    }
  }

  /** True: all of it has run. */
  async #runLeft(left: readonly Work[], givenBack: number): Promise<boolean> {
    await this.#settled()
    if (this.#committer.givenBack !== givenBack) return false
    return runLeftBehind(left, {
      session: await this.#session.open(),
      committer: this.#committer,
      begunHere: this.#begunHere,
      turn: (works, alone) => {
        this.#progressed()
        return this.#turn(works, alone)
      },
      isOurs: ({ partition }) => this.#held.has(partition),
      mustPause: () => this.#changes.size > 0 || this.#stopping.signal.aborted,
      crash: this.#options.crash,
      shared: this.#next.shared,
    })
  }

  #turn(works: readonly Work[], alone: boolean): Promise<(() => void) | undefined> {
    return takeTurn(works, alone, { sql: this.#sql, held: this.#held, lane: this, wait: (turn) => this.#changing(turn) })
  }

  /** Waits for SQL handlers, which may take long. Partitions change hands meanwhile. */
  async #changing(turn: HandlerTurn): Promise<void> {
    void turn.ready.then(() => this.#wake.ring())
    while (!turn.isReady) {
      await this.#settled()
      this.#busySince = undefined
      this.#changes.run()
      await this.#wake.sleep(IDLE_MS_MAX)
      if (this.#stopping.signal.aborted) throw new BatchAborted('lost', 'this instance is stopping')
    }
    this.#progressed()
  }

  /** What came behind something that was given back must not overtake it. */
  #deferNext(): boolean {
    for (const work of [...this.#next.left, ...this.#next.works]) settle(work, { status: 'deferred' })
    return true
  }

  #begin(prepared: PreparedBatch, pauses: boolean, over: Over | undefined): void {
    const { givenBack } = this.#committer
    let stored: boolean | undefined = false
    const collected = this.#next
    this.#current = collected
    this.#next = NOTHING
    this.#progressed()
    this.#underWay = this.#committer
      .commit(prepared, pauses)
      .then((left) => void (stored = this.#paused.keep(collected, left) ? undefined : this.#committer.givenBack === givenBack))
      .catch((error: unknown) => {
        for (const work of collected.works) settle(work, { status: 'deferred', begun: true })
        this.#failure = { error }
      })
      .finally(() => {
        over?.(stored)
        this.#current = NOTHING
        this.#underWay = undefined
        this.#busySince = undefined
        this.#wake.ring()
      })
  }

  /** Once no commit is under way. Throws what the last one failed with. */
  async #settled(): Promise<void> {
    await this.#underWay
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure.error
  }

  #collect(): Promise<Collected> {
    const mustRead = this.#mustRead
    this.#mustRead = false
    return collect({
      ...this.#options,
      held: this.#held,
      parking: this.#parking,
      mailbox: this.#mailbox,
      sql: this.#sql,
      carried: this.#carried?.works,
      relay: this.#carried?.relay,
      mustRead,
      session: () => this.#session.open(),
      rowsUnderWay: () => this.#current.rows,
      isIdle: () => this.#underWay === undefined,
      settled: () => this.#settled(),
      taken: (works) => void (this.#next = { works, rows: [], left: [] }),
    })
  }

  #change(task: () => void): Promise<void> {
    // A lane that stops serves nothing any more, so there is nothing left to change.
    if (this.#stopping.signal.aborted) return Promise.resolve()
    const changed = this.#changes.add(task)
    this.#wake.ring()
    return changed
  }

  /**
   * A new connection after the old one failed, with everything that was remembered forgotten: the last commit may or may not have
   * been stored. Returns without one only when the lane stops.
   */
  async #reconnect(): Promise<void> {
    this.#committer.forget()
    await this.#session.close()
    for (let attempt = 1; !this.#stopping.signal.aborted; attempt += 1) {
      try {
        const session = await this.#session.open()
        const numbers = this.#held.numbers
        for (const [partition, seq] of await session.lastEvents(numbers)) this.#held.setLastEvent(partition, seq)
        const heads = await session.parkedHeads(numbers)
        this.#parking.lookAgain(this.#options.now())
        noteParked(heads, this.#held.abandoned, this.#parking, this.#options.now)
        return
      } catch (error) {
        this.#options.log.warn({ reason: String(error), attempt }, 'the engine cannot reach PostgreSQL; it tries again')
        await this.#session.close()
        await pause(50 + backoffMs(attempt, { minMs: 100, maxMs: 2000 }), this.#stopping.signal)
      }
    }
  }
}
