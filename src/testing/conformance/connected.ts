// What the cases of the port share: instances that are connected, messages, and what a consumer has got.
import { equal } from 'node:assert/strict'
import type { CarriedMessage, Carrier, CarrierContext, Delivery, OpenCarrier } from '../../ports/carrier.ts'
import type { ConformanceGround } from './carrier-conformance.ts'
import type { Case } from './case.ts'
import { eventually } from './eventually.ts'

export const PARTITIONS = 2
/** These cases need no database. */
const DATABASE_ID = '00000000'

type OfCarrier = (open: readonly OpenCarrier[], carrier: Carrier, ground: ConformanceGround) => Promise<void>

export function contextOf(app: string, waitingMax = 100_000): Omit<CarrierContext, 'instanceId'> {
  const names = { app, databaseId: DATABASE_ID, partitionCount: PARTITIONS }
  return { ...names, leaseMs: 2000, carriedMsMax: 3_600_000, waitingMax, warn: () => undefined }
}

/** A case of the port, with `count` instances that have connected; for PostgreSQL's log, `ofLog`. */
export function connected(count: number, ofCarrier: OfCarrier, ofLog?: Case['check'], waitingMax = 100_000): Case['check'] {
  return async (ground, entry, broker) => {
    const { carrier, app } = ground
    if (carrier === undefined) return ofLog?.(ground, entry, broker)
    const context = contextOf(app, waitingMax)
    const opened: OpenCarrier[] = []
    try {
      for (let at = 0; at < count; at += 1) opened.push(await carrier.open({ ...context, instanceId: `instance-${at}` }))
      for (const open of opened) equal(open.request !== undefined, carrier.features.replies, '`request` is there where `features.replies`')
      await ofCarrier(opened, carrier, ground)
    } finally {
      for (const open of opened) await open.close()
    }
  }
}

export const message = (number: number, partition = 0): CarriedMessage => ({
  id: `01a20000-0000-7000-8000-${String(number).padStart(12, '0')}`,
  partition,
  key: `conformance\0${number % 7}`,
  body: String(number),
})

export async function publishAll(open: OpenCarrier, numbers: readonly number[]): Promise<void> {
  await Promise.all(numbers.map((number) => open.publish(message(number))))
}

/** What a consumer has got. */
export class Got {
  readonly deliveries: Delivery[] = []
  readonly take = (delivery: Delivery): void => void this.deliveries.push(delivery)

  get numbers(): number[] {
    return this.deliveries.map(({ body }) => Number(body))
  }

  async atLeast(count: number): Promise<void> {
    await eventually(`${count} messages were delivered`, () => this.deliveries.length >= count)
  }
}
