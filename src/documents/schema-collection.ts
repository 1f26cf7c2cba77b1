// The schemas of a document under `components/schemas`. Definitions inside a schema are local to it until they are given a name here.
import type { JsonSchema } from '../contract/schema.ts'
import { resolveReference } from '../contract/schema-shapes.ts'
import { refTo } from './parts.ts'

export class SchemaCollection {
  readonly #schemas: Record<string, object>

  constructor(own: Readonly<Record<string, object>>) {
    this.#schemas = { ...own }
  }

  get all(): Readonly<Record<string, object>> {
    return this.#schemas
  }

  /** Stores a schema under a name, its definitions beside it, and returns a reference to it. */
  add(name: string, schema: JsonSchema): object {
    const { $defs, ...rest } = schema
    for (const [local, definition] of Object.entries($defs ?? {}))
      this.#schemas[`${name}.${keyOf(local)}`] = rebased(definition, name) as object
    this.#schemas[name] = rebased(rest, name) as object
    return refTo(name)
  }

  /** A schema that stands where it is used; what it refers to in `root` is put in its place, as parameters have no definitions. */
  inline(schema: JsonSchema, root: JsonSchema): object {
    return inlined(schema, root, []) as object
  }
}

/** What refers to itself ends where it does so: a path or a query string carries nothing of the kind. */
function inlined(value: unknown, root: JsonSchema, open: readonly string[]): unknown {
  if (Array.isArray(value)) return value.map((each) => inlined(each, root, open))
  if (typeof value !== 'object' || value === null) return value
  const { $ref, ...others } = value as JsonSchema
  const target = typeof $ref === 'string' && !open.includes($ref) ? inlined(resolveReference($ref, root), root, [...open, $ref]) : {}
  return { ...(target as object), ...Object.fromEntries(Object.entries(others).map(([key, each]) => [key, inlined(each, root, open)])) }
}

/** Points references that were local to the schema at where its definitions are now. */
function rebased(value: unknown, name: string): unknown {
  if (Array.isArray(value)) return value.map((each) => rebased(each, name))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => {
      if (key !== '$ref' || typeof each !== 'string') return [key, rebased(each, name)]
      if (each === '#') return [key, refTo(name).$ref]
      return [key, each.startsWith('#/$defs/') ? refTo(`${name}.${keyOf(each.slice('#/$defs/'.length))}`).$ref : each]
    }),
  )
}

/** Component names are letters, digits, dots, dashes and underscores (OpenAPI 3.1, §4.8.7.1). */
function keyOf(local: string): string {
  return local.replaceAll(/[^\w.-]/g, '_')
}
