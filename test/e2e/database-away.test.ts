import { afterAll, expect, test } from 'vitest'
import pg from 'pg'
import { testDatabase } from '../support/database.ts'
import { proxyTo } from '../support/proxy.ts'
import { addressOf, startProgram, until, type Program } from './program.ts'

const programs: Program[] = []
const database = await testDatabase()
const proxy = await proxyTo(database.url)

afterAll(async () => {
  await Promise.all(programs.map((program) => program.end('SIGKILL')))
  await proxy.close()
  await database.drop()
})

const line = { sellerId: 's', productId: 'p', quantity: 1, priceCents: 100 }
const post = (url: string, body: object, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })

test('while PostgreSQL is away new commands get 503, and what was accepted is finished when it is back', { timeout: 60_000 }, async () => {
  const environment = { PORT: '0', LOG_LEVEL: 'error', TWOFOLD_LEASE_MS: '2000' }
  const gateway = startProgram('examples/shop/stateless.ts', { ...environment, DATABASE_URL: proxy.url })
  programs.push(gateway)
  const address = await addressOf(gateway)

  // Nobody is there to run it: the order is accepted and waits in the log.
  const accepted = await post(`${address}/orders`, { orderId: 'o-1', customerId: 'c', lines: [line] })
  expect(accepted.status).toBe(202)
  const location = accepted.headers.get('location') ?? ''
  expect(await (await fetch(address + location)).json()).toMatchObject({ status: 'queued' })

  await proxy.cut()
  const refused = await post(`${address}/orders`, { orderId: 'o-2', customerId: 'c', lines: [line] })
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
  expect(await refused.json()).toMatchObject({ code: expect.stringMatching(/^(UNAVAILABLE|IN_DOUBT)$/), retryable: true })
  expect((await post(`${address}/wallets/w/deposits`, { amountCents: 1 })).status).toBe(503)
  expect((await fetch(`${address}/wallets/w`)).status).toBe(503)
  expect((await fetch(`${address}/livez`)).status).toBe(200)

  await proxy.restore()
  const owner = startProgram('examples/shop/stateful.ts', { ...environment, DATABASE_URL: proxy.url })
  programs.push(owner)
  await addressOf(owner)
  expect(await (await fetch(`${address}${location}?wait=20`)).json()).toMatchObject({ status: 'succeeded', reply: { orderId: 'o-1' } })
  await until(
    'the gateway takes commands again',
    async () => (await post(`${address}/orders`, { orderId: 'o-3', customerId: 'c', lines: [line] })).status === 202,
  )

  // Now under a running owner: its connections break in the middle of the work, and it goes on by itself.
  const waiting = Array.from({ length: 50 }, (_, at) =>
    post(`${address}/orders`, { orderId: `b-${at}`, customerId: 'c', lines: [line] }, { 'idempotency-key': `b-${at}` }),
  )
  await proxy.cut()
  const first = await Promise.all(waiting)
  await proxy.restore()
  await until('every order is accepted under the same key', async () => {
    const answers = await Promise.all(
      first.map((_, at) =>
        post(`${address}/orders`, { orderId: `b-${at}`, customerId: 'c', lines: [line] }, { 'idempotency-key': `b-${at}` }),
      ),
    )
    return answers.every((answer) => answer.status === 202)
  })
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await until('every order is placed once', async () => {
    const { rows } = await client.query(
      `select count(*)::int as placed, max(version)::int as version from twofold.entity where key like 'b-%'`,
    )
    return rows[0].placed === 50 && rows[0].version === 1
  })
  await client.end()
})
