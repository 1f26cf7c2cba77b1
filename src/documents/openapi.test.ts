import { Validator } from '@seriousme/openapi-schema-validator'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { command, rejection } from '../contract/command.ts'
import { defineContract } from '../contract/define-contract.ts'
import { query } from '../contract/query.ts'
import { routeOf } from '../contract/route.ts'
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
  commands: {
    fill: command({
      input: toStandardJsonSchema(v.object({ boxId: v.string(), weight: v.pipe(v.number(), v.integer()) })),
      key: (given) => given.boxId,
    }),
  },
})

interface Document {
  readonly paths: Record<
    string,
    Record<
      string,
      { readonly operationId: string; readonly parameters: object[]; readonly requestBody?: object; readonly responses: object }
    >
  >
  readonly components: { readonly schemas: Record<string, object> }
}
const document = openapiDocument({ title: 'things', version: '1', contracts: [shelves, boxes] }) as Document

test('an independent validator finds nothing wrong, for two schema libraries', async () => {
  expect(await new Validator().validate(structuredClone(document) as never)).toMatchObject({ valid: true })
})

test('every route of the contracts is there, under its own operation id', () => {
  const parts = [shelves, boxes].flatMap((contract) => [...Object.values(contract.commands), ...Object.values(contract.queries)])
  for (const part of parts) {
    const { method, path } = routeOf(part)
    expect(document.paths[path.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]?.operationId).toBe(`${part.service}.${part.name}`)
  }
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

test('every way in which a command may be answered is listed', () => {
  expect(Object.keys(document.paths['/shelves/{shelfId}']?.['put']?.responses ?? {})).toEqual([
    '200',
    '202',
    '400',
    '409',
    '410',
    '413',
    '415',
    '422',
    '500',
    '503',
  ])
  expect(Object.keys(document.paths['/shelves/{shelfId}']?.['delete']?.responses ?? {})).toContain('204')
})
