// Routes as one string, `POST /wallets/:walletId/deposits`: checked against the input by the compiler and again at import.

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

/** The route of a command or query; by default `POST /<service>/<command-in-kebab>` and `GET /<service>/<query-in-kebab>`. */
export function routeOf(part: {
  readonly kind: 'command' | 'query'
  readonly service: string
  readonly name: string
  readonly route: string | undefined
}): Route {
  const route = part.route ?? `${part.kind === 'query' ? 'GET' : 'POST'} /${part.service}/${kebab(part.name)}`
  const [method = '', path = ''] = route.split(' ')
  return { method, path, parameters: [...path.matchAll(/:(\w+)/g)].map((match) => match[1] ?? '') }
}

/** Puts the input's fields into the path; returns what is left for the body or the query string. */
export function fillRoute(route: Route, input: Readonly<Record<string, unknown>>): { path: string; rest: Record<string, unknown> } {
  const rest = { ...input }
  const path = route.path.replaceAll(/:(\w+)/g, (_, name: string) => {
    const value = rest[name]
    delete rest[name]
    return encodeURIComponent(String(value))
  })
  return { path, rest }
}

/** A camelCase name as it stands in a URL: `cancelOrder` → `cancel-order`. */
export function kebab(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
