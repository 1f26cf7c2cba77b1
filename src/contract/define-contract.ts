// A contract: everything that can be said to a service. Both sides, clients and documents are made from it.
import type { AnyCommand } from './command.ts'
import type { AnyEvent, Event } from './event.ts'
import type { AnyQuery } from './query.ts'
import { routeFault, routeOf } from './route.ts'
import { jsonSchemaOf, type JsonSchema } from './schema.ts'
import { shapesOf } from './schema-shapes.ts'

/** The three groups of a contract. */
export interface ContractParts {
  commands: Record<string, AnyCommand>
  queries: Record<string, AnyQuery>
  events: Record<string, AnyEvent>
}

/** A service's name with its commands, queries and events. */
export interface Contract<Name extends string, Parts extends ContractParts> {
  readonly name: Name
  /** How long the outcomes of its commands and their Idempotency-Keys are kept, in hours from when a command finished. */
  readonly retentionHours: number
  readonly commands: Parts['commands']
  readonly queries: Parts['queries']
  readonly events: Parts['events']
}

/** Any contract. */
export type AnyContract = Contract<string, ContractParts>

/** The record of types behind a command or query. */
export type TypesOf<Part> = Part extends { readonly '~types'?: infer T } ? NonNullable<T> : never

/** The data of an event's newest shape. */
export type DataOf<E> = E extends Event<infer Data> ? Data : never

/**
 * Names a service and says what it understands. `name` is the wire name: lower-case letters, digits and dashes.
 * @throws Error with one sentence per fault found (names, routes, rejections, queries that a query string cannot carry).
 */
export function defineContract<
  const Name extends string,
  Commands extends Record<string, AnyCommand>,
  // oxlint-disable-next-line typescript/no-empty-object-type -- "no queries" is exactly the empty object
  Queries extends Record<string, AnyQuery> = {},
  // oxlint-disable-next-line typescript/no-empty-object-type -- "no events" is exactly the empty object
  Events extends Record<string, AnyEvent> = {},
>(
  name: Name,
  parts: {
    commands: Commands
    queries?: Queries & { [N in keyof Queries & keyof Commands]: `'${N & string}' is a command already` }
    events?: Events
    /**
     * How long a repeated request still gets its first answer, and an outcome can be asked for: in hours from when the command finished,
     * 24 to 8784. Each outcome takes about 100 bytes of disk, and its reply, for so long. Default 24.
     */
    retentionHours?: number
  },
): Contract<Name, { commands: Commands; queries: Queries; events: Events }> {
  const contract = {
    name,
    retentionHours: parts.retentionHours ?? RETENTION_HOURS_MIN,
    commands: named(name, parts.commands),
    queries: named(name, parts.queries ?? {}),
    events: named(name, parts.events ?? {}),
  }
  const faults = faultsOf(contract as unknown as AnyContract)
  if (faults.length > 0) throw new Error(`contract '${name}': ${faults.join('; ')}`)
  return contract as never
}

function named(service: string, group: Record<string, object>): Record<string, object> {
  return Object.fromEntries(Object.entries(group).map(([name, part]) => [name, { ...part, service, name }]))
}

const RETENTION_HOURS_MIN = 24

/** A year, whichever it is. */
const RETENTION_HOURS_MAX = 8784

/** Also of rejection codes: in camelCase none can be taken for the code of an error. */
const NAME = /^[a-z][A-Za-z0-9]{0,62}$/

function faultsOf(contract: AnyContract): string[] {
  const faults: string[] = []
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(contract.name)) faults.push('a service is named by lower-case letters, digits and dashes, at most 63')
  const { retentionHours: hours } = contract
  if (!Number.isInteger(hours) || hours < RETENTION_HOURS_MIN || hours > RETENTION_HOURS_MAX)
    faults.push(`retentionHours is ${hours}; it must be a whole number from ${RETENTION_HOURS_MIN} to ${RETENTION_HOURS_MAX}`)
  const callable = [...Object.values(contract.commands), ...Object.values(contract.queries)]
  const routes = new Map<string, string>()
  for (const part of [...callable, ...Object.values(contract.events)]) {
    if (!NAME.test(part.name)) faults.push(`'${part.name}' is not a name in camelCase of at most 63 letters and digits`)
    // An object with a method `then` is a thenable: awaiting a client that has one would call it and hang.
    if (part.name === 'then') faults.push("nothing can be called 'then'")
  }
  for (const name of Object.keys(contract.queries)) {
    if (Object.hasOwn(contract.commands, name)) faults.push(`'${name}' is a command already; give the query another name`)
  }
  for (const part of callable) {
    const fault = routeFault(part)
    if (fault !== undefined) faults.push(fault)
    const { method, path } = routeOf(part)
    const shape = `${method} ${path.replaceAll(/:\w+/g, ':')}`
    const taken = routes.get(shape)
    if (taken !== undefined) faults.push(`'${part.name}' and '${taken}' have the same route ${method} ${path}`)
    routes.set(shape, part.name)
    if (part.kind === 'query') faults.push(...nestedFields(part))
  }
  for (const command of Object.values(contract.commands)) {
    faults.push(...retryFaults(command))
    for (const [code, { status }] of Object.entries(command.rejections)) {
      if (!NAME.test(code))
        faults.push(`rejection '${code}' of '${command.name}' is not a name in camelCase of at most 63 letters and digits`)
      if (!Number.isInteger(status) || status < 400 || status > 499)
        faults.push(`rejection '${code}' of '${command.name}' has status ${status}; a rejection is 400 to 499`)
    }
  }
  return faults
}

const DAY_MS = 86_400_000

function retryFaults({ name, retry: { attempts, minMs, maxMs, deadlineMs } }: AnyCommand): string[] {
  const range = (field: string, value: number, min: number, max: number): string[] =>
    Number.isInteger(value) && value >= min && value <= max
      ? []
      : [`retry.${field} of '${name}' is ${value}; it must be a whole number from ${min} to ${max}`]
  return [
    ...range('attempts', attempts, 1, 1000),
    ...range('minMs', minMs, 0, DAY_MS),
    ...range('maxMs', maxMs, minMs, DAY_MS),
    ...(deadlineMs === false ? [] : range('deadlineMs', deadlineMs, 1, DAY_MS)),
  ]
}

function nestedFields(query: AnyQuery): string[] {
  const input = jsonSchemaOf(query.input, 'input')
  const fields = shapesOf(input, input).flatMap(({ object }) => [...(object?.properties ?? [])])
  const nested = new Set(fields.filter(([, field]) => isNested(field, input)).map(([name]) => name))
  return [...nested].map(
    (field) => `field '${field}' of query '${query.name}' is nested; a query string carries scalars and lists of scalars`,
  )
}

/** Whether a value of this schema may be an object, or a list of anything but scalars. */
function isNested(field: JsonSchema, root: JsonSchema): boolean {
  return shapesOf(field, root).some(({ object, list }) => {
    const items = list ? [...list.prefix, ...(list.items ? [list.items] : [])] : []
    return object !== undefined || items.some((item) => shapesOf(item, root).some((shape) => shape.object ?? shape.list))
  })
}
