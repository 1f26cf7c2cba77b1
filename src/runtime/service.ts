// One lifecycle for everything long-lived.

/**
 * `start` resolves when the service works, or rejects and leaves nothing behind. `stop` resolves when nothing of it runs any more;
 * it tolerates (1) being called without a start, (2) being called again, also while the first call is under way.
 */
export interface Service {
  start(): Promise<void>
  stop(): Promise<void>
}

/** Starts services in order; when one fails, stops those already started in reverse order and rethrows. */
export async function startAll(services: readonly Service[]): Promise<void> {
  const started: Service[] = []
  try {
    for (const service of services) {
      started.push(service)
      await service.start()
    }
  } catch (error) {
    await stopAll(started).catch(() => undefined)
    throw error
  }
}

/** Stops services in reverse order; every one is stopped even if another fails, then the first failure is thrown. */
export async function stopAll(services: readonly Service[]): Promise<void> {
  const failures: unknown[] = []
  for (const service of services.toReversed()) {
    await service.stop().catch((failure: unknown) => failures.push(failure))
  }
  if (failures.length > 0) throw failures[0]
}
