// The seam to validators: any Standard Schema that can also describe itself as JSON Schema. No validator is imported here.
import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec'

/**
 * A validator that also describes itself: zod 4.2+, arktype 2.2+, valibot through `toStandardJsonSchema`.
 * `In` is what callers send, `Out` what handlers get (defaults filled in, strings trimmed).
 */
export interface Schema<In = unknown, Out = In> {
  readonly '~standard': StandardSchemaV1.Props<In, Out> & StandardJSONSchemaV1.Props<In, Out>
}

/** One fault of an input: `path` is a JSON pointer (RFC 6901), `''` for the whole input. */
export interface Fault {
  readonly path: string
  readonly message: string
}

/** The checked value, or every fault that was found. */
export type Checked = { readonly value: unknown; readonly faults?: never } | { readonly faults: readonly Fault[] }

/**
 * Runs a schema. Asynchronous schemas are refused: the stateful side validates inside a batch, where nothing may wait.
 */
export function check(schema: Schema<never, unknown> | Schema, value: unknown): Checked {
  const result = (schema as Schema)['~standard'].validate(value)
  if (result instanceof Promise) {
    result.catch(() => undefined)
    throw new TypeError('a contract schema answered with a promise; schemas of a contract must be synchronous (move I/O into `checks`)')
  }
  if (result.issues === undefined) return { value: result.value }
  return { faults: result.issues.map((issue) => ({ path: pointer(issue.path ?? []), message: issue.message })) }
}

/** A JSON Schema (draft 2020-12) of what callers send (`input`) or get (`output`). */
export function jsonSchemaOf(schema: Schema<never, unknown> | Schema, side: 'input' | 'output'): JsonSchema {
  const described = (schema as Schema)['~standard'].jsonSchema[side]({ target: 'draft-2020-12' })
  const { $schema: _dialect, ...rest } = described as JsonSchema & { $schema?: string }
  return rest
}

/** The part of JSON Schema that Twofold reads itself; everything else is passed on to documents untouched. */
export interface JsonSchema {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | JsonSchema
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>
  readonly items?: JsonSchema | boolean
  readonly prefixItems?: readonly JsonSchema[]
  readonly anyOf?: readonly JsonSchema[]
  readonly oneOf?: readonly JsonSchema[]
  readonly allOf?: readonly JsonSchema[]
  readonly $ref?: string
  readonly $defs?: Readonly<Record<string, JsonSchema>>
  readonly [keyword: string]: unknown
}

function pointer(path: readonly (PropertyKey | StandardSchemaV1.PathSegment)[]): string {
  return path.map((part) => `/${pointerSegment(String(typeof part === 'object' ? part.key : part))}`).join('')
}

/** One segment of a JSON pointer: `~` and `/` are escaped (RFC 6901 §3). */
export function pointerSegment(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
