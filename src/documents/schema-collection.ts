// The schemas of a document under `components/schemas`. Definitions inside a schema are local to it until they are given a name here.
import type { JsonSchema } from '../contract/schema.ts'
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
    const target = schema.$ref === undefined ? undefined : root.$defs?.[schema.$ref.replace('#/$defs/', '')]
    return target ?? schema
  }
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
