// An app: a flat list of components. Everything that does not fit together is told at once, before anything is opened.
import { routeOf } from '../contract/route.ts'
import type { AnyContract } from '../contract/define-contract.ts'
import type { AnyEntity } from '../contract/entity.ts'
import { TwofoldError } from '../errors.ts'
import type { AnyStatefulSql } from '../stateful/stateful-sql.ts'
import type { AnyStateful } from '../stateful/stateful.ts'
import type { AnyStateless } from '../stateless/stateless.ts'
import type { Projection } from '../subscribers/projection.ts'
import type { Reactor } from '../subscribers/reactor.ts'

/** What an app is made of: sides and subscribers. */
export type Component =
  | { readonly side: 'stateful'; readonly contract: AnyContract; readonly entity: AnyEntity; readonly handlers: object }
  | { readonly side: 'stateful-sql'; readonly contract: AnyContract; readonly handlers: object }
  | { readonly side: 'stateless'; readonly contract: AnyContract; readonly spec: object }
  | Projection
  | Reactor

/** A request worth trying first; `run` prints it as a `curl` line. */
export interface ExampleRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly body?: unknown
}

/** An app, checked and sorted. */
export interface App {
  readonly name: string
  readonly contracts: readonly AnyContract[]
  readonly stateful: readonly AnyStateful[]
  readonly statefulSql: readonly AnyStatefulSql[]
  readonly stateless: readonly AnyStateless[]
  readonly projections: readonly Projection[]
  readonly reactors: readonly Reactor[]
  readonly examples: readonly ExampleRequest[]
}

/**
 * Puts components together. Opens nothing: that is what `start` and `run` do.
 * @throws TwofoldError INVALID_APP with one sentence per fault.
 */
export function defineApp(name: string, components: readonly Component[], options: { examples?: readonly ExampleRequest[] } = {}): App {
  const app: App = {
    name,
    contracts: [...new Set(components.flatMap((component) => ('contract' in component ? [component.contract] : [])))],
    stateful: components.filter((component) => component.side === 'stateful') as AnyStateful[],
    statefulSql: components.filter((component) => component.side === 'stateful-sql') as AnyStatefulSql[],
    stateless: components.filter((component) => component.side === 'stateless') as AnyStateless[],
    projections: components.filter((component) => component.side === 'projection'),
    reactors: components.filter((component) => component.side === 'reactor'),
    examples: options.examples ?? [],
  }
  const faults = faultsOf(app)
  if (faults.length > 0) throw new TwofoldError('INVALID_APP', `app '${name}' cannot start: ${faults.join('; ')}`)
  return app
}

/** Its services whose state lies in tables of their own, whose rows have no versions. */
export function withoutVersions(app: App): ReadonlySet<string> {
  return new Set(app.statefulSql.map(({ contract }) => contract.name))
}

function faultsOf(app: App): string[] {
  const named = /^[a-z][a-z0-9-]{0,62}$/.test(app.name) ? [] : ['its name must be lower-case letters, digits and dashes, at most 63']
  return [
    ...named,
    ...twice(app.contracts.map((contract) => contract.name)).map((name) => `there are two contracts named '${name}'`),
    ...twice([...app.stateful, ...app.statefulSql].map((side) => side.contract.name)).map(
      (name) => `service '${name}' has two stateful sides`,
    ),
    ...twice(app.stateless.map((side) => side.contract.name)).map((name) => `service '${name}' has two stateless sides`),
    ...twice([...app.projections, ...app.reactors].map((subscriber) => subscriber.name)).map(
      (name) => `there are two subscribers named '${name}'`,
    ),
    ...app.contracts.flatMap((contract) => sideFaults(app, contract)),
    ...routeFaults(app.contracts),
    ...[...app.projections, ...app.reactors].flatMap((subscriber) => sourceFaults(app, subscriber)),
  ]
}

function sideFaults(app: App, contract: AnyContract): string[] {
  const stateful = [...app.stateful, ...app.statefulSql].find((side) => side.contract === contract)
  const stateless = app.stateless.find((side) => side.contract === contract)
  const faults: string[] = []
  if (stateful === undefined)
    faults.push(
      `service '${contract.name}' has no stateful side: add stateful(${contract.name}, …) or statefulSql(${contract.name}, …) to the app`,
    )
  for (const name of Object.keys(contract.commands)) {
    if (stateful && typeof stateful.handlers[name] !== 'function') faults.push(`command ${contract.name}.${name} has no handler`)
    if (stateful?.side === 'stateful-sql' && contract.commands[name]?.ifMatch === 'required')
      faults.push(
        `command ${contract.name}.${name} demands If-Match, but rows of tables of your own have no versions: compare a column of yours`,
      )
    const needsAnswer = contract.commands[name]?.optimistic !== undefined
    if (needsAnswer && !stateless?.spec.optimistic?.[name])
      faults.push(`command ${contract.name}.${name} declares an optimistic answer that nobody makes`)
  }
  for (const name of Object.keys(contract.queries)) {
    if (!stateless?.spec.queries?.[name])
      faults.push(`query ${contract.name}.${name} has no handler: add it to stateless(${contract.name}, …)`)
  }
  return faults
}

function routeFaults(contracts: readonly AnyContract[]): string[] {
  const routes = contracts.flatMap((contract) =>
    [...Object.values(contract.commands), ...Object.values(contract.queries)].map((part) => {
      const { method, path } = routeOf(part)
      return { shape: `${method} ${path.replaceAll(/:\w+/g, ':')}`, part: `${part.service}.${part.name}`, path }
    }),
  )
  const reserved = new Set(['GET /commands/:', 'GET /openapi.json', 'GET /livez', 'GET /readyz'])
  return [
    ...routes.filter(({ shape }) => reserved.has(shape)).map(({ part, path }) => `${part} takes the route ${path}, which is Twofold's own`),
    ...twice(routes.map((route) => route.shape)).map((shape) => {
      const parts = routes.filter((route) => route.shape === shape).map((route) => route.part)
      return `${parts.join(' and ')} have the same route ${shape}`
    }),
  ]
}

function sourceFaults(app: App, subscriber: Projection | Reactor): string[] {
  return Object.values(subscriber.from)
    .filter((contract) => !app.contracts.includes(contract))
    .map((contract) => `${subscriber.side} '${subscriber.name}' listens to service '${contract.name}', which is not in this app`)
}

function twice(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, at) => names.indexOf(name) !== at))]
}
