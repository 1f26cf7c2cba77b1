// JSON Schema taken apart into the shapes a value may have, `$ref`, `allOf`, `anyOf` and `oneOf` resolved. Done once per route.
import type { JsonSchema } from './schema.ts'

/** One way in which a value may satisfy a schema. */
export interface Shape {
  /** JSON types, `integer` among them; undefined: any. */
  readonly types: readonly string[] | undefined
  /** The values of `const` or `enum`; undefined: not limited to some. */
  readonly literals: readonly unknown[] | undefined
  /** What it says about objects; undefined: nothing, so that every field may stand there. */
  readonly object: ObjectShape | undefined
  /** What it says about the items of a list; undefined: nothing. */
  readonly list: ListShape | undefined
}

export interface ObjectShape {
  readonly properties: ReadonlyMap<string, JsonSchema>
  readonly patterns: readonly { readonly pattern: RegExp; readonly schema: JsonSchema }[]
  /** Fields not named: refused (also where `additionalProperties` is absent), let through, or of this schema. */
  readonly rest: boolean | JsonSchema
}

export interface ListShape {
  readonly prefix: readonly JsonSchema[]
  readonly items: JsonSchema | undefined
}

/** Above this many alternatives they are folded into one that knows the fields of all: unions of unions multiply. */
const SHAPES_MAX = 64

const anything: Shape = { types: undefined, literals: undefined, object: undefined, list: undefined }

/** The shapes of `schema`; `root` is where its `$ref`s point into. None: it only refers to itself. */
export function shapesOf(schema: JsonSchema, root: JsonSchema, open: readonly string[] = []): readonly Shape[] {
  let shapes: readonly Shape[] = [ownShape(schema)]
  const { $ref, allOf, anyOf, oneOf } = schema
  if ($ref !== undefined) {
    if (open.includes($ref)) return []
    shapes = both(shapes, shapesOf(resolveReference($ref, root), root, [...open, $ref]))
  }
  for (const part of allOf ?? []) shapes = both(shapes, shapesOf(part, root, open))
  for (const union of [anyOf, oneOf]) {
    if (union !== undefined)
      shapes = both(
        shapes,
        union.flatMap((part) => shapesOf(part, root, open)),
      )
  }
  return shapes.length > SHAPES_MAX ? [shapes.reduce(merge)] : shapes
}

function ownShape(schema: JsonSchema): Shape {
  const types = typeof schema.type === 'string' ? [schema.type] : schema.type
  const literals = 'const' in schema ? [schema['const']] : (schema['enum'] as readonly unknown[] | undefined)
  const { properties, patternProperties, additionalProperties, items, prefixItems } = schema
  const aboutObjects = types?.includes('object') || (properties ?? patternProperties ?? additionalProperties) !== undefined
  const aboutLists = types?.includes('array') || (items ?? prefixItems) !== undefined
  if (types === undefined && literals === undefined && !aboutObjects && !aboutLists) return anything
  const object = aboutObjects
    ? {
        properties: new Map(Object.entries(properties ?? {})),
        patterns: Object.entries(patternProperties ?? {}).map(([text, part]) => ({ pattern: new RegExp(text, 'u'), schema: part })),
        rest: additionalProperties ?? false,
      }
    : undefined
  const list = aboutLists ? { prefix: prefixItems ?? [], items: typeof items === 'object' ? items : undefined } : undefined
  return { types, literals, object, list }
}

function both(left: readonly Shape[], right: readonly Shape[]): readonly Shape[] {
  return left.flatMap((a) => right.map((b) => merge(a, b)))
}

function merge(a: Shape, b: Shape): Shape {
  if (a === anything) return b
  if (b === anything) return a
  return {
    types: a.types && b.types ? [...new Set([...a.types, ...b.types])] : (a.types ?? b.types),
    literals: a.literals && b.literals ? [...a.literals, ...b.literals] : (a.literals ?? b.literals),
    object: a.object && b.object ? mergeObjects(a.object, b.object) : (a.object ?? b.object),
    list: a.list && b.list ? mergeLists(a.list, b.list) : (a.list ?? b.list),
  }
}

function mergeObjects(a: ObjectShape, b: ObjectShape): ObjectShape {
  const properties = new Map(a.properties)
  for (const [name, schema] of b.properties) {
    const other = properties.get(name)
    properties.set(name, other === undefined ? schema : { allOf: [other, schema] })
  }
  const rest = a.rest === false ? b.rest : b.rest === false || a.rest === true ? a.rest : b.rest
  return { properties, patterns: [...a.patterns, ...b.patterns], rest }
}

function mergeLists(a: ListShape, b: ListShape): ListShape {
  return {
    prefix: [...a.prefix, ...b.prefix.slice(a.prefix.length)],
    items: a.items && b.items ? { allOf: [a.items, b.items] } : (a.items ?? b.items),
  }
}

/** What a `$ref` points at. @throws TypeError where `root` does not hold it. */
export function resolveReference(reference: string, root: JsonSchema): JsonSchema {
  if (reference === '#') return root
  let at: unknown = root
  for (const part of reference.replace(/^#\//, '').split('/')) {
    const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
    at = (at as Record<string, unknown> | undefined)?.[name]
  }
  if (typeof at === 'object' && at !== null) return at as JsonSchema
  throw new TypeError(`the JSON Schema refers to ${reference}, which it does not hold`)
}
