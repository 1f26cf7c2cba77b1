// What a look at one thing says, and the bound that each look has.
import { sqlState } from '../../adapters/postgres/pg-errors.ts'
import { isTwofoldError } from '../../errors.ts'

/** `warning`: it works, and something should be known. `fault`: it does not work, or accepted commands could be lost. */
export type Status = 'ok' | 'warning' | 'fault'

export interface Finding {
  readonly status: Status
  /** What was found, in one sentence. */
  readonly found: string
  /** What to do about it. */
  readonly advice?: string | undefined
}

/** A finding under its name, which stays the same from version to version. */
export interface Check extends Finding {
  readonly name: string
}

/** No look takes longer, whatever does not answer. */
const CHECK_MS_MAX = 5000

export interface Bound {
  /** What does not answer when the look takes too long. Default: nothing is named. */
  readonly of?: string
  /** What to do about that. */
  readonly advice?: string
  /** In milliseconds. Default 5 s. */
  readonly atMostMs?: number
}

/** Takes a look; one that fails or takes too long is a fault. */
export async function bounded(name: string, look: () => Promise<Finding>, bound: Bound = {}): Promise<Check> {
  const { of, advice, atMostMs = CHECK_MS_MAX } = bound
  const within = `within ${atMostMs / 1000} s`
  const found = of === undefined ? `no answer ${within}` : `${of} does not answer ${within}`
  let timer: NodeJS.Timeout | undefined
  const overdue = new Promise<Finding>((resolve) => {
    timer = setTimeout(() => resolve({ status: 'fault', found, ...(advice !== undefined && { advice }) }), atMostMs)
  })
  try {
    return { name, ...(await Promise.race([look(), overdue])) }
  } catch (error) {
    return { name, ...faultOf(error) }
  } finally {
    clearTimeout(timer)
  }
}

/** An error as a finding. Those of Twofold say what is wrong, a colon, and what to do. */
export function faultOf(error: unknown): Finding {
  const message = error instanceof Error ? error.message : String(error)
  const state = sqlState(error)
  if (state === '42501') return { status: 'fault', found: `it may not be looked at: ${message}`, advice: 'use the role of the app' }
  if (state === '57014')
    return { status: 'fault', found: 'the server took too long to answer', advice: 'look again when it has less to do' }
  const at = message.lastIndexOf(': ')
  // A colon within brackets belongs to the reason that somebody else gave.
  if (!isTwofoldError(error) || at < 0 || message.slice(at).includes(')')) return { status: 'fault', found: message }
  return { status: 'fault', found: message.slice(0, at), advice: message.slice(at + 2) }
}
