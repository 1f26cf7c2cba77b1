// Dead letters as the operator's log tells of them.
import type { DeadLetter } from '../../ports/effect-store.ts'
import type { Logger } from '../../runtime/logger.ts'

export function tellDead(log: Logger, letters: readonly DeadLetter[]): void {
  for (const { envelope, attempts, error } of letters) {
    const { id, service, command, keys, traceparent } = envelope
    log.error({ commandId: id, service, command, key: keys[0], attempts, reason: error, traceparent }, 'command is dead')
  }
}
