// A repeated request gets the first answer: the whole of it, whatever has happened to the entity since, also from another process.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { start, type RunningApp } from 'twofold'
import { shop } from '../../examples/shop/app.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let app: RunningApp | undefined

beforeAll(async () => {
  database = await testDatabase()
})
afterAll(async () => {
  await app?.stop()
  await database.drop()
})

interface Sent {
  readonly path: string
  readonly body: object
  readonly headers?: Record<string, string>
}

/** Everything of an answer but what is the connection's own. */
async function answerTo({ path, body, headers }: Sent, key: string): Promise<{ status: number; headers: object; body: string }> {
  const answer = await fetch(`${app?.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': `"${key}"`, ...headers },
    body: JSON.stringify(body),
  })
  const own = new Set(['date', 'connection', 'keep-alive'])
  return {
    status: answer.status,
    headers: Object.fromEntries([...answer.headers].filter(([name]) => !own.has(name))),
    body: await answer.text(),
  }
}

const line = { sellerId: 's', productId: 'p', quantity: 1, priceCents: 100 }
const requests: readonly (Sent & { readonly status: number })[] = [
  { status: 202, path: '/orders', body: { customerId: 'c', lines: [line] } },
  { status: 200, path: '/orders', body: { orderId: 'o', customerId: 'c', lines: [line] }, headers: { prefer: 'wait=20' } },
  { status: 200, path: '/wallets/anna/deposits', body: { amountCents: 500 } },
  { status: 409, path: '/transfers', body: { from: 'anna', to: 'ben', amountCents: 900 } },
  { status: 412, path: '/wallets/anna/deposits', body: { amountCents: 1 }, headers: { 'if-match': '"77"' } },
  { status: 204, path: '/orders/o/cancel', body: {} },
]

test(
  'the whole answer is the same, with its headers: 202, 200, 204, rejection and 412, before and after a restart',
  { timeout: 60_000 },
  async () => {
    const options = { url: database.url, port: 0, logLevel: 'error' } as const
    app = await start(shop, options)
    const first: Awaited<ReturnType<typeof answerTo>>[] = []
    for (const [at, request] of requests.entries()) first.push(await answerTo(request, `key-${at}`))
    expect(first.map(({ status }) => status)).toEqual(requests.map(({ status }) => status))
    // Everything moves on: other versions, other events, other balances.
    for (let more = 0; more < 3; more += 1) await answerTo({ path: '/wallets/anna/deposits', body: { amountCents: 1000 } }, `more-${more}`)
    for (const restart of [false, true]) {
      if (restart) {
        await app.stop()
        app = await start(shop, options)
      }
      for (const [at, request] of requests.entries()) {
        const { headers, ...again } = await answerTo(request, `key-${at}`)
        expect({ ...again, headers }).toEqual({ ...first[at], headers: { ...first[at]?.headers, 'idempotency-replayed': 'true' } })
      }
    }
    expect(await (await fetch(`${app.url}/wallets/anna`)).json()).toEqual({ balanceCents: 3500 })
  },
)
