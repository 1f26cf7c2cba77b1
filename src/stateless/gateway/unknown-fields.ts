// Unknown fields are refused: validators silently drop them, so a misspelt optional field would be lost without a word.
// The JSON Schema of the input is compiled once to closures; an absent `additionalProperties` means that there are none.
import { pointerSegment, type Fault, type JsonSchema } from '../../contract/schema.ts'
import { nestFaults } from './nested-faults.ts'
import { shapesOf, type ListShape, type ObjectShape, type Shape } from '../../contract/schema-shapes.ts'

/** Adds a fault for every field of `value` that the schema does not know. Pointers begin at `value`. */
type UnknownFields = (value: unknown, faults: Fault[]) => void

/** Compiles the walk; undefined where nothing could be unknown. */
export function compileUnknownFields(schema: JsonSchema): UnknownFields | undefined {
  return new Compiler(schema).walk(schema)
}

class Compiler {
  readonly #root: JsonSchema
  /** Walks by schema; one under compilation is reached through a closure that looks again when it runs: schemas may be recursive. */
  readonly #walks = new Map<JsonSchema, { walk: UnknownFields | undefined; ready: boolean }>()

  constructor(root: JsonSchema) {
    this.#root = root
  }

  walk(schema: JsonSchema): UnknownFields | undefined {
    const known = this.#walks.get(schema)
    if (known?.ready) return known.walk
    if (known) return (value, faults) => known.walk?.(value, faults)
    const slot: { walk: UnknownFields | undefined; ready: boolean } = { walk: undefined, ready: false }
    this.#walks.set(schema, slot)
    const shapes = shapesOf(schema, this.#root).map((shape) => ({ fits: fitting(shape, this.#root), walk: this.#ofShape(shape) }))
    const only = shapes.length === 1 ? shapes[0] : undefined
    slot.walk = only ? only.walk : shapes.some(({ walk }) => walk) ? closest(shapes) : undefined
    slot.ready = true
    return slot.walk
  }

  #ofShape({ object, list }: Shape): UnknownFields | undefined {
    const ofObject = object && this.#ofObject(object)
    const ofList = list && this.#ofList(list)
    if (ofObject && ofList) return (value, faults) => (Array.isArray(value) ? ofList : ofObject)(value, faults)
    return ofObject ?? ofList
  }

  #ofObject({ properties, patterns, rest }: ObjectShape): UnknownFields | undefined {
    const fields = new Map([...properties].map(([name, schema]) => [name, this.walk(schema)]))
    const matched = patterns.map(({ pattern, schema }) => ({ pattern, walk: this.walk(schema) }))
    const others = typeof rest === 'object' ? this.walk(rest) : undefined
    const deep = others !== undefined || [...fields.values(), ...matched.map(({ walk }) => walk)].some((walk) => walk)
    if (rest !== false && !deep) return undefined
    const names = [...fields.keys()].slice(0, 20).join(', ')
    const message = names === '' ? 'unknown field; there are none here' : `unknown field; known here: ${names}`
    return (value, faults) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return
      for (const name in value) {
        let walk = fields.get(name)
        if (walk === undefined) {
          if (fields.has(name)) continue
          const match = matched.find(({ pattern }) => pattern.test(name))
          if (match === undefined && rest === false) faults.push({ path: `/${pointerSegment(name)}`, message })
          walk = match ? match.walk : others
        }
        if (walk !== undefined) inside(name, walk, (value as Record<string, unknown>)[name], faults)
      }
    }
  }

  #ofList({ prefix, items }: ListShape): UnknownFields | undefined {
    const first = prefix.map((schema) => this.walk(schema))
    const others = items && this.walk(items)
    if (others === undefined && !first.some((walk) => walk)) return undefined
    return (value, faults) => {
      if (!Array.isArray(value)) return
      for (let at = 0; at < value.length; at += 1) {
        const walk = at < first.length ? first[at] : others
        if (walk !== undefined) inside(at, walk, value[at], faults)
      }
    }
  }
}

function inside(name: string | number, walk: UnknownFields, value: unknown, faults: Fault[]): void {
  const before = faults.length
  walk(value, faults)
  if (faults.length > before) nestFaults(faults, before, name)
}

/** Of several shapes the one that fits and knows most fields speaks; where none fits, the validator says what is wrong. */
function closest(shapes: readonly { fits: (value: unknown) => boolean; walk: UnknownFields | undefined }[]): UnknownFields {
  return (value, faults) => {
    let fewest: Fault[] | undefined
    for (const { fits, walk } of shapes) {
      if (!fits(value)) continue
      const found: Fault[] = []
      walk?.(value, found)
      if (found.length === 0) return
      if (fewest === undefined || found.length < fewest.length) fewest = found
    }
    if (fewest) faults.push(...fewest)
  }
}

/** Whether a value may be meant to have this shape: by its type, and by fields that hold a constant (`kind: 'card'`). */
function fitting({ types, literals, object }: Shape, root: JsonSchema): (value: unknown) => boolean {
  const constants = [...(object?.properties ?? [])].flatMap(([name, schema]) => {
    const options = shapesOf(schema, root)
    return options.length > 0 && options.every((option) => option.literals)
      ? [{ name, values: options.flatMap((option) => option.literals ?? []) }]
      : []
  })
  return (value) => {
    if (literals && !literals.includes(value)) return false
    const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
    if (types && !types.includes(type) && !(type === 'number' && types.includes('integer'))) return false
    if (type !== 'object') return true
    return constants.every(({ name, values }) => !(name in (value as object)) || values.includes((value as Record<string, unknown>)[name]))
  }
}
