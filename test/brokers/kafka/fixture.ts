// What tests of the Kafka adapter share.
import { randomUUID } from 'node:crypto'
import type { CarrierContext, Delivery, OpenCarrier } from '../../../src/ports/carrier.ts'

const HOUR_MS = 3_600_000

export function contextOf(given: Partial<CarrierContext> = {}): CarrierContext & { readonly warnings: string[] } {
  const warnings: string[] = []
  const names = { app: `test-${randomUUID()}`, databaseId: '0123abcd' }
  const limits = { leaseMs: 10_000, waitingMax: 1_000_000, carriedMsMax: 23 * HOUR_MS }
  return { ...names, instanceId: 'one', partitionCount: 4, ...limits, warn: (_, message) => warnings.push(message), warnings, ...given }
}

export function publish(carrier: OpenCarrier, body: string, partition = 0): Promise<void> {
  return carrier.publish({ id: body, partition, key: 'service\0key', body })
}

export async function publishAll(carrier: OpenCarrier, from: number, to: number, partition = 0): Promise<void> {
  await Promise.all(numbers(from, to).map((each) => publish(carrier, String(each), partition)))
}

export function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at)
}

/** Everything that is delivered, and a wait for so many. */
export class Sink {
  readonly deliveries: Delivery[] = []
  readonly isDoneAtOnce: boolean
  #look: (() => void) | undefined

  constructor(isDoneAtOnce = false) {
    this.isDoneAtOnce = isDoneAtOnce
  }

  readonly deliver = (delivery: Delivery): void => {
    this.deliveries.push(delivery)
    if (this.isDoneAtOnce) delivery.done()
    this.#look?.()
  }

  get bodies(): string[] {
    return this.deliveries.map(({ body }) => body)
  }

  async has(count: number, timeoutMs = 10_000): Promise<void> {
    if (this.deliveries.length >= count) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.deliveries.length} of ${count} came: ${this.bodies.slice(-3).join()}`)),
        timeoutMs,
      )
      this.#look = () => {
        if (this.deliveries.length < count) return
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

export async function until(holds: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  for (const end = Date.now() + timeoutMs; !(await holds()); await new Promise((resolve) => setTimeout(resolve, 20)))
    if (Date.now() > end) throw new Error(`${String(holds)} did not become true within ${timeoutMs} ms`)
}

/** Nothing is to come any more: what would have come had it been sent comes first. */
export async function quiet(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 400))
}
