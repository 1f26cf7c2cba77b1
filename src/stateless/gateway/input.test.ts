import { toStandardJsonSchema } from '@valibot/to-json-schema'
import * as v from 'valibot'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { command } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import { gatewayOf } from './gateway-fixture.ts'

interface Order {
  orderId: string
  dryRun?: boolean | undefined
  tags?: string[] | undefined
  lines: { productId: string; quantity: number }[]
}

// One contract in two libraries: the same requests must get the same answers.
const withZod = defineContract('orders', {
  commands: {
    placeOrder: command({
      route: 'PUT /orders/:orderId',
      input: z.object({
        orderId: z.string(),
        dryRun: z.boolean().optional(),
        tags: z.array(z.string()).optional(),
        lines: z.array(z.object({ productId: z.string(), quantity: z.int().min(1) })),
      }),
      key: (order: Order) => order.orderId,
      respond: 'accepted',
    }),
    shipOrder: command({
      route: 'POST /orders/:orderId/parcels/:parcel',
      input: z.object({ orderId: z.string(), parcel: z.int(), express: z.boolean().default(true) }),
      key: (ship) => ship.orderId,
      respond: 'accepted',
    }),
  },
})
const withValibot = defineContract('orders', {
  commands: {
    placeOrder: command({
      route: 'PUT /orders/:orderId',
      input: toStandardJsonSchema(
        v.object({
          orderId: v.string(),
          dryRun: v.optional(v.boolean()),
          tags: v.optional(v.array(v.string())),
          lines: v.array(v.object({ productId: v.string(), quantity: v.pipe(v.number(), v.integer(), v.minValue(1)) })),
        }),
      ),
      key: (order: Order) => order.orderId,
      respond: 'accepted',
    }),
    shipOrder: command({
      route: 'POST /orders/:orderId/parcels/:parcel',
      input: toStandardJsonSchema(
        v.object({ orderId: v.string(), parcel: v.pipe(v.number(), v.integer()), express: v.optional(v.boolean(), true) }),
      ),
      key: (ship) => ship.orderId,
      respond: 'accepted',
    }),
  },
})

describe.each([
  ['zod', withZod],
  ['valibot', withValibot],
])('%s', (_, contract) => {
  const options = { contracts: [contract], sides: [] }

  test('path, query string and body become one input, coerced and with defaults', async () => {
    await using gateway = await gatewayOf(options)
    const placed = await gateway.server.inject({
      method: 'PUT',
      url: '/orders/o%2F1?dryRun=true&tags=a',
      payload: { lines: [{ productId: 'p', quantity: 2 }] },
    })
    const shipped = await gateway.server.inject({ method: 'POST', url: '/orders/7/parcels/12' })
    expect([placed.statusCode, shipped.statusCode]).toEqual([202, 202])
    const [place, ship] = gateway.ports.entries.map(({ envelope }) => envelope)
    expect(JSON.parse(place?.input ?? '')).toEqual({ orderId: 'o/1', dryRun: true, tags: ['a'], lines: [{ productId: 'p', quantity: 2 }] })
    expect(place).toMatchObject({ service: 'orders', command: 'placeOrder', keys: ['o/1'] })
    expect(JSON.parse(ship?.input ?? '')).toEqual({ orderId: '7', parcel: 12, express: true })
  })

  test('every fault is reported at once by pointer, unknown fields included', async () => {
    await using gateway = await gatewayOf(options)
    const answer = await gateway.server.inject({
      method: 'PUT',
      url: '/orders/1?dryRun=perhaps&colour=red',
      payload: {
        lines: [
          { productId: 'p', quantity: 0 },
          { quantity: 1, size: 'L' },
        ],
        __note: 1,
      },
    })
    expect(answer.statusCode).toBe(422)
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    const { code, errors } = answer.json<{ code: string; errors: { path: string; message: string }[] }>()
    expect(code).toBe('INVALID_INPUT')
    expect(errors.map(({ path }) => path).toSorted()).toEqual([
      '/__note',
      '/colour',
      '/dryRun',
      '/lines/0/quantity',
      '/lines/1/productId',
      '/lines/1/size',
    ])
    expect(errors.every(({ message }) => message.length > 0)).toBe(true)
    expect(gateway.ports.entries).toEqual([])
  })

  test('a field given twice must be the same in both places', async () => {
    await using gateway = await gatewayOf(options)
    const place = (url: string, payload: object): Promise<number> =>
      gateway.server.inject({ method: 'PUT', url, payload }).then(({ statusCode }) => statusCode)
    expect(await place('/orders/1', { orderId: '1', lines: [] })).toBe(202)
    expect(await place('/orders/1', { orderId: '2', lines: [] })).toBe(422)
    expect(await place('/orders/1?orderId=2', { lines: [] })).toBe(422)
    expect(await place('/orders/1?tags=a&tags=b', { lines: [], tags: ['a', 'b'] })).toBe(202)
    expect(await place('/orders/1?tags=a&tags=b', { lines: [], tags: ['b', 'a'] })).toBe(422)
  })

  test('a parameter called __proto__ is an unknown field and changes no prototype', async () => {
    await using gateway = await gatewayOf(options)
    const answer = await gateway.server.inject({ method: 'PUT', url: '/orders/1?__proto__=a&__proto__=b', payload: { lines: [] } })
    expect(answer.json<{ errors: unknown }>().errors).toEqual([{ path: '/__proto__', message: 'unknown field' }])
  })

  test.each([['[]'], ['"text"'], ['null'], ['7']])('a body of %s is no input', async (payload) => {
    await using gateway = await gatewayOf(options)
    const answer = await gateway.server.inject({
      method: 'PUT',
      url: '/orders/1',
      payload,
      headers: { 'content-type': 'application/json' },
    })
    expect(answer.statusCode).toBe(422)
    expect(answer.json<{ errors: unknown }>().errors).toEqual([{ path: '', message: 'the body must be a JSON object' }])
  })
})

test('of very many faults the first hundred are listed', async () => {
  await using gateway = await gatewayOf({ contracts: [withZod], sides: [] })
  const answer = await gateway.server.inject({
    method: 'PUT',
    url: '/orders/1',
    payload: { lines: Array.from({ length: 500 }, () => ({ x: 1 })) },
  })
  expect(answer.json<{ errors: unknown[] }>().errors).toHaveLength(100)
  expect(answer.json<{ detail: string }>().detail).toMatch(/^the input has 1500 faults.*the first 100 are listed/)
})

test('text that a database cannot keep is refused where it stands, in commands and in queries', async () => {
  await using gateway = await gatewayOf()
  const open = (payload: object): Promise<unknown> =>
    gateway.server
      .inject({ method: 'POST', url: '/wallets/open-wallet', payload })
      .then((answer) => answer.json<{ errors: unknown }>().errors)
  expect(await open({ owner: 'a\0b' })).toEqual([{ path: '/owner', message: 'must not contain the NUL character' }])
  expect(await open({ owner: 'ada', note: '\ud800' })).toEqual([{ path: '/note', message: expect.stringContaining('lone surrogate') }])
  const asked = await gateway.server.inject('/wallets/a%00b')
  expect([asked.statusCode, asked.json<{ errors: object[] }>().errors]).toEqual([422, [expect.objectContaining({ path: '/walletId' })]])
})

test('an input that is nested too deeply is refused before anybody walks it', async () => {
  const deep = defineContract('deep', {
    commands: { keep: command({ input: z.object({ id: z.string(), any: z.unknown() }), key: ({ id }) => id, respond: 'accepted' }) },
  })
  await using gateway = await gatewayOf({ contracts: [deep], sides: [] })
  const keep = (levels: number): Promise<number> =>
    gateway.server
      .inject({
        method: 'POST',
        url: '/deep/keep',
        payload: `{"id":"a","any":${'['.repeat(levels)}${']'.repeat(levels)}}`,
        headers: { 'content-type': 'application/json' },
      })
      .then((answer) => answer.statusCode)
  expect([await keep(90), await keep(101), await keep(100_000)]).toEqual([202, 422, 422])
})

test('what is nested too deeply is refused also where it is compared: with a field of the path, and for a fingerprint', async () => {
  await using gateway = await gatewayOf()
  const payload = `{"walletId":${'['.repeat(100_000)}${']'.repeat(100_000)},"amountCents":1}`
  for (const key of [undefined, 'k-1']) {
    const headers = { 'content-type': 'application/json', ...(key && { 'idempotency-key': key }) }
    const answer = await gateway.server.inject({ method: 'POST', url: '/wallets/a/deposits', payload, headers })
    expect([answer.statusCode, answer.json().errors]).toEqual([
      422,
      [{ path: '', message: 'must not be nested more than 100 levels deep' }],
    ])
  }
})

test('a key that is none is told with the field it came from', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject({ method: 'POST', url: '/transfers', payload: { from: 'a', to: '', amountCents: 1 } })
  expect([answer.statusCode, answer.json()]).toEqual([
    422,
    expect.objectContaining({ code: 'INVALID_KEY', errors: [{ path: '/to', message: 'a key must not be empty' }] }),
  ])
})
