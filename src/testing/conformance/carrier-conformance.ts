// What every way of carrying commands has to stand, as cases for any test runner: the same names for PostgreSQL's log, RabbitMQ, Kafka and a carrier
// of one's own. What differs is told by `features`, never left out in silence: a case that says nothing somewhere says why.
import type { Carrier, CarrierFeatures } from '../../ports/carrier.ts'
import type { CommandLogFeatures } from '../../ports/command-log.ts'
import { appCases } from './app-cases.ts'
import { lossCases } from './loss-cases.ts'
import { openingCases } from './opening-cases.ts'
import { portCases } from './port-cases.ts'

/** What of a carrier's promises a case is about. */
export type ConformanceTopic =
  | 'durability'
  | 'order per key'
  | 'redelivery'
  | 'duplicates'
  | 'reorder across keys'
  | 'batch sizes'
  | 'large bodies'
  | 'broker restart'
  | 'connection loss'
  | 'slow consumer'
  | 'shutdown drain'
  | 'two consumers'
  | 'hand-over'
  | 'replies'
  | 'bounds'

/** One thing to be tested. `run` rejects with what is wrong; it may take up to two minutes on a busy machine. */
export interface ConformanceCase {
  readonly name: string
  readonly topic: ConformanceTopic
  /** Why it says nothing here, in one sentence; then `run` does nothing. Left out: it is to be run. */
  readonly saysNothing?: string
  run(): Promise<void>
}

/** `start` and `defineApp` of `twofold`: the suite runs the very program that its user has. */
export interface Entry {
  readonly start: (app: never, options?: never) => Promise<Instance>
  readonly defineApp: (name: string, components: never) => unknown
}

/** A started app, as far as the suite uses it. */
export interface Instance {
  readonly url: string
  stop(): Promise<void>
}

/** What the suite is given, anew for each case. */
export interface ConformanceGround {
  /** An empty PostgreSQL database. */
  readonly url: string
  /** What `start` is told to use the carrier; by way of something that `cut` can cut. */
  readonly options: Readonly<Record<string, unknown>>
  /** The carrier itself; undefined for PostgreSQL's log, which is none: what a case asks of the port is asked of the log there. */
  readonly carrier: Carrier | undefined
  /** A name that no other case uses at the broker. */
  readonly app: string
  /** Takes the broker (for PostgreSQL's log: the database) away, and brings it back. */
  cut(): Promise<void>
  restore(): Promise<void>
  /** Removes what the case has left. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The broker itself (for PostgreSQL's log: the database server), as something that ends and starts again with what it had stored. */
export interface ConformanceBroker {
  /** In order, or as a crash does it. */
  end(how: 'in order' | 'killed'): Promise<void>
  /** Resolves once it answers. */
  start(): Promise<void>
}

/** What is tested. */
export interface ConformanceSubject {
  /** The carrier's features, or those of PostgreSQL's log. */
  readonly features: CarrierFeatures | CommandLogFeatures
  /** Left out: it cannot be restarted from here, which the cases that would do so say. */
  readonly broker?: ConformanceBroker | undefined
  /** Makes what one case is run on. */
  readonly ground: () => Promise<ConformanceGround>
}

/** The cases. `entry`: `start` and `defineApp` of `twofold`. */
export function carrierConformance(entry: Entry, subject: ConformanceSubject): readonly ConformanceCase[] {
  return [...appCases, ...lossCases, ...portCases, ...openingCases].map(({ name, topic, check, saysNothing }) => {
    const reason = saysNothing?.(subject)
    return {
      name,
      topic,
      ...(reason !== undefined && { saysNothing: reason }),
      async run() {
        if (reason !== undefined) return
        await using ground = await subject.ground()
        await check(ground, entry, subject.broker)
      },
    }
  })
}
