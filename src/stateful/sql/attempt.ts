// One run of an SQL command, from the begin of its transaction to what is stored of it.
//
// Nearly always nothing is known of the command yet, so nothing is looked up: its transaction begins with the handler's first statement, and one
// that has run before is refused by the primary key of its outcome. It is looked up where something stood in its way, where it is or may be
// parked, and before a failure of it is stored.
import { TwofoldError } from '../../errors.ts'
import { BatchAborted, emptyBatch, type EffectBatch } from '../../ports/effect-store.ts'
import type { SqlSession, Standing } from '../../ports/sql-store.ts'
import { endsProcesses, isExpired, pastDeadline, planBatch, type PlannedBatch } from '../engine/plan-batch.ts'
import type { Ran } from '../engine/run-command.ts'
import { tellDead } from '../engine/tell-dead.ts'
import { settle } from '../engine/work.ts'
import type { Job, JobOptions } from './job.ts'
import { noteWaiting } from './note-waiting.ts'

/** How long a key that is locked elsewhere is waited for. */
const KEY_MS = 2000

export class Attempt {
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
    const { origin, envelope, mayHaveRun } = job.work
    // One of a parked key takes its place among those that are parked.
    this.#looked = again || mayHaveRun === true || origin.from === 'parked' || options.parking.has(envelope.service, envelope.keys[0] ?? '')
    this.#now = options.now()
  }

  /** `failure`: what it has failed with already; the handler is not run again. @throws BatchAborted */
  async run(failure: unknown): Promise<void> {
    if (this.#job.parked?.failed === true) return
    this.#mustHold()
    const late = await this.#with((session) => this.#inTurn(() => this.#ran(session, failure)))
    // Its session was cut. Another one stores that; waiting for it while keeping a place in the pool could be for ever.
    if (late !== undefined) await this.#with((session) => this.#end(session, late))
  }

  /**
   * Beside other handlers, or alone when it was begun before its process ended. Neither its keys are locked before that nor its transaction is
   * begun, so that nobody waits for it who may have to end first.
   */
  async #inTurn<Result>(run: () => Promise<Result>): Promise<Result> {
    const { work, cut } = this.#job
    const turn = this.#options.handlers.take(work.begun !== undefined && work.begun > 1 && !endsProcesses(work))
    try {
      if (!turn.isReady) await Promise.race([turn.ready, aborted(cut.signal)])
      this.#mustHold()
      return await run()
    } finally {
      turn.end()
    }
  }

  /** Runs and stores it. What it ended with is returned where it is still to be stored, on another session. */
  async #ran(session: SqlSession, failure: unknown): Promise<Ran | undefined> {
    const { work } = this.#job
    const { id, service, keys } = work.envelope
    if (work.begun !== undefined && !endsProcesses(work)) {
      this.#job.counted = true
      await session.began(id, work.begun)
    }
    if (!this.#looked) session.beginLater({ service, keys })
    else if (!(await this.#begun(session))) return undefined
    this.#job.running = true
    this.#waits = work.origin.from !== 'parked' && this.#options.parking.has(service, keys[0] ?? '')
    const { carriedMsMax } = this.#options
    const unrun = this.#waits || failure !== undefined || isExpired(work, { carriedMsMax, now: this.#now }) || endsProcesses(work)
    const late = unrun ? failure : this.#late()
    const ran = unrun || late !== undefined ? failed(late) : await this.#handled(session)
    if (!session.usable) return onlyFailed(ran)
    await this.#end(session, ran)
    return undefined
  }

  /** Why it is not tried again. */
  #late(): Error | undefined {
    const { work } = this.#job
    const command = this.#options.runners.get(work.envelope.service)?.command(work.envelope.command)
    return command && pastDeadline(work, command, this.#now)
  }

  /** Begun, and looked up. False: it is at its end already. */
  async #begun(session: SqlSession): Promise<boolean> {
    const { work } = this.#job
    const { id, service, keys, claim } = work.envelope
    const claimHash = work.origin.from === 'direct' ? claim?.hash : undefined
    const parkedSeq = work.origin.from === 'parked' ? work.origin.seq : undefined
    const standing = await this.#unlessGivenUp(session, session.begin({ commandId: id, service, keys, claimHash, parkedSeq }))
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
  async #ended(session: SqlSession, { outcome, parked, attempts, claim }: Standing): Promise<boolean> {
    const { work } = this.#job
    const isParked = work.origin.from === 'parked'
    // One that died and is still parked holds its key until it is released.
    const holds = parked && (outcome === undefined || outcome.status === 'dead')
    if (outcome !== undefined) await this.#consume(session, isParked && parked && !holds)
    else if (parked !== isParked) await this.#consume(session, false)
    else if (work.origin.from === 'parked' && attempts !== undefined && attempts !== work.origin.attempts) await this.#tried(session)
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
    const what = `the handler of ${envelope.service}.${envelope.command}`
    let timer: NodeJS.Timeout
    let allowed = false
    const late = (): void => {
      // Its first statement may still wait for its keys, which is no fault of its own.
      if (session.waitsForKeys && !allowed) timer = setTimeout(late, KEY_MS * envelope.keys.length)
      else over.abort(new TwofoldError('HANDLER_FAILED', `${what} was cut after ${handlerMs} ms (sqlHandlerMs)`))
      allowed = true
    }
    timer = setTimeout(late, handlerMs)
    const { signal } = over
    cut.signal.addEventListener('abort', given, { once: true })
    if (cut.signal.aborted) given()
    try {
      const ran = await Promise.race([runner.run(envelope, { tx: session.transaction, signal, now: new Date(this.#now) }), aborted(signal)])
      if (signal.aborted || ran === undefined) {
        await session.cut()
        if (cut.signal.aborted) throw new BatchAborted('lost', 'the command was given up')
        return failed(signal.reason)
      }
      return this.#judged(session, ran)
    } finally {
      this.#job.begun = session.hasBegun
      clearTimeout(timer)
      cut.signal.removeEventListener('abort', given)
    }
  }

  /**
   * A failure is the handler's own only where the database has not caused it. A reply or a rejection that rests on a transaction which is gone
   * is none: what was changed in it is gone too.
   */
  #judged(session: SqlSession, ran: Ran): Ran {
    session.mustNotBeRefused()
    const { trouble } = session
    const reason = ran.status === 'failed' ? messageOf(ran.error) : `it ended as ${ran.status} after that`
    if (trouble === 'ended') return ran.status === 'failed' ? ran : failed(new TwofoldError('HANDLER_MISUSED', reason))
    if (trouble === 'idle')
      return failed(new TwofoldError('HANDLER_FAILED', `its transaction stood still for too long and was ended: ${reason}`))
    if (trouble === 'lost') throw new BatchAborted('lost', reason)
    if (ran.status === 'failed' && (trouble === 'again' || session.asksAgain(ran.error)))
      throw new BatchAborted('conflict', reason, ran.error)
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
      const batch = { ...planned.batch, unreadAbove: this.#job.unreadAbove, survived: this.#survived() }
      // What the handler changed is stored with a success, and with nothing else.
      await this.#answered(batch.outcomes[0]?.status === 'succeeded' ? session.commit(batch) : session.commitWithout(batch))
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

  /** Where no answer comes it may be stored. */
  async #answered(commit: Promise<void>): Promise<void> {
    try {
      await commit
    } catch (error) {
      if (!(error instanceof BatchAborted) || error.failure === 'lost') this.#job.work = { ...this.#job.work, mayBeStored: true }
      throw error
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
      // Those of a parked key that run one by one know of each other.
      outdated: () => false,
      fenceOf: () => undefined,
      epochOf: (partition) => held.epochOf(partition),
      lastEvent: (partition) => held.lastEvent(partition),
      consumed: this.#consumed(),
      refused: new Map(),
      now: this.#now,
      carriedMsMax: this.#options.carriedMsMax,
      hasRun: true,
    })
  }

  /** The row, where this is the last command of it: asked in this partition's turn only. */
  #consumed(): readonly string[] {
    const { row } = this.#job
    return row !== undefined && !row.dropped && row.remaining === 1 ? [row.seq] : []
  }

  /** It has come to an end, and the process is still there. */
  #survived(): readonly string[] {
    const { begun, envelope } = this.#job.work
    return begun === undefined ? [] : [envelope.id]
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

  /** An attempt of it was stored whose answer was lost: it waits for the next one, and those behind it wait with it. */
  async #tried(session: SqlSession): Promise<void> {
    await session.rollback()
    const { parked } = this.#job
    if (parked === undefined) return
    parked.failed = true
    this.#options.parking.set({ ...parked.key, dueAt: this.#now })
  }

  /** Nothing of it is run: what it came in is consumed, if it was the last of it, or taken from the parked ones. */
  async #consume(session: SqlSession, unpark: boolean): Promise<void> {
    const { work, row } = this.#job
    const turn = row === undefined ? undefined : this.#options.numbering.take([work.partition])
    try {
      await turn?.ready
      const fences = [{ partition: work.partition, epoch: this.#options.held.epochOf(work.partition) }]
      const unparked = unpark && work.origin.from === 'parked' ? [work.origin.seq] : []
      const [consumed, survived] = [this.#consumed(), this.#survived()]
      if (consumed.length + unparked.length + survived.length === 0) await session.rollback()
      else await session.commitWithout({ ...emptyBatch, fences, consumed, unparked, survived })
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
