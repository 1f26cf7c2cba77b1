import fastify from 'fastify'
import { afterAll, assert, beforeAll, expect, test } from 'vitest'
import { createClient, gateway, start, unwrap, type RunningApp } from 'twofold'
import { shop } from '../../examples/shop/app.ts'
import { orders } from '../../examples/shop/orders/contract.ts'
import { wallets } from '../../examples/shop/wallets/contract.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let apps: RunningApp[]

beforeAll(async () => {
  database = await testDatabase()
  const options = { url: database.url, port: 0, logLevel: 'error' } as const
  // Two instances in one process: as far as the database can tell, two programs.
  apps = [await start(shop, options), await start(shop, options)]
})
afterAll(async () => {
  await Promise.all(apps.map((app) => app.stop()))
  await database.drop()
})

const line = { sellerId: 'seller', productId: 'p', quantity: 2, priceCents: 150 }
const urlOf = (at: number): string => apps[at % apps.length]?.url ?? ''
const post = (url: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })

test('the typed client sees replies, rejections and optimistic answers as the contract declares them', async () => {
  const client = createClient(wallets, { url: urlOf(0) })
  expect(unwrap(await client.deposit({ walletId: 'anna', amountCents: 500 }))).toEqual({ balanceCents: 500 })
  expect(await client.transfer({ from: 'anna', to: 'ben', amountCents: 900 })).toMatchObject({
    status: 'rejected',
    code: 'insufficientFunds',
    data: { balanceCents: 500 },
  })
  expect(await client.transfer({ from: 'anna', to: 'anna', amountCents: 1 })).toMatchObject({ status: 'rejected', code: 'sameWallet' })
  const placed = await createClient(orders, { url: urlOf(1) }).placeOrder({ customerId: 'c', lines: [line] })
  assert(placed.status === 'accepted')
  expect(placed.optimistic).toEqual({ orderId: placed.commandId, status: 'pending', totalCents: 300 })
  expect(await placed.outcome()).toMatchObject({ status: 'succeeded', reply: { orderId: placed.commandId, status: 'pending' }, version: 1 })
})

test('a client reads its own write from the read model, whichever instance it asks', async () => {
  const client = createClient(orders, { url: urlOf(0) })
  const other = createClient(orders, { url: urlOf(1) })
  for (let placed = 1; placed <= 10; placed += 1) {
    const outcome = await client.placeOrder({ customerId: 'c', lines: [{ ...line, sellerId: 'own-write' }] }, { respond: 'result' })
    const stats = await other.sellerStats({ sellerId: 'own-write' }, { after: outcome.consistencyToken })
    expect(stats).toEqual({ sellerId: 'own-write', orders: placed, items: 2 * placed, revenueCents: 300 * placed })
  }
})

test('one Idempotency-Key sent to two instances at once has one effect and one answer', async () => {
  for (let round = 0; round < 20; round += 1) {
    const body = { customerId: 'c', lines: [line] }
    const answers = await Promise.all([0, 1, 0, 1].map((at) => post(`${urlOf(at)}/orders`, body, { 'idempotency-key': `"race-${round}"` })))
    expect(answers.map((answer) => answer.status)).toEqual([202, 202, 202, 202])
    expect(new Set(await Promise.all(answers.map((answer) => answer.text()))).size).toBe(1)
    const deposit = (at: number): Promise<Response> =>
      post(`${urlOf(at)}/wallets/race-${round}/deposits`, { amountCents: 7 }, { 'idempotency-key': `"race-${round}"` })
    const deposits = await Promise.all([0, 1, 0, 1].map(deposit))
    // 409: the first is still running, this one has not added to it.
    expect(deposits.map((answer) => answer.status).filter((status) => status !== 200 && status !== 409)).toEqual([])
    const answered = [...deposits, await untilAnswered(() => deposit(1))].filter((answer) => answer.status === 200)
    expect(new Set(await Promise.all(answered.map((answer) => answer.text()))).size).toBe(1)
    expect(await (await fetch(`${urlOf(0)}/wallets/race-${round}`)).json()).toEqual({ balanceCents: 7 })
  }
}, 60_000)

async function untilAnswered(send: () => Promise<Response>): Promise<Response> {
  for (let tries = 0; ; tries += 1) {
    const answer = await send()
    if (answer.status !== 409 || tries === 200) return answer
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

test('an order carries its version: as a field, as an ETag, and as 304 when nothing has changed', async () => {
  const client = createClient(orders, { url: urlOf(0) })
  await client.placeOrder({ orderId: 'versioned', customerId: 'c', lines: [line] }, { respond: 'result' })
  const first = await fetch(`${urlOf(1)}/orders/versioned`)
  expect([first.headers.get('etag'), await first.json()]).toEqual(['"1"', expect.objectContaining({ version: 1, status: 'pending' })])
  expect((await fetch(`${urlOf(1)}/orders/versioned`, { headers: { 'if-none-match': '"1"' } })).status).toBe(304)
  expect((await post(`${urlOf(1)}/orders/versioned/cancel`, {})).status).toBe(204)
  const second = await fetch(`${urlOf(0)}/orders/versioned`, { headers: { 'if-none-match': '"1"' } })
  expect([second.status, await second.json()]).toEqual([200, expect.objectContaining({ version: 2, status: 'cancelled' })])
  expect((await post(`${urlOf(1)}/orders/versioned/cancel`, {})).status).toBe(409)
  expect((await post(`${urlOf(1)}/orders/nobody/cancel`, {})).status).toBe(404)
})

test('the client chooses between waiting and not waiting', async () => {
  const waited = await post(`${urlOf(0)}/orders`, { orderId: 'waited', customerId: 'c', lines: [line] }, { prefer: 'wait=10' })
  expect([waited.status, waited.headers.get('preference-applied')]).toEqual([200, 'wait=10'])
  const not = await post(`${urlOf(0)}/wallets/w/deposits`, { amountCents: 5 }, { prefer: 'respond-async' })
  expect([not.status, not.headers.get('preference-applied')]).toEqual([202, 'respond-async'])
  const status = await fetch(`${urlOf(1)}${not.headers.get('location')}?wait=10`)
  expect(await status.json()).toMatchObject({ status: 'succeeded', reply: { balanceCents: 5 } })
})

test('more than one fault is told at once, by JSON pointer', async () => {
  const answer = await post(`${urlOf(0)}/orders`, { customerId: 7, lines: [{ ...line, quantity: 0, colour: 'red' }], discount: 1 })
  const problem = (await answer.json()) as { errors: { path: string }[] }
  expect([answer.status, problem.errors.map((error) => error.path).toSorted()]).toEqual([
    422,
    ['/customerId', '/discount', '/lines/0/colour', '/lines/0/quantity'],
  ])
  const dear = await post(`${urlOf(0)}/orders`, { customerId: 'c', lines: [{ ...line, priceCents: 1_000_000_000 }] })
  expect([dear.status, ((await dear.json()) as { errors: object[] }).errors]).toEqual([422, [expect.objectContaining({ path: '/lines' })]])
})

test('mounted into a server of somebody else, it leaves that server alone', { timeout: 30_000 }, async () => {
  const own = await testDatabase()
  const server = fastify()
  server.get('/mine', () => 'still here')
  await server.register(gateway, { prefix: '/api', app: shop, url: own.url, logLevel: 'error' })
  const url = await server.listen({ port: 0, host: '127.0.0.1' })
  expect(await (await fetch(`${url}/mine`)).text()).toBe('still here')
  expect(await (await fetch(`${url}/nowhere`)).json()).toMatchObject({ error: 'Not Found', statusCode: 404 })
  expect(await (await fetch(`${url}/api/openapi.json`)).json()).toMatchObject({ servers: [{ url: '/api' }] })
  const placed = await createClient(orders, { url: `${url}/api` }).placeOrder({ customerId: 'c', lines: [line] })
  assert(placed.status === 'accepted')
  expect((await placed.outcome()).status).toBe('succeeded')
  const answer = await post(`${url}/api/orders`, { customerId: 'c', lines: [line] })
  expect(answer.headers.get('location')).toMatch(/^\/api\/commands\//)
  await server.close()
  await own.drop()
})
