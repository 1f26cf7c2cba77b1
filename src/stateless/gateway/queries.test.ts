import { expect, test } from 'vitest'
import { gatewayOf, type FakePorts } from './gateway-fixture.ts'

function stored(ports: FakePorts, version = 3): void {
  ports.states.set('wallets/a', { state: '{"balanceCents":100,"secret":"s"}', version, shape: 2 })
}

test('only declared fields of the output leave, with the version read as entity tag', async () => {
  await using gateway = await gatewayOf()
  stored(gateway.ports)
  const answer = await gateway.server.inject('/wallets/a')
  expect(answer.body).toBe('{"balanceCents":100}')
  expect(answer.headers).toMatchObject({ etag: '"3"', 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-cache' })
  const head = await gateway.server.inject({ method: 'HEAD', url: '/wallets/a' })
  expect([head.statusCode, head.body, head.headers['etag']]).toEqual([200, '', '"3"'])
})

test('a state of an older shape is lifted', async () => {
  await using gateway = await gatewayOf()
  gateway.ports.states.set('wallets/a', { state: '{"cents":5}', version: 1, shape: 1 })
  expect((await gateway.server.inject('/wallets/a')).json()).toEqual({ balanceCents: 5 })
})

test('who has this version already is answered 304', async () => {
  await using gateway = await gatewayOf()
  stored(gateway.ports)
  const ask = (tags: string): Promise<number> =>
    gateway.server.inject({ url: '/wallets/a', headers: { 'if-none-match': tags } }).then((answer) => answer.statusCode)
  expect(await Promise.all([ask('"3"'), ask('W/"3"'), ask('"1", "3"'), ask('*'), ask('"2"')])).toEqual([304, 304, 304, 304, 200])
  // What a cache keeps of the answer must be told by a 304 as well (RFC 9110 §15.4.5).
  const { headers } = await gateway.server.inject({ url: '/wallets/a', headers: { 'if-none-match': '"3"' } })
  expect([headers['etag'], headers['cache-control']]).toEqual(['"3"', 'no-cache'])
})

test('the version of the one state read is the entity tag; two states, or a read model beside it, have none', async () => {
  await using gateway = await gatewayOf()
  stored(gateway.ports)
  const tagOf = async (query: string): Promise<unknown> => (await gateway.server.inject(`/wallets/standing?${query}`)).headers['etag']
  expect(await tagOf('walletIds=a')).toBe('"3"')
  expect(await tagOf('walletIds=a&walletIds=b')).toBeUndefined()
  expect(await tagOf('walletIds=b')).toBeUndefined()
  expect(await tagOf('walletIds=a&ranked=true')).toBeUndefined()
})

test('what comes from read models has no entity tag', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject('/wallets/richest?limit=3')
  expect(answer.json()).toEqual({ wallets: ['ada'] })
  expect(answer.headers['etag']).toBeUndefined()
})

test('a query string is coerced, checked and held to known fields', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject('/wallets/richest?limit=0&page=2')
  expect(answer.statusCode).toBe(422)
  expect(answer.json<{ errors: { path: string }[] }>().errors.map(({ path }) => path)).toEqual(['/page', '/limit'])
})

test('notFound answers 404 in the words of the service', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject('/wallets/b')
  expect(answer.statusCode).toBe(404)
  expect(answer.json()).toMatchObject({ code: 'NOT_FOUND', detail: "there is no wallet 'b'" })
})

test('an output that is not what the contract says is our fault, and stays inside', async () => {
  await using gateway = await gatewayOf()
  gateway.ports.states.set('wallets/a', { state: '{"balanceCents":"much"}', version: 1, shape: 2 })
  const answer = await gateway.server.inject('/wallets/a')
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([500, 'INTERNAL'])
  expect(gateway.logged()).toContain("the output of query 'wallets.wallet' is not what the contract says: /balanceCents")
})

test('a consistency token is waited for before read models are asked', async () => {
  await using gateway = await gatewayOf()
  const headers = { 'twofold-consistency-token': '12.345' }
  expect((await gateway.server.inject({ url: '/wallets/richest', headers })).statusCode).toBe(200)
  expect(gateway.ports.tokens).toEqual([{ partition: 12, eventSeq: 345 }])
  gateway.ports.caughtUp = false
  const behind = await gateway.server.inject({ url: '/wallets/richest', headers })
  expect([behind.statusCode, behind.headers['retry-after'], behind.json<{ code: string }>().code]).toEqual([503, '1', 'NOT_CAUGHT_UP'])
})

test('a committed state needs no waiting: it is read where it is written', async () => {
  await using gateway = await gatewayOf()
  stored(gateway.ports)
  gateway.ports.caughtUp = false
  expect((await gateway.server.inject({ url: '/wallets/a', headers: { 'twofold-consistency-token': '12.345' } })).statusCode).toBe(200)
})

test('a token that is none is refused', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject({ url: '/wallets/a', headers: { 'twofold-consistency-token': 'soon' } })
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([400, 'INVALID_CONSISTENCY_TOKEN'])
})
