// A direct result as text, on whichever way it goes back to its caller.
import type { DirectResult } from './direct-carrier.ts'
import type { StoredOutcome } from './outcomes.ts'

export function encodeDirectResult(result: DirectResult): string {
  return JSON.stringify(result)
}

export function decodeDirectResult(text: string): DirectResult {
  return restored(JSON.parse(text) as DirectResult)
}

/** What JSON has no word for is put back. */
export function restored<Result extends { readonly status: string }>(result: Result): Result {
  if (result.status !== 'finished') return result
  const { outcome } = result as unknown as { readonly outcome: StoredOutcome }
  const { code, body, rejectedWith, finishedAt, ...rest } = outcome
  return { ...result, outcome: { ...rest, code, body, rejectedWith, finishedAt: new Date(finishedAt) } }
}
