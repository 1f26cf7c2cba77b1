// Brings one SQL command to its end: begun, run and stored in one transaction, again and again while only the database is in the way.
//
// What a run ends with            what is stored                                        and then
//  a reply                         the handler's changes, outcome, events, consumption   answered
//  reject(…)                       the outcome and the consumption alone                 answered
//  a throw, or the deadline        a retry, or a dead letter, as the contract says       the key waits, others go on
//  a deadlock, a lost connection   nothing                                               run anew; not an attempt
//  a key that others hold          nothing                                               run anew, and given back in the end
//  a fence that refuses            nothing                                               another owner's
//  a log that was not read before  nothing, where something waits in it                  run anew behind that; not an attempt
import { BatchAborted } from '../../ports/effect-store.ts'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import { Attempt } from './attempt.ts'
import type { Job, JobOptions } from './job.ts'

/** So often in a row may the database ask to run a handler anew before that counts as an attempt of it that failed. */
const REFUSALS_MAX = 20

/** After so many tries that ended with nothing stored the command goes back to where it came from. */
const TRIES_MAX = 60

/** A direct command does not wait for a database that is away: its caller has the log. */
const OUTAGES_MAX = 3

const CONFLICT_PAUSE = { minMs: 1, maxMs: 100 }
const OUTAGE_PAUSE = { minMs: 50, maxMs: 2000 }
const LEASE_PAUSE_MS = 50

/** `ended`: by an answer, or set aside. Otherwise nothing of it is stored: it has to be given back, or put `behind` what waits in the log. */
export type JobEnd = 'ended' | 'given back' | 'behind'

export async function runJob(job: Job, options: JobOptions): Promise<JobEnd> {
  const { cut } = job
  let [refusals, busy, outages] = [0, 0, 0]
  let failure: unknown
  while (refusals + busy < TRIES_MAX && !cut.signal.aborted) {
    try {
      job.begun = false
      job.running = false
      await new Attempt(job, options, refusals + busy + outages > 0).run(failure)
      return 'ended'
    } catch (error) {
      if (!(error instanceof BatchAborted)) throw error
      if (cut.signal.aborted) return 'given back'
      if (error.failure === 'behind') return 'behind'
      if (error.failure === 'fenced') {
        if (options.mayWrite()) options.fenced(job.work.partition)
        if (options.mayWrite() || job.work.origin.from === 'direct') return 'given back'
        await pause(LEASE_PAUSE_MS, cut.signal)
      } else if (error.failure === 'lost' && !job.begun) {
        outages += 1
        if (outages >= OUTAGES_MAX && job.work.origin.from === 'direct') return 'given back'
        await pause(backoffMs(outages, OUTAGE_PAUSE), cut.signal)
      } else {
        // Before it has its keys nothing is its own doing, however long others hold them.
        if (job.begun) refusals += 1
        else busy += 1
        if (error.failure === 'data' || refusals >= REFUSALS_MAX) failure = error
        if (refusals + busy > 2) await pause(backoffMs(refusals + busy, CONFLICT_PAUSE), cut.signal)
      }
    }
  }
  return 'given back'
}
