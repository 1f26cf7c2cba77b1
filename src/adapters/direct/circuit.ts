// Who fails again and again is left alone for a while, and who retries does not do so without end.
import { backoffMs } from '../../runtime/backoff.ts'

const OPEN_MS_MIN = 200
const OPEN_MS_MAX = 5000

/**
 * `closed`: calls go through. `open`: nothing goes through for a while, because no connection could be made, or what there was fell silent,
 * or two ended in a row. Then one connection is tried: it closes the circuit again, or opens it for longer.
 */
export class Circuit {
  #failures = 0
  #openUntil = 0

  /** Whether something may be tried now. */
  get passes(): boolean {
    return performance.now() >= this.#openUntil
  }

  /** Whether the next connection is a try. */
  get isTried(): boolean {
    return this.#failures > 1
  }

  /** `ended`: a connection that worked was closed by the other side, which may be back in a moment. */
  failed(how: 'ended' | 'unreachable' | 'silent'): void {
    this.#failures += how === 'ended' ? 1 : 2
    if (this.#failures < 2) return
    const openMs = OPEN_MS_MIN + backoffMs(this.#failures, { minMs: OPEN_MS_MIN, maxMs: OPEN_MS_MAX })
    this.#openUntil = performance.now() + openMs
  }

  succeeded(): void {
    this.#failures = 0
    this.#openUntil = 0
  }
}

const BUDGET_MAX = 20
const BUDGET_SHARE = 0.1

/** Retries are at most a tenth of the calls, and twenty in a row: an owner that fails must not get more work for it. */
export class RetryBudget {
  #left = BUDGET_MAX

  called(): void {
    this.#left = Math.min(BUDGET_MAX, this.#left + BUDGET_SHARE)
  }

  /** Whether one more may be made. */
  spend(): boolean {
    if (this.#left < 1) return false
    this.#left -= 1
    return true
  }

  /** It was not made: there was nobody to send it to. */
  giveBack(): void {
    this.#left = Math.min(BUDGET_MAX, this.#left + 1)
  }
}
