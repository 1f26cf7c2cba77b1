import { toStandardJsonSchema } from '@valibot/to-json-schema'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { command, rejection } from './command.ts'
import { defineContract } from './define-contract.ts'
import { query } from './query.ts'
import type { Schema } from './schema.ts'

const text = z.object({ text: z.string() })
const wallet = z.object({ walletId: z.string(), amount: z.int().optional() })
const payment = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('card'), paymentId: z.string(), card: z.string() }),
  z.object({ kind: z.literal('cash'), paymentId: z.string() }),
])

const posting =
  (route: string, input: Schema = wallet) =>
  () =>
    defineContract('wallets', { commands: { pay: command({ route: route as never, input, key: () => 'a' }) } })
const getting =
  (route: string | undefined, input: Schema = wallet) =>
  () =>
    defineContract('wallets', { commands: {}, queries: { find: query({ route: route as never, input: input as never, output: text }) } })

test.each(['GET  /wallets', 'POST /wallets', 'get /wallets', '/wallets', 'GET wallets', 'GET /wallets /all'])(
  'the route %j is none of a query',
  (route) => {
    expect(getting(route)).toThrow(`contract 'wallets': the route '${route}' of query 'find' must read 'GET /path/:field', with one space`)
  },
)

test.each(['GET /wallets', 'HEAD /wallets', 'POST  /wallets'])('the route %j is none of a command', (route) => {
  expect(posting(route)).toThrow("of command 'pay' must read 'POST /path/:field' (or PUT, PATCH, DELETE), with one space")
})

test.each([
  ['/w?x=1', 'w?x=1'],
  ['/w/:walletId?', ':walletId?'],
  ['/w/*', '*'],
  ['/w/:walletId(\\d+)', ':walletId(\\d+)'],
  ['/w/v:walletId', 'v:walletId'],
  ['/w/{walletId}', '{walletId}'],
  ['/w/../x', '..'],
  ['/w//x', ''],
  ['//', ''],
  ['/w#x', 'w#x'],
])('the path %s is refused by its segment', (path, segment) => {
  expect(getting(`GET ${path}`)).toThrow(`has the segment '${segment}'; a segment is ':field', or letters`)
})

test('a parameter stands once and is a field of the input', () => {
  expect(posting('PUT /a/:walletId/b/:walletId')).toThrow("has the parameter ':walletId' twice")
  expect(getting('GET /w/:nope')).toThrow(
    "the route 'GET /w/:nope' of query 'find' has the parameter ':nope', which is not a field of its input",
  )
  const inValibot = toStandardJsonSchema(v.object({ walletId: v.string() }))
  expect(posting('POST /w/:walletId', inValibot as Schema)).not.toThrow()
  expect(posting('POST /w/:nope', inValibot as Schema)).toThrow("':nope', which is not a field of its input")
})

test('of a union every alternative has the field', () => {
  expect(posting('POST /payments/:paymentId', payment as Schema)).not.toThrow()
  expect(posting('POST /payments/:card', payment as Schema)).toThrow(
    "has the parameter ':card', which is not a field of every alternative of its input",
  )
})

test('where the input says nothing of its fields, a parameter may be any', () => {
  for (const input of [z.any(), z.looseObject({}), z.record(z.string(), z.string())])
    expect(posting('POST /w/:anything', input as Schema)).not.toThrow()
})

test.each(['GET /', 'GET /w', 'GET /w/', 'GET /w/:walletId', 'GET /W_1/a.b-c~d/:walletId/:amount', undefined])('%j is a route', (route) => {
  expect(getting(route)).not.toThrow()
})

test('no query has the name of a command', () => {
  const queries = { pay: query({ input: text, output: text }) } as never
  expect(() => defineContract('wallets', { commands: { pay: command({ input: text, key: () => 'a' }) }, queries })).toThrow(
    "'pay' is a command already; give the query another name",
  )
})

test.each([Number.NaN, 404.5, 399, 500, Infinity])('a rejection has no status %d', (status) => {
  const rejections = { no: rejection(undefined, { status }) }
  expect(() => defineContract('wallets', { commands: { pay: command({ input: text, key: () => 'a', rejections }) } })).toThrow(
    `rejection 'no' of 'pay' has status ${status}; a rejection is 400 to 499`,
  )
})

test.each(['a b', 'NoMoney', 'no-money', '', 'INTERNAL'])('a rejection is not called %j', (code) => {
  const rejections = { [code]: rejection() }
  expect(() => defineContract('wallets', { commands: { pay: command({ input: text, key: () => 'a', rejections }) } })).toThrow(
    `rejection '${code}' of 'pay' is not a name in camelCase`,
  )
})

interface Tree {
  readonly leaf: string
  readonly trees: readonly Tree[]
}
const tree: z.ZodType<Tree> = z.object({
  leaf: z.string(),
  get trees() {
    return z.array(tree)
  },
})

test.each<[string, z.ZodType]>([
  ['an object', z.object({ a: z.string() })],
  ['an object or null', z.object({ a: z.string() }).nullable()],
  ['a string or an object', z.union([z.string(), z.object({ a: z.string() })])],
  ['an object by reference', z.object({ a: z.string() }).meta({ id: 'Referred' })],
  ['a recursive object', tree],
  ['a record', z.record(z.string(), z.string())],
  ['a list of objects', z.array(z.object({ a: z.string() }))],
  ['a list of objects or null', z.array(z.object({ a: z.string() }).nullable())],
  ['a list of lists', z.array(z.array(z.string()))],
  ['a tuple with an object', z.tuple([z.string(), z.object({ a: z.string() })])],
])('a query string does not carry %s', (_, field) => {
  expect(getting(undefined, z.object({ field }) as Schema)).toThrow(
    /^contract 'wallets': field 'field' of query 'find' is nested; a query string carries scalars and lists of scalars$/,
  )
  const inUnion = z.union([z.object({ other: z.string() }), z.object({ field })])
  expect(getting(undefined, inUnion as Schema)).toThrow("field 'field' of query 'find' is nested")
})

test.each<[string, z.ZodType]>([
  ['a string or null', z.string().nullable()],
  ['a string by reference', z.string().meta({ id: 'ReferredString' })],
  ['a number or a boolean', z.union([z.number(), z.boolean()])],
  ['one of some', z.enum(['a', 'b'])],
  ['a list of strings or null', z.array(z.string().nullable()).optional()],
  ['anything', z.any()],
])('a query string carries %s', (_, field) => {
  expect(getting(undefined, z.object({ field }) as Schema)).not.toThrow()
})

test.each([
  [{ attempts: 0 }, "retry.attempts of 'pay' is 0; it must be a whole number from 1 to 1000"],
  [{ minMs: 500, maxMs: 100 }, "retry.maxMs of 'pay' is 100; it must be a whole number from 500 to 86400000"],
  [{ deadlineMs: 0.5 }, "retry.deadlineMs of 'pay' is 0.5; it must be a whole number from 1 to 86400000"],
])('a retry of %j is refused', (retry, fault) => {
  expect(() => defineContract('wallets', { commands: { pay: command({ input: text, key: () => 'a', retry }) } })).toThrow(fault)
})

test.each([0, 23, 24.5, 8785, Number.NaN, Infinity])('outcomes are not kept for %d hours', (retentionHours) => {
  expect(() => defineContract('things', { commands: {}, retentionHours })).toThrow(
    `contract 'things': retentionHours is ${retentionHours}; it must be a whole number from 24 to 8784`,
  )
})

test('outcomes are kept for a day, or as long as the contract says', () => {
  expect(defineContract('things', { commands: {} }).retentionHours).toBe(24)
  expect(defineContract('things', { commands: {}, retentionHours: 8784 }).retentionHours).toBe(8784)
})
