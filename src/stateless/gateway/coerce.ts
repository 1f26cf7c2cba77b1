// Path and query strings carry text only: it becomes what the input's JSON Schema asks for. Text that is no such thing stays
// text, so that the validator names the fault.
import type { JsonSchema } from '../../contract/schema.ts'
import { shapesOf, type Shape } from '../../contract/schema-shapes.ts'

/** Makes the value of the field `name` out of what stood in the path or query string. */
type Coerce = (name: string, given: string | readonly string[]) => unknown

/** What a field takes. Text wins where it is among them: `"12"` given for a string or a number is the string. */
interface Accepted {
  readonly text: boolean
  readonly number: boolean
  readonly boolean: boolean
  readonly null: boolean
  /** What the items take, where it takes a list. */
  readonly list: Accepted | undefined
}

/** Compiles the coercion for the fields of an input. */
export function compileCoercion(schema: JsonSchema): Coerce {
  const schemas = new Map<string, JsonSchema[]>()
  for (const { object } of shapesOf(schema, schema)) {
    for (const [name, field] of object?.properties ?? []) schemas.set(name, [...(schemas.get(name) ?? []), field])
  }
  const fields = new Map([...schemas].map(([name, anyOf]) => [name, acceptedBy({ anyOf }, schema)]))
  return (name, given) => {
    const accepted = fields.get(name)
    if (accepted === undefined) return given
    if (typeof given !== 'string') return accepted.list ? listOf(given, accepted.list) : given
    if (accepted.list && !accepted.text && !accepted.number && !accepted.boolean) return listOf([given], accepted.list)
    return scalarOf(given, accepted)
  }
}

function listOf(given: readonly string[], items: Accepted): unknown[] {
  return given.map((text) => scalarOf(text, items))
}

function scalarOf(text: string, accepted: Accepted): unknown {
  if (accepted.text) return text
  if (accepted.number && /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) {
    const number = Number(text)
    // A number that would change by being read is refused, not rounded.
    if (Number.isFinite(number) && (!Number.isInteger(number) || Number.isSafeInteger(number))) return number
  }
  if (accepted.boolean && (text === 'true' || text === 'false')) return text === 'true'
  if (accepted.null && text === 'null') return null
  return text
}

function acceptedBy(schema: JsonSchema, root: JsonSchema, deep = false): Accepted {
  const shapes = shapesOf(schema, root)
  const items = deep ? [] : shapes.flatMap(({ list }) => (list ? [...list.prefix, list.items ?? {}] : []))
  const takes = (type: string): boolean => shapes.some((shape) => typesOf(shape).includes(type))
  return {
    // A schema that says nothing about types takes the text as it is.
    text: takes('string') || shapes.some((shape) => typesOf(shape).length === 0),
    number: takes('number') || takes('integer'),
    boolean: takes('boolean'),
    null: takes('null'),
    list: items.length > 0 ? acceptedBy({ anyOf: items }, root, true) : undefined,
  }
}

function typesOf({ types, literals }: Shape): readonly string[] {
  return types ?? literals?.map((literal) => (literal === null ? 'null' : typeof literal)) ?? []
}
