// Waiting between attempts: exponential with full jitter, so that many who failed together do not come back together.

/** `minMs` doubles with every attempt up to `maxMs`. */
export interface BackoffOptions {
  readonly minMs: number
  readonly maxMs: number
}

/** The pause before attempt `attempt` + 1 (attempts count from 1), drawn evenly from 0 to the exponential bound. */
export function backoffMs(attempt: number, { minMs, maxMs }: BackoffOptions, random: () => number = Math.random): number {
  return Math.floor(random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt - 1, 30)))
}

/** Resolves after `ms`, or early (without throwing) when `signal` is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
