// Routes as one string, `POST /wallets/:walletId/deposits`: checked against the input by the compiler and
// again by `defineContract`.
import type { AnyCommand } from './command.ts'
import type { AnyQuery } from './query.ts'
import { jsonSchemaOf } from './schema.ts'
import { shapesOf, type ObjectShape } from './schema-shapes.ts'

type Params<R extends string> = R extends `${string}:${infer P}/${infer Rest}`
  ? P | Params<`/${Rest}`>
  : R extends `${string}:${infer P}`
    ? P
    : never

/** `R` where it is a route whose parameters are fields of `In`; otherwise the sentence the compiler prints. */
export type RouteOf<Method extends string, R extends string, In> = R extends `${Method} /${string}`
  ? Exclude<Params<R>, keyof In & string> extends never
    ? R
    : `route parameter :${Exclude<Params<R>, keyof In & string>} is not a field of the input`
  : 'POST' extends Method
    ? "a command's route reads 'POST /path/:field' (or PUT, PATCH, DELETE)"
    : "a query's route reads 'GET /path/:field'"

/** A route taken apart: `path` keeps its `:parameters`, which `parameters` lists in order. */
export interface Route {
  readonly method: string
  readonly path: string
  readonly parameters: readonly string[]
}

/** A whole segment is a parameter, or text that stands in a URL as it is; `.` and `..` are taken out of paths by whoever sends them. */
const SEGMENT = /^(?::\w+|(?!\.{1,2}$)[\w.~-]+)$/

/** The route of a command or query; by default `POST /<service>/<command-in-kebab>` and `GET /<service>/<query-in-kebab>`. */
export function routeOf(part: AnyCommand | AnyQuery): Route {
  const route = part.route ?? `${part.kind === 'query' ? 'GET' : 'POST'} /${part.service}/${kebab(part.name)}`
  const [method = '', path = ''] = route.split(' ')
  return { method, path, parameters: [...path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? '') }
}

/** What is wrong with the route that was given, in one sentence; undefined where nothing is. */
export function routeFault(part: AnyCommand | AnyQuery): string | undefined {
  if (part.route === undefined) return undefined
  const route = `the route '${part.route}' of ${part.kind} '${part.name}'`
  const [form, words] =
    part.kind === 'query'
      ? [/^GET \/\S*$/, "'GET /path/:field'"]
      : [/^(?:POST|PUT|PATCH|DELETE) \/\S*$/, "'POST /path/:field' (or PUT, PATCH, DELETE)"]
  if (!form.test(part.route)) return `${route} must read ${words}, with one space`
  const { path, parameters } = routeOf(part)
  const segment = path
    .replace(/^\/|\/$/g, '')
    .split('/')
    .find((each) => !SEGMENT.test(each))
  if (path !== '/' && segment !== undefined)
    return `${route} has the segment '${segment}'; a segment is ':field', or letters, digits and any of - _ . ~ (not '.' and '..')`
  const twice = parameters.find((name, at) => parameters.indexOf(name) !== at)
  if (twice !== undefined) return `${route} has the parameter ':${twice}' twice; each takes a field of its own`
  const inputs = objectsOf(part)
  const stray = parameters.find((name) => !inputs.every((input) => hasField(input, name)))
  const input = inputs.length > 1 ? 'every alternative of its input' : 'its input'
  return stray === undefined ? undefined : `${route} has the parameter ':${stray}', which is not a field of ${input}`
}

/** What its JSON schema says about the object that the input is: several where it is a union, none where it says nothing. */
function objectsOf(part: AnyCommand | AnyQuery): readonly ObjectShape[] {
  const input = jsonSchemaOf(part.input, 'input')
  return shapesOf(input, input).flatMap(({ object }) => object ?? [])
}

function hasField({ properties, patterns, rest }: ObjectShape, name: string): boolean {
  return rest !== false || properties.has(name) || patterns.some(({ pattern }) => pattern.test(name))
}

/** A camelCase name as it stands in a URL: `cancelOrder` → `cancel-order`. */
export function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
