import { toStandardJsonSchema } from '@valibot/to-json-schema'
import * as fc from 'fast-check'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { check, jsonSchemaOf, type Fault, type JsonSchema, type Schema } from '../../contract/schema.ts'
import { compileUnknownFields } from './unknown-fields.ts'

function unknownIn(schema: Schema | JsonSchema, value: unknown): string[] {
  const faults: Fault[] = []
  compileUnknownFields('~standard' in schema ? jsonSchemaOf(schema as Schema, 'input') : schema)?.(value, faults)
  return faults.map(({ path }) => path)
}

interface Tree {
  name: string
  kids?: Tree[] | undefined
}
const zodTree: z.ZodType<Tree> = z.lazy(() => z.object({ name: z.string(), kids: z.array(zodTree).optional() }))
const valibotTree: v.GenericSchema<Tree> = v.object({ name: v.string(), kids: v.optional(v.array(v.lazy(() => valibotTree))) })

// The same shapes in both libraries: what is refused must not depend on which one a team uses.
const shapes: [string, { zod: z.ZodType; valibot: v.GenericSchema }][] = [
  ['flat', { zod: z.object({ a: z.string() }), valibot: v.object({ a: v.string() }) }],
  [
    'nested',
    {
      zod: z.object({ a: z.object({ b: z.object({ c: z.int() }) }).optional() }),
      valibot: v.object({ a: v.optional(v.object({ b: v.object({ c: v.number() }) })) }),
    },
  ],
  [
    'lists',
    {
      zod: z.object({ lines: z.array(z.object({ id: z.string() })) }),
      valibot: v.object({ lines: v.array(v.object({ id: v.string() })) }),
    },
  ],
  [
    'union',
    {
      zod: z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('card'), pan: z.string() }),
        z.object({ kind: z.literal('cash'), till: z.int() }),
      ]),
      valibot: v.variant('kind', [
        v.object({ kind: v.literal('card'), pan: v.string() }),
        v.object({ kind: v.literal('cash'), till: v.number() }),
      ]),
    },
  ],
  [
    'both',
    {
      zod: z.intersection(z.object({ a: z.string() }), z.object({ b: z.object({ c: z.string() }) })),
      valibot: v.intersect([v.object({ a: v.string() }), v.object({ b: v.object({ c: v.string() }) })]),
    },
  ],
  ['record', { zod: z.record(z.string(), z.object({ n: z.int() })), valibot: v.record(v.string(), v.object({ n: v.number() })) }],
  ['tree', { zod: z.object({ tree: zodTree }), valibot: v.object({ tree: valibotTree }) }],
  [
    'nullable',
    { zod: z.object({ a: z.object({ b: z.string() }).nullable() }), valibot: v.object({ a: v.nullable(v.object({ b: v.string() })) }) },
  ],
]
const cases: Record<string, [unknown, string[]][]> = {
  flat: [
    [{ a: 'x' }, []],
    [{ a: 'x', 'b/~': 1, c: 2 }, ['/b~1~0', '/c']],
    [[1], []],
    ['text', []],
  ],
  nested: [
    [{ a: { b: { c: 1 } } }, []],
    [{ a: { b: { c: 1, d: 1 }, e: 1 }, f: 1 }, ['/a/b/d', '/a/e', '/f']],
  ],
  lists: [
    [{ lines: [{ id: 'a' }, { id: 'b', x: 1 }, { y: 1 }] }, ['/lines/1/x', '/lines/2/y']],
    [{ lines: { x: 1 } }, []],
  ],
  union: [
    [{ kind: 'card', pan: '1' }, []],
    [{ kind: 'card', pan: '1', till: 3 }, ['/till']],
    [{ kind: 'cash', pan: '1', till: 3 }, ['/pan']],
    [{ kind: 'other', pan: '1', x: 3 }, []],
  ],
  both: [
    [{ a: '', b: { c: '' } }, []],
    [{ a: '', b: { c: '', d: '' }, e: '' }, ['/b/d', '/e']],
  ],
  record: [[{ x: { n: 1 }, y: { n: 1, m: 2 } }, ['/y/m']]],
  tree: [
    [{ tree: { name: 'a', kids: [{ name: 'b', kids: [{ name: 'c', kids: [] }] }] } }, []],
    [{ tree: { name: 'a', kids: [{ name: 'b', kids: [{ name: 'c', age: 1 }] }] } }, ['/tree/kids/0/kids/0/age']],
  ],
  nullable: [
    [{ a: null }, []],
    [{ a: { b: '', c: '' } }, ['/a/c']],
  ],
}

describe.each(shapes)('%s', (name, { zod, valibot }) => {
  test.each(cases[name] ?? [])('%j has the unknown fields %j', (value, paths) => {
    expect(unknownIn(zod as Schema, value)).toEqual(paths)
    expect(unknownIn(toStandardJsonSchema(valibot as v.GenericSchema<unknown, unknown>) as Schema, value)).toEqual(paths)
  })
})

test('what a schema lets through explicitly is let through', () => {
  expect(unknownIn(z.looseObject({ a: z.string() }), { a: '', b: { c: 1 } })).toEqual([])
  expect(unknownIn(z.object({ any: z.unknown(), json: z.json() }), { any: { x: 1 }, json: { y: [{ z: 1 }] } })).toEqual([])
  expect(unknownIn(z.object({}).catchall(z.object({ n: z.int() })), { x: { n: 1, m: 1 } })).toEqual(['/x/m'])
  expect(unknownIn(toStandardJsonSchema(v.objectWithRest({ a: v.string() }, v.unknown())) as Schema, { a: '', b: 1 })).toEqual([])
  expect(unknownIn({ type: 'object', patternProperties: { '^x-': {} } }, { 'x-a': { b: 1 }, y: 1 })).toEqual(['/y'])
})

test('a strict object is refused by path as well', () => {
  expect(unknownIn(z.strictObject({ a: z.strictObject({}) }), { a: { b: 1 } })).toEqual(['/a/b'])
})

test('tuples, references into themselves and unions without a constant are walked', () => {
  expect(
    unknownIn(z.tuple([z.object({ a: z.string() })], z.object({ b: z.string() })), [{ a: '', x: 1 }, { b: '' }, { b: '', y: 1 }]),
  ).toEqual(['/0/x', '/2/y'])
  const itself: JsonSchema = {
    $ref: '#/$defs/a',
    $defs: { a: { anyOf: [{ $ref: '#/$defs/a' }, { type: 'object', properties: { b: {} } }] } },
  }
  expect(unknownIn(itself, { b: 1, c: 1 })).toEqual(['/c'])
  const either = z.union([z.object({ a: z.string() }), z.object({ b: z.string(), c: z.string() })])
  expect(unknownIn(either, { b: '', c: '', d: '' })).toEqual(['/d'])
})

test('many alternatives are folded into one instead of multiplying', () => {
  const union = (n: number): JsonSchema => ({
    anyOf: Array.from({ length: 10 }, (_, at) => ({ type: 'object', properties: { [`f${n}-${at}`]: {} } })),
  })
  expect(unknownIn({ allOf: [union(0), union(1), union(2)] }, { 'f0-9': 1, 'f1-3': 1, 'f2-0': 1, x: 1 })).toEqual(['/x'])
})

test('where nothing can be unknown there is nothing to run', () => {
  expect(compileUnknownFields(jsonSchemaOf(z.looseObject({ a: z.array(z.string()) }), 'input'))).toBeUndefined()
})

test('whatever a validator keeps is known, whatever it drops is told', () => {
  const schema = z.object({ a: z.string(), b: z.object({ c: z.int(), d: z.array(z.object({ e: z.boolean() })) }).optional() })
  const extra = fc.dictionary(fc.constantFrom('x', 'y', '__z', 'toString', 'constructor'), fc.integer(), { maxKeys: 2 })
  const item = fc.tuple(fc.boolean(), extra).map(([e, more]) => ({ e, ...more }))
  const value = fc
    .tuple(fc.string(), fc.integer(), fc.array(item, { maxLength: 3 }), extra, extra)
    .map(([a, c, d, one, two]) => ({ a, b: { c, d, ...one }, ...two }))
  fc.assert(
    fc.property(value, (sent) => {
      const kept = check(schema, sent)
      if (kept.faults) throw new Error('the generator made an invalid value')
      const dropped = JSON.stringify(kept.value) !== JSON.stringify(sent)
      return unknownIn(schema, sent).length > 0 === dropped
    }),
  )
})
