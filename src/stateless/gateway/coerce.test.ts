import { toStandardJsonSchema } from '@valibot/to-json-schema'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { jsonSchemaOf, type Schema } from '../../contract/schema.ts'
import { compileCoercion } from './coerce.ts'

const zod = z.object({
  text: z.string(),
  int: z.int(),
  num: z.number().optional(),
  flag: z.boolean().default(false),
  maybe: z.int().nullable(),
  either: z.union([z.int(), z.boolean()]),
  textOrInt: z.union([z.int(), z.string()]),
  level: z.literal([1, 2]),
  ints: z.array(z.int()),
  flags: z.array(z.boolean()).optional(),
  intOrInts: z.union([z.int(), z.array(z.int())]),
  any: z.unknown(),
})
const valibot = v.object({
  text: v.string(),
  int: v.pipe(v.number(), v.integer()),
  num: v.optional(v.number()),
  flag: v.optional(v.boolean(), false),
  maybe: v.nullable(v.pipe(v.number(), v.integer())),
  either: v.union([v.number(), v.boolean()]),
  textOrInt: v.union([v.number(), v.string()]),
  level: v.picklist([1, 2]),
  ints: v.array(v.number()),
  flags: v.optional(v.array(v.boolean())),
  intOrInts: v.union([v.number(), v.array(v.number())]),
  any: v.unknown(),
})

describe.each([
  ['zod', zod as Schema],
  ['valibot', toStandardJsonSchema(valibot) as Schema],
])('%s', (_, schema) => {
  const coerce = compileCoercion(jsonSchemaOf(schema, 'input'))
  test.each([
    ['text', '12', '12'],
    ['int', '12', 12],
    ['int', '-0', -0],
    ['int', '', ''],
    ['int', ' 1', ' 1'],
    ['int', '0x10', '0x10'],
    ['int', '1e999', '1e999'],
    ['int', '007', '007'],
    ['int', '12345678901234567890', '12345678901234567890'],
    ['num', '-1.5e3', -1500],
    ['num', 'NaN', 'NaN'],
    ['flag', 'true', true],
    ['flag', 'false', false],
    ['flag', 'yes', 'yes'],
    ['maybe', 'null', null],
    ['maybe', '3', 3],
    ['either', 'true', true],
    ['either', '1', 1],
    ['textOrInt', '1', '1'],
    ['level', '2', 2],
    ['ints', '1', [1]],
    ['ints', ['1', 'x', '3'], [1, 'x', 3]],
    ['flags', ['true'], [true]],
    ['intOrInts', '1', 1],
    ['intOrInts', ['1', '2'], [1, 2]],
    ['text', ['a', 'b'], ['a', 'b']],
    ['any', '1', '1'],
    ['unheardOf', '1', '1'],
    ['toString', '1', '1'],
  ])('%s=%j becomes %j', (name, given, value) => {
    expect(coerce(name, given)).toEqual(value)
  })
})

test('fields behind references and unions are coerced', () => {
  const kind = z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('a'), n: z.int() }),
    z.object({ kind: z.literal('b'), on: z.boolean() }),
  ])
  const coerce = compileCoercion(jsonSchemaOf(kind, 'input'))
  expect([coerce('n', '1'), coerce('on', 'true'), coerce('kind', 'a')]).toEqual([1, true, 'a'])
  const referred = compileCoercion({
    $ref: '#/$defs/in',
    $defs: { in: { properties: { n: { $ref: '#/$defs/n' } } }, n: { type: 'integer' } },
  })
  expect(referred('n', '1')).toBe(1)
})
