// The input of a command or query as HTTP carries it: fields in the path, and the rest in the body or the query string.
import type { AnyCommand } from '../contract/command.ts'
import type { AnyQuery } from '../contract/query.ts'
import { routeOf } from '../contract/route.ts'
import { jsonSchemaOf, type JsonSchema } from '../contract/schema.ts'
import { resolveReference, shapesOf } from '../contract/schema-shapes.ts'

/** A field that is a parameter by itself. */
export interface InputField {
  readonly name: string
  /** One schema, or `anyOf` several where the input is a union; may refer into the `$defs` of the input. */
  readonly schema: JsonSchema
  /** Whether it is, whatever the other fields are. */
  readonly required: boolean
}

export interface SplitInput {
  /** The whole input: what the schemas of fields refer into. */
  readonly input: JsonSchema
  /** In the order of the route. */
  readonly inPath: readonly InputField[]
  readonly others: readonly InputField[]
  /** The input without the fields in the path, closed against unknown fields. */
  readonly rest: JsonSchema
  /** Whether the rest may hold any field, and whether it always holds one. */
  readonly hasRest: boolean
  readonly restRequired: boolean
}

export function splitInput(part: AnyCommand | AnyQuery): SplitInput {
  const input = jsonSchemaOf(part.input, 'input')
  const { parameters } = routeOf(part)
  const fields = fieldsOf(input)
  const rest = closed(without(input, new Set(parameters), input))
  const hasRest = shapesOf(rest, rest).some(
    ({ object }) => object === undefined || object.properties.size > 0 || object.patterns.length > 0 || object.rest !== false,
  )
  return {
    input,
    inPath: parameters.map((name) => ({ name, schema: fields.get(name) ?? { type: 'string' }, required: true })),
    others: [...fields]
      .filter(([name]) => !parameters.includes(name))
      .map(([name, schema]) => ({ name, schema, required: demands(input, input, (required) => required.includes(name)) })),
    rest,
    hasRest,
    restRequired: demands(rest, rest, (required) => required.length > 0),
  }
}

/** The fields of all kinds of object that the input may be. */
function fieldsOf(input: JsonSchema): ReadonlyMap<string, JsonSchema> {
  const schemas = new Map<string, JsonSchema[]>()
  for (const { object } of shapesOf(input, input)) {
    for (const [name, schema] of object?.properties ?? []) {
      const known = schemas.get(name) ?? []
      if (!known.some((each) => JSON.stringify(each) === JSON.stringify(schema))) schemas.set(name, [...known, schema])
    }
  }
  return new Map([...schemas].map(([name, [first = {}, ...more]]) => [name, more.length === 0 ? first : { anyOf: [first, ...more] }]))
}

/** The schema without these fields, in every alternative. Without the field that told them apart, more than one of them may fit. */
function without(schema: JsonSchema, names: ReadonlySet<string>, root: JsonSchema, open: readonly string[] = []): JsonSchema {
  const { $ref, properties, required, anyOf, oneOf, allOf, ...others } = schema
  if (names.size === 0 || ($ref !== undefined && open.includes($ref))) return schema
  const target = $ref === undefined ? {} : without(resolveReference($ref, root), names, root, [...open, $ref])
  const each = (parts: readonly JsonSchema[]): readonly JsonSchema[] => parts.map((part) => without(part, names, root, open))
  const left = (required ?? []).filter((name) => !names.has(name))
  return {
    ...target,
    ...others,
    ...(properties && { properties: Object.fromEntries(Object.entries(properties).filter(([name]) => !names.has(name))) }),
    ...(left.length > 0 && { required: left }),
    ...(anyOf && { anyOf: each(anyOf) }),
    ...(oneOf && { [anyOf ? 'oneOf' : 'anyOf']: each(oneOf) }),
    ...(allOf && { allOf: each(allOf) }),
  }
}

/** The gateway refuses fields that nothing names. A union is closed around all its parts: they know nothing of each other. */
function closed(schema: JsonSchema): JsonSchema {
  if ((schema.$ref ?? schema.anyOf ?? schema.oneOf ?? schema.allOf) !== undefined) return { unevaluatedProperties: false, ...schema }
  return (schema.type ?? schema.properties) === undefined ? schema : { additionalProperties: false, ...schema }
}

/** Whether `says` holds of what every object of this schema must have. */
function demands(
  schema: JsonSchema,
  root: JsonSchema,
  says: (required: readonly string[]) => boolean,
  open: readonly string[] = [],
): boolean {
  const { $ref, required = [], allOf, anyOf, oneOf } = schema
  const each = (part: JsonSchema): boolean => demands(part, root, says, open)
  if (says(required) || allOf?.some(each) || anyOf?.every(each) || oneOf?.every(each)) return true
  return $ref !== undefined && !open.includes($ref) && demands(resolveReference($ref, root), root, says, [...open, $ref])
}
