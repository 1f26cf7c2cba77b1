// Small pieces that an OpenAPI document is made of.

/** By status. */
export type Responses<Response = object> = Readonly<Record<number, Response>>

export function refTo(schema: string): { readonly $ref: string } {
  return { $ref: `#/components/schemas/${schema}` }
}

export function jsonBody(description: string, schema: object): { readonly description: string; readonly content: object } {
  return { description, content: { 'application/json': { schema } } }
}

/** A problem document (RFC 9457), of any kind unless a schema says more. */
export function problem(description: string, schema: object = refTo('Problem')): object {
  return { description, content: { 'application/problem+json': { schema } } }
}

/** A problem that passes: it says when the request may be sent again. */
export function passingProblem(description: string, schema?: object): object {
  const retryAfter = { description: 'After how many seconds the request may be sent again.', schema: { type: 'integer' } }
  return { ...problem(description, schema), headers: { 'Retry-After': retryAfter } }
}

export function parameter(where: 'path' | 'query', name: string, schema: object, required: boolean): object {
  return { in: where, name, required, schema }
}

/** A request header, optional unless told otherwise. */
export function header(name: string, description: string, required = false): object {
  return { in: 'header', name, required, description, schema: { type: 'string' } }
}
