// Brings one SQL command to its end: begun, run and stored in one transaction, again and again while only the database is in the way.
//
// What a run ends with            what is stored                                        and then
//  a reply                         the handler's changes, outcome, events, consumption   answered
//  reject(…)                       the outcome and the consumption alone                 answered
//  a throw, or the deadline        a retry, or a dead letter, as the contract says       the key waits, others go on
//  a deadlock, a lost connection   nothing                                               run anew; not an attempt
//  a fence that refuses            nothing                                               another owner's
import { TwofoldError } from '../../errors.ts'
import { BatchAborted, emptyBatch, type EffectBatch } from '../../ports/effect-store.ts'
import type { SqlSession, Standing } from '../../ports/sql-store.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { HeldPartitions } from '../engine/held-partitions.ts'
import type { Parking } from '../engine/parking.ts'
import { isExpired, planBatch, type PlannedBatch } from '../engine/plan-batch.ts'
import type { Ran } from '../engine/run-command.ts'
import { tellDead } from '../engine/tell-dead.ts'
import { settle } from '../engine/work.ts'
import type { Job } from './job.ts'
import type { SqlCommandRunner } from './run-sql-command.ts'
import type { SessionPool } from './session-pool.ts'
import type { Turns } from './turns.ts'

/** So often in a row may the database ask to run a command anew before that counts as an attempt of it that failed. */
const REFUSALS_MAX = 20

/** After so many tries that ended with nothing stored the command goes back to where it came from. */
const TRIES_MAX = 60

/** A direct command does not wait for a database that is away: its caller has the log. */
const OUTAGES_MAX = 3

const CONFLICT_PAUSE = { minMs: 1, maxMs: 100 }
const OUTAGE_PAUSE = { minMs: 50, maxMs: 2000 }
const LEASE_PAUSE_MS = 50

export interface JobOptions {
  readonly runners: ReadonlyMap<string, SqlCommandRunner>
  readonly pool: SessionPool
  readonly held: HeldPartitions
  readonly parking: Parking
  /** One partition numbers its events one transaction after the other, whoever makes them. */
  readonly numbering: Turns<number>
  /** How long one run of a handler may take, in milliseconds. */
  readonly handlerMs: number
  readonly log: Logger
  readonly now: () => number
  readonly mayWrite: () => boolean
  /** How old a service's command of the log may be that is run, in milliseconds. */
  readonly carriedMsMax: ((service: string) => number) | undefined
  /** A partition is no longer ours. */
  readonly fenced: (partition: number) => void
  /** There may be something to do for the lane. */
  readonly ring: () => void
}

/** True: it has come to its end. False: nothing of it is stored, and it has to be given back. */
export async function runJob(job: Job, options: JobOptions): Promise<boolean> {
  const { cut } = job
  let [refusals, outages] = [0, 0]
  let failure: unknown
  while (refusals < TRIES_MAX && !cut.signal.aborted) {
    try {
      job.begun = false
      job.running = false
      await new Attempt(job, options, refusals + outages > 0).run(failure)
      return true
    } catch (error) {
      if (!(error instanceof BatchAborted)) throw error
      if (cut.signal.aborted) return false
      if (error.failure === 'fenced') {
        if (options.mayWrite()) options.fenced(job.work.partition)
        if (options.mayWrite() || job.work.origin.from === 'direct') return false
        await pause(LEASE_PAUSE_MS, cut.signal)
      } else if (error.failure === 'lost' && !job.begun) {
        outages += 1
        if (outages >= OUTAGES_MAX && job.work.origin.from === 'direct') return false
        await pause(backoffMs(outages, OUTAGE_PAUSE), cut.signal)
      } else {
        refusals += 1
        if (error.failure === 'data' || refusals >= REFUSALS_MAX) failure = error
        if (refusals > 2) await pause(backoffMs(refusals, CONFLICT_PAUSE), cut.signal)
      }
    }
  }
  return false
}

/** Its key waits, or may: it is looked up soon, and whoever comes at it until then is parked. A key without anything parked is forgotten. */
export function noteWaiting({ work }: Job, { parking, ring, now }: Pick<JobOptions, 'parking' | 'ring' | 'now'>): void {
  const { envelope, partition } = work
  parking.renew({ service: envelope.service, key: envelope.keys[0] ?? '', partition, dueAt: now() })
  ring()
}

class Attempt {
  readonly #job: Job
  readonly #options: JobOptions
  readonly #now: number
  /** Its key waits behind a failing command: it is parked there, not run. */
  #waits = false
  /** What is stored of it has been read. */
  #looked: boolean

  /** `again`: something stood in its way before, perhaps its own outcome. */
  constructor(job: Job, options: JobOptions, again: boolean) {
    this.#job = job
    this.#options = options
    const { origin, envelope } = job.work
    // Nearly always there is nothing to be found, and if there is, the outcome's primary key refuses the commit. A parked command is looked
    // up always: it takes its place in the order of its key among those that are parked.
    this.#looked = again || origin.from === 'parked' || options.parking.has(envelope.service, envelope.keys[0] ?? '')
    this.#now = options.now()
  }

  /** `failure`: what it has failed with already; the handler is not run again. @throws BatchAborted */
  async run(failure: unknown): Promise<void> {
    const { work, parked } = this.#job
    const { service, keys } = work.envelope
    if (parked?.failed === true) return
    this.#mustHold()
    const late = await this.#with(async (session) => {
      if (!(await this.#begun(session))) return undefined
      this.#waits = work.origin.from !== 'parked' && this.#options.parking.has(service, keys[0] ?? '')
      const unrun = this.#waits || failure !== undefined || isExpired(work, { carriedMsMax: this.#options.carriedMsMax, now: this.#now })
      const ran = unrun ? failed(failure) : await this.#handled(session)
      if (!session.usable) return onlyFailed(ran)
      await this.#end(session, ran)
      return undefined
    })
    // Its session was cut. Another one stores that; waiting for it while keeping a place in the pool could be for ever.
    if (late !== undefined) await this.#with((session) => this.#end(session, late))
  }

  /** False: it is at its end already. */
  async #begun(session: SqlSession): Promise<boolean> {
    const { work } = this.#job
    const { id, service, keys, claim } = work.envelope
    const claimHash = work.origin.from === 'direct' ? claim?.hash : undefined
    const start = { commandId: id, service, keys, look: this.#looked, claimHash }
    const standing = await this.#unlessGivenUp(session, session.begin(start))
    this.#job.running = true
    return !(await this.#ended(session, standing))
  }

  /** Stores what it ended with. One that seems to have failed may have had its effect before, and failed for that. */
  async #end(session: SqlSession, ran: Ran): Promise<void> {
    if (ran.status === 'failed' && !this.#looked) {
      this.#looked = true
      await session.rollback()
      if (!(await this.#begun(session))) return
    }
    await this.#store(session, ran)
  }

  /** Keys may be locked elsewhere for long; whoever gives the command up must not wait for that. */
  async #unlessGivenUp(session: SqlSession, begun: Promise<Standing>): Promise<Standing> {
    const standing = await Promise.race([begun, aborted(this.#job.cut.signal)])
    if (standing !== undefined) return standing
    await session.cut()
    throw new BatchAborted('lost', 'the command was given up')
  }

  /** On a session, which is left without a transaction. */
  #with<Result>(use: (session: SqlSession) => Promise<Result>): Promise<Result> {
    return this.#options.pool.with(async (session) => {
      try {
        return await use(session)
      } catch (error) {
        await session.rollback()
        throw error
      }
    }, this.#job.cut.signal)
  }

  /** Whether its end is known already, or not its own any more. Then whoever asks is told. */
  async #ended(session: SqlSession, { outcome, parked, claim }: Standing): Promise<boolean> {
    const { work } = this.#job
    const isParked = work.origin.from === 'parked'
    // One that died and is still parked holds its key until it is released.
    const holds = parked && (outcome === undefined || outcome.status === 'dead')
    if (outcome !== undefined) await this.#consume(session, isParked && parked && !holds)
    else if (parked !== isParked) await this.#consume(session, false)
    else if (claim !== undefined && claim.commandId !== work.envelope.id) await session.rollback()
    else {
      if (claim !== undefined) {
        // Its caller has stopped waiting and appended it, and the append made the claim: it is ours, and must not be made again.
        const { claim: _made, ...envelope } = work.envelope
        this.#job.work = { ...work, envelope }
      }
      return false
    }
    // Perhaps it was this process that parked it, and the answer was lost: whoever comes next at its key must not overtake.
    if (holds && !isParked) noteWaiting(this.#job, this.#options)
    if (outcome !== undefined) settle(work, { status: 'finished', outcome })
    else if (parked) settle(work, { status: 'held' })
    else if (claim !== undefined) settle(work, { status: 'claimed', claim })
    return true
  }

  /** Runs the handler until it ends, or is cut. @throws BatchAborted where the database, not the handler, is the reason for its end */
  async #handled(session: SqlSession): Promise<Ran> {
    const { work, cut } = this.#job
    const { handlerMs, runners } = this.#options
    const { envelope } = work
    const runner = runners.get(envelope.service)
    if (runner === undefined) throw new BatchAborted('data', `no SQL side for service '${envelope.service}'`)
    const over = new AbortController()
    const given = (): void => over.abort(cut.signal.reason)
    const late = (): void =>
      over.abort(
        new TwofoldError(
          'HANDLER_FAILED',
          `the handler of ${envelope.service}.${envelope.command} was cut after ${handlerMs} ms (sqlHandlerMs)`,
        ),
      )
    const timer = setTimeout(late, handlerMs)
    const { signal } = over
    cut.signal.addEventListener('abort', given, { once: true })
    if (cut.signal.aborted) given()
    this.#job.begun = true
    try {
      const ran = await Promise.race([runner.run(envelope, { tx: session.transaction, signal, now: new Date(this.#now) }), aborted(signal)])
      if (signal.aborted || ran === undefined) {
        await session.cut()
        if (cut.signal.aborted) throw new BatchAborted('lost', 'the command was given up')
        return failed(signal.reason)
      }
      return this.#judged(session, ran)
    } finally {
      clearTimeout(timer)
      cut.signal.removeEventListener('abort', given)
    }
  }

  /**
   * A failure is the handler's own only where the database has not caused it. A reply or a rejection that rests on a transaction which is gone
   * is none: what was changed in it is gone too.
   */
  #judged({ trouble }: SqlSession, ran: Ran): Ran {
    const reason = ran.status === 'failed' ? messageOf(ran.error) : `it ended as ${ran.status} after that`
    if (trouble === 'idle')
      return failed(new TwofoldError('HANDLER_FAILED', `its transaction stood still for too long and was ended: ${reason}`))
    if (trouble === 'lost') throw new BatchAborted('lost', reason)
    if (trouble === 'again' && ran.status === 'failed') throw new BatchAborted('conflict', reason, ran.error)
    return ran
  }

  async #store(session: SqlSession, ran: Ran): Promise<void> {
    const { work, row } = this.#job
    const { held, parking, numbering } = this.#options
    const again = session.trouble === 'again'
    const numbered = (ran.status === 'succeeded' && ran.events.length > 0) || row !== undefined
    const turn = numbered ? numbering.take([work.partition]) : undefined
    try {
      await turn?.ready
      this.#mustHold()
      if (this.#job.doubtful && !(await this.#lookedAgain(session))) return
      const { service, keys } = work.envelope
      if (this.#waits && !parking.has(service, keys[0] ?? '')) throw new BatchAborted('conflict', 'its key goes on')
      const planned = this.#plan(ran)
      // What the handler changed is stored with a success, and with nothing else.
      if (planned.batch.outcomes[0]?.status === 'succeeded') await session.commit(planned.batch)
      else await session.commitWithout(planned.batch)
      for (const [partition, last] of planned.lastEvents) held.setLastEvent(partition, last)
      this.#stored(planned)
    } catch (error) {
      this.#job.doubtful = true
      if (again && error instanceof BatchAborted && error.failure === 'data') throw new BatchAborted('conflict', error.message, error)
      throw error
    } finally {
      turn?.end()
    }
  }

  /** Reads what the last refusal may have rested on. False: its row was consumed by somebody else, so there is nothing left to do. */
  async #lookedAgain(session: SqlSession): Promise<boolean> {
    const { work, row } = this.#job
    const { lastEvent, rowWaits } = await session.look(work.partition, row?.seq)
    this.#options.held.setLastEvent(work.partition, lastEvent)
    if (row === undefined || row.dropped || rowWaits) return true
    row.dropped = true
    await session.rollback()
    return false
  }

  #plan(ran: Ran): PlannedBatch {
    const { work } = this.#job
    const { runners, held, parking } = this.#options
    const { service } = work.envelope
    const runner = runners.get(service)
    return planBatch([work], {
      runners: runner === undefined ? new Map() : new Map([[service, { command: (name: string) => runner.command(name), run: () => ran }]]),
      cells: [],
      parkedKey: (of, key) => parking.has(of, key),
      fenceOf: () => undefined,
      epochOf: (partition) => held.epochOf(partition),
      lastEvent: (partition) => held.lastEvent(partition),
      consumed: this.#consumed(),
      refused: new Map(),
      now: this.#now,
      carriedMsMax: this.#options.carriedMsMax,
    })
  }

  /** The row, where this is the last command of it: asked in this partition's turn only. */
  #consumed(): readonly string[] {
    const { row } = this.#job
    return row !== undefined && !row.dropped && row.remaining === 1 ? [row.seq] : []
  }

  #stored({ batch, answers, parkedKeys }: PlannedBatch): void {
    const { row, parked } = this.#job
    if (row !== undefined) row.remaining -= 1
    this.#noteParked(batch, parkedKeys)
    if (parked !== undefined && parkedKeys.size > 0) parked.failed = true
    for (const { work, result } of answers) settle(work, result)
    tellDead(this.#options.log, batch.deadLetters)
  }

  #noteParked(batch: EffectBatch, parkedKeys: PlannedBatch['parkedKeys']): void {
    const { parking, ring } = this.#options
    for (const key of parkedKeys.values()) parking.set(key)
    if (parkedKeys.size === 0) {
      for (const { envelope, partition } of batch.parked)
        parking.renew({ service: envelope.service, key: envelope.keys[0] ?? '', partition, dueAt: this.#now })
    }
    if (parkedKeys.size > 0 || batch.parked.length > 0) ring()
  }

  /** Nothing of it is run: what it came in is consumed, if it was the last of it, or taken from the parked ones. */
  async #consume(session: SqlSession, unpark: boolean): Promise<void> {
    const { work, row } = this.#job
    const turn = row === undefined ? undefined : this.#options.numbering.take([work.partition])
    try {
      await turn?.ready
      const unparked = unpark && work.origin.from === 'parked' ? [work.origin.seq] : []
      const batch: EffectBatch = { ...emptyBatch, consumed: this.#consumed(), unparked }
      if (batch.consumed.length + unparked.length === 0) await session.rollback()
      else await session.commitWithout(batch)
      if (row !== undefined) row.remaining -= 1
    } catch (error) {
      // Somebody else has consumed it meanwhile.
      if (!(error instanceof BatchAborted) || error.failure !== 'conflict') throw error
      if (row !== undefined) row.dropped = true
    } finally {
      turn?.end()
    }
  }

  #mustHold(): void {
    if (this.#job.cut.signal.aborted) throw new BatchAborted('lost', 'the command was given up')
    if (!this.#options.mayWrite()) throw new BatchAborted('fenced', 'the lease of this instance may have ended by its own clock')
  }
}

function failed(error: unknown): Ran {
  return { status: 'failed', error }
}

/** What may be stored on another session than the one it ran on: nothing that rests on what it changed or read there. */
function onlyFailed(ran: Ran): Ran {
  if (ran.status !== 'failed') throw new BatchAborted('lost', `the connection was lost after the handler had ended as ${ran.status}`)
  return ran
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Resolves, with nothing, once `signal` is aborted. */
export function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}
