// What PostgreSQL's errors mean to a caller.
import { TwofoldError } from '../../errors.ts'

/** SQLSTATEs of a server that cannot serve right now: starting, stopping, out of connections, or the statement was cut for its time. */
const PASSING = new Set(['57P01', '57P02', '57P03', '53300', '53400', '57014', '55P03', '40001', '40P01', '25P02', '25P03'])

const DISK_FULL = '53100'

/** A full disk becomes STORAGE_FULL. A failed connection, or a server that cannot serve right now, becomes UNAVAILABLE; everything else is returned as it is. */
export function translate(error: unknown): unknown {
  if (sqlState(error) === DISK_FULL)
    return new TwofoldError('STORAGE_FULL', 'the disk of PostgreSQL is full: nothing was stored; make room on it', {
      cause: error,
      retryAfterSeconds: 30,
    })
  if (error instanceof TwofoldError || !isPassing(error)) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new TwofoldError('UNAVAILABLE', `PostgreSQL cannot be reached right now (${reason}); try again in a moment`, {
    cause: error,
    retryAfterSeconds: 1,
  })
}

/** The SQLSTATE of an error, or undefined for one that did not come from the server. */
export function sqlState(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown }
  // A broken pipe has five letters too.
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && code !== 'EPIPE' ? code : undefined
}

/** Whether a value was refused: SQLSTATE class 22 (data) or 23 (integrity). */
export function isDataError(error: unknown): boolean {
  return /^2[23]/.test(sqlState(error) ?? '')
}

function isPassing(error: unknown): boolean {
  const state = sqlState(error)
  if (state !== undefined) return PASSING.has(state) || state.startsWith('08') || state.startsWith('58')
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  if (typeof code === 'string' && /^E[A-Z_]+$/.test(code)) return true
  return typeof message === 'string' && /terminat|timeout|closed|not queryable|connect/i.test(message)
}
