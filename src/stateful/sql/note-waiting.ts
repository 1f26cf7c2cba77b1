// A key that waits, or may: perhaps one of its commands was parked by a commit whose answer was lost.
import type { Job, JobOptions } from './job.ts'

/** Its key waits, or may: it is looked up soon, and whoever comes at it until then is parked. A key without anything parked is forgotten. */
export function noteWaiting({ work }: Job, { parking, ring, now }: Pick<JobOptions, 'parking' | 'ring' | 'now'>): void {
  const { envelope, partition } = work
  parking.renew({ service: envelope.service, key: envelope.keys[0] ?? '', partition, dueAt: now() })
  ring()
}
