// The replay must see what a bad shop does, so here are bad shops.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { eachAtOnce } from './at-once.ts'
import { Instances } from './instances.ts'
import { reconcile } from './reconcile.ts'
import { sampleOrders } from './sample-orders.ts'
import { checkPlaced, sendOrders, type Sent } from './send-orders.ts'

const servers: Server[] = []
afterEach(async () => {
  await Promise.all(
    servers.splice(0).map(async (server) => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }),
  )
})

type Answering = (request: IncomingMessage, response: ServerResponse) => void

async function instance(answering: Answering): Promise<string> {
  const server = createServer(answering).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Takes every order under its key, and tells what it is told to tell about commands and orders. */
function shopThat({ command = { status: 'succeeded' } as object, order = { version: 1 } as object | null }): Answering {
  return ({ method, url, headers }, response) => {
    if (method === 'POST') response.writeHead(202, { location: `/commands/${headers['idempotency-key']?.toString().replaceAll('"', '')}` })
    else if (url?.startsWith('/orders/') && order === null) response.writeHead(404)
    response.end(JSON.stringify(url?.startsWith('/commands/') ? command : (order ?? {})))
  }
}

async function replayed(urls: readonly string[], orders = sampleOrders(3, 1)): Promise<Sent> {
  const shop = new Instances(urls, 5000)
  const sent = await sendOrders(shop, orders, { concurrency: 2, rate: undefined, progress: () => {}, outcomeMs: 100 })
  await checkPlaced(shop, sent, 2)
  return sent
}

test('orders that are accepted, effective and there once are neither lost nor duplicated', async () => {
  const sent = await replayed([await instance(shopThat({}))])
  expect(sent).toMatchObject({ sent: 3, accepted: 3, succeeded: 3, rejected: 0, dead: 0, lost: 0, duplicated: 0, refused: [] })
})

test('an order without an outcome is lost', async () => {
  expect(await replayed([await instance(shopThat({ command: { status: 'queued' } }))])).toMatchObject({
    accepted: 3,
    succeeded: 0,
    lost: 3,
  })
})

test('an order that succeeded and is not there is lost', async () => {
  expect(await replayed([await instance(shopThat({ order: null }))])).toMatchObject({ succeeded: 3, lost: 3 })
})

test('an order that was changed twice is duplicated', async () => {
  expect(await replayed([await instance(shopThat({ order: { version: 2 } }))])).toMatchObject({ succeeded: 3, lost: 0, duplicated: 3 })
})

test('a dead command is neither a success nor a rejection', async () => {
  expect(await replayed([await instance(shopThat({ command: { status: 'dead' } }))])).toMatchObject({ succeeded: 0, rejected: 0, dead: 3 })
})

test('an order that was there already is rejected, counted, and looked at', async () => {
  const command = { status: 'rejected', rejection: { code: 'alreadyPlaced' } }
  const sent = await replayed([await instance(shopThat({ command, order: { version: 2 } }))])
  expect(sent).toMatchObject({ succeeded: 0, rejected: 3, alreadyPlaced: 3, duplicated: 3 })
})

test('an order the shop refuses is reported with its reason', async () => {
  const refusing = await instance((_, response) => response.writeHead(422).end('{"title":"no"}'))
  expect((await replayed([refusing], sampleOrders(1, 1))).refused).toEqual(['sample-1-0: 422 {"title":"no"}'])
})

test('a request without an answer goes to the next instance under the same key', async () => {
  const keys: string[] = []
  const noting =
    (answering: Answering): Answering =>
    (request, response) => {
      if (request.method === 'POST') keys.push(String(request.headers['idempotency-key']))
      answering(request, response)
    }
  const dying = await instance(noting(({ socket }) => void socket.destroy()))
  const away = await instance(noting((_, response) => void response.writeHead(503).end()))
  const well = await instance(noting(shopThat({})))
  const sent = await replayed([dying, away, well])
  expect(sent).toMatchObject({ sent: 3, accepted: 3, succeeded: 3, lost: 0 })
  expect(keys.length).toBeGreaterThan(3)
  expect(new Set(keys).size).toBe(3)
})

test('any order id makes a key that a header takes, another one for each', async () => {
  const keys: string[] = []
  const url = await instance((request, response) => {
    if (request.method === 'POST') keys.push(String(request.headers['idempotency-key']))
    shopThat({})(request, response)
  })
  const [sample] = sampleOrders(1, 1)
  const ids = ['漢字', '"', 'é', '字'.repeat(100)]
  const orders = ids.flatMap((orderId) => (sample === undefined ? [] : [{ ...sample, orderId }]))
  expect(await replayed([url], orders)).toMatchObject({ sent: 4, succeeded: 4, lost: 0, refused: [] })
  expect(new Set(keys).size).toBe(4)
  for (const key of keys) expect(key).toMatch(/^"[\x20-\x21\x23-\x5b\x5d-\x7e]{1,255}"$/)
})

test('what no other try would mend ends the replay at once, with its own message', async () => {
  const page = await instance((_, response) => response.end('<html>'))
  await expect(replayed([page])).rejects.toThrow(`${page}/orders answered 200 without JSON: it is no shop`)
  await expect(new Instances([page]).request('/orders', { headers: { 'x-id': '漢字' } })).rejects.toMatchObject({
    code: 'ERR_INVALID_CHAR',
  })
  const speaker = createTcpServer((socket) => socket.end('220 mail.example.org\r\n')).listen(0, '127.0.0.1')
  await once(speaker, 'listening')
  await expect(replayed([`http://127.0.0.1:${(speaker.address() as AddressInfo).port}`])).rejects.toThrow(/Parse Error/)
  speaker.close()
})

test('a proxy that says "not now" in HTML is asked again', async () => {
  let asked = 0
  const url = await instance((request, response) => {
    asked += 1
    if (asked === 1) response.writeHead(502).end('<html>')
    else shopThat({})(request, response)
  })
  expect(await replayed([url], sampleOrders(1, 1))).toMatchObject({ succeeded: 1, refused: [] })
})

test('after a failure nothing more is begun', async () => {
  const begun: number[] = []
  let finish = (): void => {}
  const finished = new Promise<void>((resolve) => (finish = resolve))
  const work = async (item: number): Promise<void> => {
    begun.push(item)
    if (item === 2) throw new Error('no')
    await finished
  }
  await expect(eachAtOnce([1, 2, 3], 2, work)).rejects.toThrow('no')
  finish()
  await new Promise((resolve) => setImmediate(resolve))
  expect(begun).toEqual([1, 2])
})

test('with a rate, the wait for a free sender counts as latency', async () => {
  const slow: Answering = (request, response) => void setTimeout(() => shopThat({})(request, response), 25)
  const shop = new Instances([await instance(slow)])
  const sent = await sendOrders(shop, sampleOrders(8, 1), { concurrency: 1, rate: 1000, progress: () => {} })
  // Eight orders due within 8 ms, one after the other at 50 ms each: the last one is accepted some 370 ms after it was due.
  expect(Number(/max ([\d.]+)/.exec(sent.accept.toString())?.[1])).toBeGreaterThan(300)
})

test('a seller whose figures stay wrong is a difference in each of them', async () => {
  const url = await instance((_, response) => response.end('{"orders":1,"items":2,"revenueCents":3}'))
  const lines = [{ sellerId: 's', productId: 'p', quantity: 2, priceCents: 5 }]
  expect(await reconcile(new Instances([url]), [{ orderId: 'o', customerId: 'c', lines }], { patienceMs: 10 })).toEqual([
    { sellerId: 's', figure: 'revenueCents', expected: 10, answered: 3 },
  ])
})

test('a read model that lags is waited for', async () => {
  let asked = 0
  const url = await instance((_, response) => {
    asked += 1
    response.end(JSON.stringify({ orders: asked > 1 ? 1 : 0, items: asked > 1 ? 1 : 0, revenueCents: asked > 1 ? 5 : 0 }))
  })
  const lines = [{ sellerId: 's', productId: 'p', quantity: 1, priceCents: 5 }]
  expect(await reconcile(new Instances([url]), [{ orderId: 'o', customerId: 'c', lines }], { patienceMs: 5000 })).toEqual([])
  expect(asked).toBe(2)
})
