// Small pieces that an OpenAPI document is made of.

export type Responses = Readonly<Record<number, object>>

export function refTo(schema: string): { readonly $ref: string } {
  return { $ref: `#/components/schemas/${schema}` }
}

export function jsonBody(description: string, schema: object): { readonly description: string; readonly content: object } {
  return { description, content: { 'application/json': { schema } } }
}

/** A problem document (RFC 9457). */
export function problem(description: string): object {
  return { description, content: { 'application/problem+json': { schema: refTo('Problem') } } }
}

export function parameter(where: 'path' | 'query', name: string, schema: object, required: boolean): object {
  return { in: where, name, required, schema }
}

/** An optional request header. */
export function header(name: string, description: string): object {
  return { in: 'header', name, required: false, description, schema: { type: 'string' } }
}
