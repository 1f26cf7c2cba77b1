// Calls between the instances of an app, put together: who owns what, the way there, and for the stateful role the door.
import { DirectCalls } from '../adapters/direct/direct-calls.ts'
import { Directory } from '../adapters/direct/directory.ts'
import { Door } from '../adapters/direct/door.ts'
import type { Envelope } from '../contract/envelope.ts'
import type { DirectCarrier } from '../ports/direct-carrier.ts'
import { partitionOf, type SlotMap } from '../ports/slots.ts'
import type { Logger } from '../runtime/logger.ts'
import type { ResolvedOptions } from './options.ts'

export interface DirectOptions {
  readonly instanceId: string
  readonly engine: DirectCarrier | undefined
  readonly slots: SlotMap
  readonly secret: string
  readonly options: ResolvedOptions
  readonly now: () => number
  readonly log: Logger
  /** Asks for a fresh look at the cluster. */
  readonly look: () => void
}

export interface Direct {
  readonly directory: Directory
  readonly calls: DirectCalls
}

/** What every process needs that takes requests. */
export function directCalls({ instanceId, engine, slots, secret, now, log, look }: DirectOptions): Direct {
  const directory = new Directory(look)
  return { directory, calls: new DirectCalls({ directory, own: engine, slots, secret, now, log, instanceId }) }
}

/** What a process needs besides whose partitions others call. */
export function doorFor(engine: DirectCarrier, directory: Directory, { instanceId, slots, secret, options, now, log }: DoorNeeds): Door {
  const ownerOf = ({ service, keys }: Envelope): string | undefined => {
    const owner = directory.ownerOf(partitionOf(slots, service, keys[0] ?? ''))?.id
    // The last look may be older than the hand-over.
    return owner === instanceId ? undefined : owner
  }
  return new Door({ instanceId, engine, ownerOf, host: options.internalHost, port: options.internalPort, secret, now, log })
}

type DoorNeeds = Omit<DirectOptions, 'engine' | 'look'>
