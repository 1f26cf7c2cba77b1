// The crash points around the commit of a batch: those of dead letters and retries only where the batch has some.
import type { EffectBatch } from '../../ports/effect-store.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'

export async function beforeCommit(crash: CrashPoints, { deadLetters }: EffectBatch): Promise<void> {
  if (deadLetters.length > 0) await crash.reach('dead-letter.commit')
  await crash.reach('engine.commit')
}

export async function afterCommit(crash: CrashPoints, { deadLetters, retried, parked }: EffectBatch): Promise<void> {
  if (deadLetters.length > 0) await crash.reach('dead-letter.stored')
  if (retried.length > 0 || parked.length > 0) await crash.reach('retry.stored')
  await crash.reach('engine.committed')
}
