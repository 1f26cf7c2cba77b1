// From stored events to what a subscriber sees: those of its contracts, their data lifted to the newest shape.
import { type AnyEvent, liftEvent } from '../contract/event.ts'
import type { EventRecord, EventSlice, Positions } from '../ports/event-log.ts'
import type { AnyStored, Contracts } from './subscriber.ts'

/** Which events a subscriber listens to. An event that no contract of it knows is passed over. */
export class Interest {
  readonly #events: ReadonlyMap<string, ReadonlyMap<string, AnyEvent>>

  constructor(contracts: Contracts) {
    this.#events = new Map(Object.values(contracts).map((contract) => [contract.name, new Map(Object.entries(contract.events))]))
  }

  has({ service, name }: EventRecord): boolean {
    return this.#events.get(service)?.has(name) ?? false
  }

  /** The event as handlers see it. Throws what a lift throws. */
  lifted(record: EventRecord): AnyStored {
    const { id, service, name, key, version, time, commandId } = record
    const declared = this.#events.get(service)?.get(name)
    const data = declared === undefined ? record.data : liftEvent(declared, record.shape, record.data)
    return { id, service, name, key, version, time: new Date(time), commandId, data }
  }
}

/** The positions after these slices; the very same ones if there are none. */
export function positionsAfter(positions: Positions, slices: readonly EventSlice[]): Positions {
  if (slices.length === 0) return positions
  const after = [...positions]
  for (const { partition, last } of slices) after[partition] = last
  return after
}
