// What every way of carrying commands has to stand, as cases for any test runner: the same names for PostgreSQL's log, RabbitMQ, Kafka and a carrier
// of one's own. What differs is told by `features`, never left out in silence.
import type { Carrier } from '../../ports/carrier.ts'
import { appCases } from './app-cases.ts'
import { portCases } from './port-cases.ts'

/** One thing to be tested. `run` rejects with what is wrong; it may take up to a minute on a busy machine. */
export interface ConformanceCase {
  readonly name: string
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
  /** The carrier itself, for cases of the port; undefined for PostgreSQL's log, which is none. */
  readonly carrier: Carrier | undefined
  /** A name that no other case uses at the broker. */
  readonly app: string
  /** Takes the broker (for PostgreSQL's log: the database) away, and brings it back. */
  cut(): Promise<void>
  restore(): Promise<void>
  /** Removes what the case has left. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The cases. `entry`: `start` and `defineApp` of `twofold`. `ground` makes what one of them is run on. */
export function carrierConformance(entry: Entry, ground: () => Promise<ConformanceGround>): readonly ConformanceCase[] {
  return [...appCases, ...portCases].map(({ name, check }) => ({
    name,
    async run() {
      await using given = await ground()
      await check(given, entry)
    },
  }))
}

/** A case before it has its ground. */
export interface Case {
  readonly name: string
  readonly check: (ground: ConformanceGround, entry: Entry) => Promise<void>
}
