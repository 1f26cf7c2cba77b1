import { Validator } from '@seriousme/openapi-schema-validator'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { command, rejection } from '../contract/command.ts'
import { defineContract } from '../contract/define-contract.ts'
import { query } from '../contract/query.ts'
import { routeOf } from '../contract/route.ts'
import { errorAdvice, type ErrorCode } from '../errors.ts'
import { statusOf } from '../stateless/gateway/status-of.ts'
import { openapiDocument } from './openapi.ts'

interface Category {
  name: string
  children: Category[]
}
const category: z.ZodType<Category, Category> = z.object({
  name: z.string(),
  get children(): z.ZodArray<typeof category> {
    return z.array(category)
  },
}) as never

const shelves = defineContract('shelves', {
  commands: {
    arrange: command({
      route: 'PUT /shelves/:shelfId',
      input: z.object({ shelfId: z.string(), root: category, note: z.string().default('none') }),
      key: (given) => given.shelfId,
      reply: z.object({ count: z.int() }),
      rejections: { full: rejection(z.object({ room: z.int() })), locked: rejection(), gone: rejection(undefined, { status: 410 }) },
      optimistic: z.object({ count: z.int() }),
      respond: 'accepted',
    }),
    clear: command({ route: 'DELETE /shelves/:shelfId', input: z.object({ shelfId: z.string() }), key: (given) => given.shelfId }),
  },
  queries: {
    find: query({
      input: z.object({ name: z.string(), limit: z.int().max(10).default(5), tags: z.array(z.string()).optional() }),
      output: z.array(z.string()),
    }),
  },
})

const boxes = defineContract('boxes', {
  retentionHours: 720,
  commands: {
    fill: command({
      input: toStandardJsonSchema(v.object({ boxId: v.string(), weight: v.pipe(v.number(), v.integer()) })),
      key: (given) => given.boxId,
    }),
  },
})

const box = z.object({ boxId: z.string(), weight: z.int().optional() })
const returned = z.discriminatedUnion('why', [
  z.object({ returnId: z.string(), why: z.literal('broken'), what: z.string() }),
  z.object({ returnId: z.string(), why: z.literal('late'), days: z.int() }),
])
const item = z.object({ itemId: z.string(), size: z.enum(['s', 'l']).meta({ id: 'Size' }) }).meta({ id: 'Item' })

const returns = defineContract('returns', {
  commands: {
    open: command({
      route: 'POST /returns',
      input: returned,
      key: (given) => given.returnId,
      rejections: {
        unknown: rejection(undefined, { status: 400 }),
        tooHeavy: rejection(z.object({ grams: z.int() }), { status: 413 }),
        strange: rejection(undefined, { status: 415 }),
        unreadable: rejection(undefined, { status: 422 }),
        tooLate: rejection(z.object({ days: z.int() }), { status: 422 }),
        again: rejection(),
      },
    }),
    amend: command({ route: 'PATCH /returns/:returnId/:why', input: returned, key: (given) => given.returnId }),
    put: command({ route: 'PUT /items/:itemId', input: item, key: (given) => given.itemId, ifMatch: 'required', idempotency: 'required' }),
    forget: command({ route: 'DELETE /items/:id', input: z.object({ id: z.string() }), key: (given) => given.id }),
    repeat: command({ route: 'POST /commands/:commandId', input: z.object({ commandId: z.string() }), key: (given) => given.commandId }),
    note: command({
      input: z.union([z.object({ text: z.string() }), z.object({ nothing: z.boolean().optional() })]),
      key: () => 'a',
    }),
    tag: command({ route: 'POST /tags/:tag', input: z.looseObject({ tag: z.string() }), key: (given) => given.tag }),
  },
  queries: {
    look: query({
      route: 'GET /items/:thing',
      input: z.union([
        z.object({ thing: z.string(), sizes: z.array(z.enum(['s', 'l']).meta({ id: 'Size2' })) }),
        z.object({ thing: z.string(), sizes: z.array(z.string()), limit: z.int() }),
      ]),
      output: box,
    }),
  },
})

interface Operation {
  readonly operationId: string
  readonly 'x-twofold'?: object
  readonly parameters: readonly { readonly in: string; readonly name: string; readonly required: boolean; readonly schema: object }[]
  readonly requestBody?: { readonly required: boolean }
  readonly responses: Readonly<Record<string, { readonly description: string }>>
}
interface Document {
  readonly servers?: unknown
  readonly paths: Record<string, Record<string, Operation>>
  readonly components: { readonly schemas: Record<string, object> }
}
const contracts = [shelves, boxes, returns]
const document = openapiDocument({ title: 'things', version: '1', contracts }) as Document

test('an independent validator finds nothing wrong, for two schema libraries', async () => {
  expect(await new Validator().validate(structuredClone(document) as never)).toMatchObject({ valid: true })
})

test('every route of the contracts is there, under its own operation id', () => {
  const parts = contracts.flatMap((contract) => [...Object.values(contract.commands), ...Object.values(contract.queries)])
  for (const part of parts) {
    const { method, path } = routeOf(part)
    const shape = path.replaceAll(/:\w+/g, '{}')
    const found = Object.entries(document.paths).filter(([template]) => template.replaceAll(/{\w+}/g, '{}') === shape)
    expect(found, 'paths that differ only in the names of their parameters are one').toHaveLength(1)
    expect(found[0]?.[1][method.toLowerCase()]?.operationId).toBe(`${part.service}.${part.name}`)
  }
})

test('operations of one path call its parameters by one name', () => {
  expect(Object.keys(document.paths['/items/{itemId}'] ?? {})).toEqual(['put', 'delete', 'get'])
  for (const [template, operations] of Object.entries(document.paths)) {
    const names = [...template.matchAll(/{(\w+)}/g)].map((match) => match[1])
    for (const { parameters } of Object.values(operations))
      expect(parameters.filter((each) => each.in === 'path').map(({ name }) => name)).toEqual(names)
  }
  expect(document.paths['/items/{itemId}']?.['delete']?.parameters[0]).toEqual({
    in: 'path',
    name: 'itemId',
    required: true,
    schema: { type: 'string' },
    description: 'The field `id` of the input.',
  })
})

test('a command whose input is a union, or given by reference, has a body', () => {
  const open = document.paths['/returns']?.['post']
  expect(open?.requestBody?.required).toBe(true)
  expect(Object.keys(open?.responses ?? {})).toEqual(expect.arrayContaining(['413', '415']))
  expect(document.components.schemas['returns.open.input']).toMatchObject({
    unevaluatedProperties: false,
    oneOf: [{ required: ['returnId', 'why', 'what'] }, { required: ['returnId', 'why', 'days'] }],
  })
  expect(document.paths['/returns/note']?.['post']?.requestBody?.required).toBe(false)
  expect(document.paths['/items/{itemId}']?.['put']?.requestBody?.required).toBe(true)
  expect(document.components.schemas['returns.put.input']).toMatchObject({ properties: { size: {} }, additionalProperties: false })
  expect(document.components.schemas['returns.put.input']).not.toHaveProperty('properties.itemId')
  expect(document.paths['/tags/{tag}']?.['post'], 'an open object takes more than its fields').toHaveProperty('requestBody')
})

test('of a union every alternative is without what is in the path', () => {
  const amend = document.paths['/returns/{returnId}/{why}']?.['patch']
  expect(amend?.parameters.slice(0, 2)).toMatchObject([
    { name: 'returnId', schema: { type: 'string' } },
    { name: 'why', schema: { anyOf: [{ const: 'broken' }, { const: 'late' }] } },
  ])
  const { anyOf } = document.components.schemas['returns.amend.input'] as { readonly anyOf?: readonly object[] }
  expect(anyOf).toMatchObject([{ required: ['what'] }, { required: ['days'] }])
  expect(anyOf?.map((each) => Object.keys((each as { properties: object }).properties))).toEqual([['what'], ['days']])
})

test('a query whose input is a union takes the fields of every alternative', () => {
  const { parameters = [] } = document.paths['/items/{itemId}']?.['get'] ?? {}
  expect(parameters.filter((each) => each.in === 'query').map(({ name, required }) => [name, required])).toEqual([
    ['sizes', true],
    ['limit', false],
  ])
})

test('a rejection with a status of our own stands beside what that status means anyway', () => {
  const { responses = {} } = document.paths['/returns']?.['post'] ?? {}
  const codes = { 400: ['unknown'], 409: ['again'], 413: ['tooHeavy'], 415: ['strange'], 422: ['unreadable', 'tooLate'] }
  for (const [status, names] of Object.entries(codes)) {
    expect(responses[status]?.description).toMatch(new RegExp(`^Rejected: ${names.join(', ')}\\. Nothing has changed\\. Or: The .+\\.$`))
    const bodies = names.map((code) => ({ allOf: [{ $ref: '#/components/schemas/Problem' }, { properties: { code: { const: code } } }] }))
    expect(responses[status]).toMatchObject({
      content: { 'application/problem+json': { schema: { anyOf: [...bodies, { $ref: '#/components/schemas/Problem' }] } } },
    })
  }
})

test('what a contract requires of its callers is required here', () => {
  const put = document.paths['/items/{itemId}']?.['put']
  expect(put?.parameters.filter(({ required }) => required).map(({ name }) => name)).toEqual(['itemId', 'Idempotency-Key'])
  expect(put?.responses).toHaveProperty('428')
  expect(document.paths['/items/{itemId}']?.['delete']?.responses).not.toHaveProperty('428')
})

test('a service without versions takes no conditions', () => {
  const names = new Set(contracts.map(({ name }) => name))
  const plain = openapiDocument({ title: 'things', version: '1', contracts, withoutVersions: names }) as Document
  const operations = Object.values(plain.paths).flatMap((path) => Object.values(path))
  // Queries answer `If-None-Match` with what they have.
  const commands = operations.filter((operation) => JSON.stringify(operation).includes('"command":'))
  expect(commands.length).toBeGreaterThan(0)
  for (const word of ['"If-Match"', '"If-None-Match"', '"412"', '"ETag"'])
    expect([word, JSON.stringify(commands).includes(word)]).toEqual([word, false])
})

test('mounted under a prefix, its paths begin there', () => {
  expect(document).not.toHaveProperty('servers')
  for (const prefix of ['/api', '/api/'])
    expect(openapiDocument({ title: 'things', version: '1', contracts, prefix })).toMatchObject({ servers: [{ url: '/api' }] })
})

test('no reference leads nowhere, recursive schemas included', () => {
  const text = JSON.stringify(document)
  const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1] ?? '')
  expect(references.length).toBeGreaterThan(10)
  for (const reference of references)
    expect(document.components.schemas, reference).toHaveProperty([reference.replace('#/components/schemas/', '')])
})

test('what is in the path is not in the body, and a command without other fields takes no body', () => {
  expect(document.components.schemas['shelves.arrange.input']).toMatchObject({ required: ['root'] })
  expect(document.components.schemas['shelves.arrange.input']).not.toHaveProperty('properties.shelfId')
  expect(document.paths['/shelves/{shelfId}']?.['delete']).not.toHaveProperty('requestBody')
})

/** Codes that no command of a contract like this one is answered with; every other one has its status listed. */
const ELSEWHERE: ReadonlySet<string> = new Set([
  'NOT_FOUND', // a path that there is not
  'UNKNOWN_COMMAND', // the status of a command
  'METHOD_NOT_ALLOWED', // another operation
  'PRECONDITION_REQUIRED', // a contract that requires one
  'OUTCOME_TIMEOUT', // what a client throws that has waited
])

test('every way in which a command may be answered is listed', () => {
  const refused = (Object.keys(errorAdvice) as ErrorCode[]).filter((code) => !ELSEWHERE.has(code)).map((code) => statusOf[code])
  const statuses = [...new Set([200, 202, 410, ...refused])].map(String).toSorted()
  const { responses = {} } = document.paths['/shelves/{shelfId}']?.['put'] ?? {}
  expect(Object.keys(responses)).toEqual(statuses)
  expect(statuses).toContain('429')
  for (const status of ['429', '503'])
    expect(responses[status], status).toMatchObject({ headers: { 'Retry-After': { schema: { type: 'integer' } } } })
  expect(Object.keys(document.paths['/shelves/{shelfId}']?.['delete']?.responses ?? {})).toContain('204')
})

test('how long a repeated request gets its first answer is published with the header that asks for it', () => {
  const said = (operationId: string): unknown[] => {
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path))
    const operation = operations.find((each) => each.operationId === operationId)
    const header = operation?.parameters.find(({ name }) => name === 'Idempotency-Key') as { description?: string } | undefined
    return [header?.description, operation?.['x-twofold']]
  }
  expect(said('boxes.fill')).toEqual([
    expect.stringContaining('for at least 720 hours from when the command finished'),
    expect.objectContaining({ retentionHours: 720 }),
  ])
  expect(said('shelves.clear')).toEqual([expect.stringContaining('at least 24 hours'), expect.objectContaining({ retentionHours: 24 })])
})
