// Faults other than a death: standing still for longer than the lease, going on without the answer, or failing.
import type { Fault } from './run-scenario.ts'

export const otherFaults: readonly Pick<Fault, 'point' | 'action'>[] = [
  { point: 'engine.commit', action: 'stop' },
  { point: 'cross.locked', action: 'stop' },
  { point: 'sql.handled', action: 'stop' },
  { point: 'projection.applied', action: 'stop' },
  { point: 'reactor.handled', action: 'stop' },
  { point: 'handover.claimed', action: 'stop' },
  { point: 'accept.append-sent', action: 'drop' },
  { point: 'carrier.publish', action: 'drop' },
  { point: 'carrier.confirmed', action: 'drop' },
  { point: 'carrier.done', action: 'drop' },
  { point: 'engine.commit-sent', action: 'drop' },
  { point: 'cross.commit-sent', action: 'drop' },
  { point: 'sql.commit-sent', action: 'drop' },
  { point: 'transaction.commit-sent', action: 'drop' },
  { point: 'engine.committed', action: 'throw' },
]
