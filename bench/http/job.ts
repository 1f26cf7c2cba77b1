// What the process that makes HTTP load is told, and what it tells.
import type { Load } from '../load.ts'

/** Requests to send. Each credits another account another amount, so that sums tell a lost or doubled one. */
export interface Job {
  readonly port: number
  /** `credit` waits for its outcome; `credit-later` is answered 202. */
  readonly command: 'credits' | 'later-credits'
  readonly connections: number
  readonly seconds: number
  /** Requests a second, whatever the answers do; left out: each connection sends when it has its answer. */
  readonly rate?: number
  /** Each request has an Idempotency-Key of its own. */
  readonly keyed?: boolean
  /** Asks for the outcome of each accepted command and measures from the 202 until it is there. */
  readonly untilVisible?: boolean
}

/** `cents`: the sum of all credits that were answered as done or accepted. */
export interface JobDone extends Load {
  readonly cents: number
  /** Microseconds of processor time that the load itself took, for each request. */
  readonly loadCpuUs: number
}
