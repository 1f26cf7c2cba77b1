// Whether one more command may be taken, before anything is done about it: nothing that waits may grow without a bound.
import type { Envelope } from '../contract/envelope.ts'

export interface Admission {
  /**
   * Returns when the command may be taken.
   * @throws TwofoldError KEY_BACKLOG_FULL (too many wait behind a failing command of its key), STORAGE_FULL (the disk is nearly full).
   */
  admit(command: Pick<Envelope, 'service' | 'keys'>): void
}
