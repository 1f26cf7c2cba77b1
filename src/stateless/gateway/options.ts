// What the gateway is made of and how much it takes; resolved once.
import type { FastifyRequest } from 'fastify'
import type { AnyContract } from '../../contract/define-contract.ts'
import { TwofoldError } from '../../errors.ts'
import type { Admission } from '../../ports/admission.ts'
import type { CommandIds } from '../../ports/command-ids.ts'
import type { CommandLog } from '../../ports/command-log.ts'
import type { Database } from '../../ports/database.ts'
import type { DirectCarrier } from '../../ports/direct-carrier.ts'
import type { Entities } from '../../ports/entities.ts'
import type { Outcomes } from '../../ports/outcomes.ts'
import type { ProjectionProgress } from '../../ports/projections.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { AnyStateless, Principal } from '../stateless.ts'

/** What the gateway needs from outside. `direct` is undefined where no owner can be called from here. */
export interface GatewayPorts {
  readonly log: CommandLog
  readonly direct: DirectCarrier | undefined
  readonly outcomes: Outcomes
  readonly entities: Entities
  readonly database: Database
  readonly ids: CommandIds
  readonly progress: ProjectionProgress
  /** Refuses commands that would be too much; left out: none is refused. */
  readonly admission?: Admission | undefined
}

/** How much the gateway takes. */
export interface GatewayLimits {
  /** The longest body, in bytes; longer ones are answered 413. Default 1,048,576. */
  readonly bodyBytes: number
  /** The most requests in hand at once; more are answered 503. Default 10,000. */
  readonly inFlight: number
  /** How long a `result` command is waited for before it is answered 202, in milliseconds. Default 10,000. */
  readonly waitMs: number
  /** The longest wait a client may ask for by `Prefer: wait=N` or `?wait=N`, in milliseconds; more is cut to it. Default 60,000. */
  readonly waitMsMax: number
  /** How long a query waits for read models to reach a consistency token, in milliseconds. Default 5,000. */
  readonly caughtUpMs: number
}

/** The limits unless told otherwise. */
const gatewayLimits: GatewayLimits = {
  bodyBytes: 1_048_576,
  inFlight: 10_000,
  waitMs: 10_000,
  waitMsMax: 60_000,
  caughtUpMs: 5_000,
}

/** What a gateway is made from. */
export interface GatewayOptions {
  /** The services that can be called here. */
  readonly contracts: readonly AnyContract[]
  /** The stateless sides of those services; one is needed where the contract has queries or optimistic answers. */
  readonly sides: readonly AnyStateless[]
  /** Services whose state has no versions: conditional requests of their commands are refused. Default: none. */
  readonly withoutVersions?: ReadonlySet<string> | undefined
  readonly ports: GatewayPorts
  readonly limits?: Partial<GatewayLimits> | undefined
  /** Makes the OpenAPI document, which is then served as `/openapi.json`. Called once, when it is first asked for. */
  readonly openapi?: (() => object) | undefined
  /** Says who is asking; undefined: unknown. What it throws is answered like an error of a check. */
  readonly principal?: ((request: FastifyRequest) => Principal | undefined | Promise<Principal | undefined>) | undefined
  /** False while this instance takes no new commands, because it stops: they are answered 503. Default: always true. */
  readonly accepting?: (() => boolean) | undefined
  /** Ends all waiting when aborted: who waits for an outcome is answered 202 at once. Closing the server does so too. */
  readonly stopping?: AbortSignal | undefined
  /**
   * Whether unknown paths (404) and methods (405) of the scope are answered here. Default: true under a prefix; false without
   * one, because there they are the host's. A server of our own sets it to true.
   */
  readonly unknownPaths?: boolean | undefined
  /** For tests: where this process is to be disturbed. */
  readonly crash?: CrashPoints | undefined
}

/** The given limits over the defaults. @throws TwofoldError INVALID_OPTIONS naming every limit that is no positive whole number. */
export function resolveLimits(given: Partial<GatewayLimits> = {}): GatewayLimits {
  const limits = { ...gatewayLimits, ...given }
  const faults = Object.entries(limits).filter(([, value]) => !Number.isSafeInteger(value) || value < 1)
  if (faults.length === 0) return limits
  const listed = faults.map(([name, value]) => `${name} is ${value}`).join(', ')
  throw new TwofoldError('INVALID_OPTIONS', `limits of the gateway must be whole numbers from 1: ${listed}`)
}
