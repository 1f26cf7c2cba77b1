// A query asks and changes nothing. It is answered by the stateless side.
import type { Plain } from './plain.ts'
import type { RouteOf } from './route.ts'
import type { Schema } from './schema.ts'

/** The types of a query as one record. */
export interface QueryTypes {
  input: unknown
  parsed: unknown
  output: unknown
}

/** A query as the rest of Twofold sees it. `service` and `name` are filled in by `defineContract`. */
export interface Query<T extends QueryTypes> {
  readonly kind: 'query'
  readonly service: string
  readonly name: string
  readonly route: string | undefined
  readonly input: Schema<T['input'], T['parsed']>
  // oxlint-disable-next-line typescript/no-explicit-any -- an inference position
  readonly output: Schema<any, T['output']>
  readonly '~types'?: T
}

/** Any query. */
// oxlint-disable-next-line typescript/no-explicit-any -- the bound of every query
export type AnyQuery = Query<any>

/** Declares a query. Its input comes from the path and the query string, so its fields are scalars or arrays of scalars. */
export function query<In, Out, Output, const R extends string = string>(spec: {
  /** `GET /wallets/:walletId`. Default: `GET /<service>/<query-in-kebab>`. */
  route?: RouteOf<'GET', R, Out>
  input: Schema<In, Out>
  // oxlint-disable-next-line typescript/no-explicit-any -- an inference position
  output: Plain<'output', Output, Schema<any, Output>>
}): Query<{ input: In; parsed: Out; output: Output }> {
  return { route: undefined, ...spec, kind: 'query', service: '', name: '' } as never
}
