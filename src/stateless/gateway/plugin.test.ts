import fastify, { type InjectOptions } from 'fastify'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { command } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import type { AnyStateless } from '../stateless.ts'
import { FakePorts, gatewayOf, until, wallets, walletsSide } from './gateway-fixture.ts'
import { gatewayPlugin } from './plugin.ts'

const json = { 'content-type': 'application/json' }
const sides = [walletsSide as unknown as AnyStateless]

test.each([
  ['malformed JSON', { payload: '{"owner": }', headers: json }, 400, 'MALFORMED_JSON'],
  ['JSON that would change prototypes', { payload: '{"owner": "a", "__proto__": {"admin": true}}', headers: json }, 400, 'MALFORMED_JSON'],
  ['JSON that would change constructors', { payload: '{"constructor": {"prototype": {}}}', headers: json }, 400, 'MALFORMED_JSON'],
  ['bytes that are not UTF-8', { payload: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), headers: json }, 400, 'MALFORMED_JSON'],
  ['a body over the limit', { payload: `"${'x'.repeat(1_048_576)}"`, headers: json }, 413, 'BODY_TOO_LARGE'],
  ['a form', { payload: 'owner=ada', headers: { 'content-type': 'application/x-www-form-urlencoded' } }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['plain text', { payload: 'ada', headers: { 'content-type': 'text/plain' } }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['a body of no type', { payload: Buffer.from('{}'), headers: {} }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['a compressed body', { payload: '{}', headers: { ...json, 'content-encoding': 'gzip' } }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['a missing body', {}, 422, 'INVALID_INPUT'],
  ['an empty body', { payload: '', headers: json }, 422, 'INVALID_INPUT'],
  ['a broken query string', { payload: { owner: 'a' }, query: undefined, url: '/wallets/open-wallet?x=%zz' }, 400, 'BAD_REQUEST'],
  ['a broken path', { url: '/wallets/%zz/deposits' }, 400, 'BAD_REQUEST'],
  ['an unknown path', { url: '/nothing', payload: '{', headers: json }, 404, 'NOT_FOUND'],
  ['another method', { method: 'PATCH', payload: '{', headers: json }, 405, 'METHOD_NOT_ALLOWED'],
] as const)('%s is answered with a problem document', async (_, request, status, code) => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject({ method: 'POST', url: '/wallets/open-wallet', ...(request as InjectOptions) })
  expect(answer.statusCode).toBe(status)
  expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
  const problem = answer.json<Record<string, unknown>>()
  expect(problem).toMatchObject({ type: `urn:twofold:error:${code.toLowerCase().replaceAll('_', '-')}`, status, code, retryable: false })
  expect(problem).toMatchObject({ title: expect.stringMatching(/^[A-Z]/), detail: expect.stringMatching(/.{10,}/) })
  expect(answer.body).not.toContain(' at ')
  expect(gateway.ports.entries).toEqual([])
})

test.each<[string, InjectOptions, string]>([
  ['idempotency-key', { headers: { 'idempotency-key': 'a b' } }, 'the Idempotency-Key is "a b"; send one string of 1 to 255 visible ASCII'],
  ['a long one', { headers: { 'idempotency-key': 'é'.repeat(300) } }, `the Idempotency-Key is "${'é'.repeat(100)}…"; send one string`],
  ['if-match', { headers: { 'if-match': '5' } }, 'If-Match is "5"; send * or entity tags in double quotes, such as "5"'],
  ['if-none-match', { headers: { 'if-none-match': '"5"' } }, String.raw`If-None-Match is "\"5\""; of a command it must be *`],
  [
    'the type',
    { payload: 'a', headers: { 'content-type': 'text/csv' } },
    'the Content-Type of the body is "text/csv"; send it as application/json',
  ],
  ['no type', { payload: Buffer.from('{}') }, 'the body has no Content-Type; send it as application/json'],
  ['the length', { payload: '"1234567890"', headers: json }, 'the body is larger than the 10 bytes that this service takes; send less'],
  [
    'the coding',
    { payload: '{}', headers: { ...json, 'content-encoding': 'br' } },
    'the body is compressed (Content-Encoding: "br"); send it',
  ],
  [
    'the token',
    { method: 'GET', url: '/wallets/a', headers: { 'twofold-consistency-token': 'x' } },
    'the consistency token is "x"; one reads',
  ],
])('a refusal says what was given, what is allowed and where that stands: %s', async (_, request, detail) => {
  await using gateway = await gatewayOf({ prefix: '/api', limits: { bodyBytes: 10 }, openapi: () => ({}) })
  const { url = '/transfers', ...rest } = request
  const answer = await gateway.server.inject({ method: 'POST', ...rest, url: `/api${url as string}` })
  expect(answer.json<{ detail: string }>().detail).toContain(detail)
  expect(answer.headers['link']).toBe('</api/openapi.json>; rel="service-desc"')
})

test('an answer that is no refusal names no document, nor does any where there is none', async () => {
  const open = { method: 'POST', url: '/wallets/open-wallet', payload: { owner: 'ada' } } as const
  await using described = await gatewayOf({ openapi: () => ({}) })
  expect((await described.server.inject(open)).headers['link']).toBeUndefined()
  await using bare = await gatewayOf()
  expect((await bare.server.inject({ ...open, payload: {} })).headers['link']).toBeUndefined()
})

test('415 says what is taken, 405 which methods are', async () => {
  await using gateway = await gatewayOf()
  const form = await gateway.server.inject({ method: 'POST', url: '/transfers', payload: 'a', headers: { 'content-type': 'text/csv' } })
  expect(form.headers['accept-post']).toBe('application/json')
  const wrong = await gateway.server.inject({ method: 'DELETE', url: '/wallets/a?x=1' })
  expect([wrong.statusCode, wrong.headers['allow']]).toEqual([405, 'GET, HEAD, OPTIONS'])
  const options = await gateway.server.inject({ method: 'OPTIONS', url: '/wallets/a/deposits' })
  expect([options.statusCode, options.headers['allow'], options.body]).toEqual([204, 'OPTIONS, POST', ''])
})

test('Allow lists what any route of the path takes', async () => {
  const input = z.object({ id: z.string() })
  const things = defineContract('things', {
    commands: {
      move: command({ route: 'POST /things/:id', input, key: ({ id }) => id }),
      count: command({ route: 'PUT /things/all', input: z.object({}), key: () => 'all' }),
    },
  })
  await using gateway = await gatewayOf({ contracts: [things], sides: [] })
  const wrong = await gateway.server.inject({ method: 'DELETE', url: '/things/all' })
  expect([wrong.statusCode, wrong.headers['allow']]).toEqual([405, 'OPTIONS, POST, PUT'])
})

test('a prefix with a slash at its end is the same prefix', async () => {
  await using gateway = await gatewayOf({ prefix: '/api/' })
  const accepted = await gateway.server.inject({ method: 'POST', url: '/api/wallets/open-wallet', payload: { owner: 'ada' } })
  expect((await gateway.server.inject(accepted.headers['location'] as string)).statusCode).toBe(200)
  expect((await gateway.server.inject({ method: 'PUT', url: '/api/transfers' })).statusCode).toBe(405)
})

test('a path parameter may be as long as a key', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject({ method: 'GET', url: `/wallets/${encodeURIComponent('é'.repeat(127))}` })
  expect(answer.json()).toMatchObject({ code: 'NOT_FOUND', detail: `there is no wallet '${'é'.repeat(127)}'` })
})

test('an exception of user code is logged and its words stay inside', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject({ method: 'POST', url: '/wallets/open-wallet', payload: { owner: 'broken' } })
  expect(answer.statusCode).toBe(500)
  expect(answer.json()).toMatchObject({ code: 'INTERNAL', status: 500, detail: expect.stringContaining('req-') })
  expect(answer.body).not.toContain('secret')
  expect(gateway.logged()).toContain('the secret of the check')
})

test('under a prefix it changes nothing of its host, and its addresses carry the prefix', async () => {
  const ports = new FakePorts()
  const host = fastify()
  host.post('/echo', (request) => ({ got: request.body }))
  host.get('/fails', () => {
    throw new Error('the host says why')
  })
  await host.register(gatewayPlugin({ contracts: [wallets], sides, ports }), { prefix: '/api' })
  const accepted = await host.inject({ method: 'POST', url: '/api/wallets/open-wallet', payload: { owner: 'ada' } })
  const [{ envelope } = { envelope: undefined }] = ports.entries
  expect([accepted.statusCode, accepted.headers['location']]).toEqual([202, `/api/commands/${envelope?.id}`])
  expect((await host.inject({ method: 'GET', url: accepted.headers['location'] as string })).json()).toMatchObject({ status: 'queued' })
  expect(
    (await host.inject({ method: 'POST', url: '/echo', payload: 'as it is', headers: { 'content-type': 'text/plain' } })).json(),
  ).toEqual({ got: 'as it is' })
  expect((await host.inject('/fails')).json()).toMatchObject({ error: 'Internal Server Error', message: 'the host says why' })
  expect((await host.inject('/nowhere')).json()).toMatchObject({ error: 'Not Found' })
  expect((await host.inject('/api/nowhere')).json()).toMatchObject({ code: 'NOT_FOUND' })
  expect((await host.inject({ method: 'PUT', url: '/api/transfers' })).headers['allow']).toBe('OPTIONS, POST')
  await host.close()
})

test('without a prefix unknown paths stay the host’s', async () => {
  const host = fastify()
  host.setNotFoundHandler((_, reply) => reply.code(404).send('the host’s own page'))
  await host.register(gatewayPlugin({ contracts: [wallets], sides, ports: new FakePorts() }))
  expect((await host.inject('/nowhere')).body).toBe('the host’s own page')
  expect((await host.inject({ method: 'POST', url: '/transfers', payload: {} })).json()).toMatchObject({ code: 'INVALID_INPUT' })
  await host.close()
})

test('errors of the host’s hooks keep their status', async () => {
  const host = fastify()
  host.addHook('onRequest', (_request, _reply, done) => done(Object.assign(new Error('come back later'), { statusCode: 429 })))
  await host.register(gatewayPlugin({ contracts: [wallets], sides, ports: new FakePorts() }), { prefix: '/api' })
  const answer = await host.inject('/api/wallets/a')
  expect(answer.statusCode).toBe(429)
  expect(answer.json()).toMatchObject({ status: 429, title: 'Too Many Requests', detail: 'come back later' })
  await host.close()
})

test('whoever is refused by the host is refused the status of commands too, with the headers of the refusal', async () => {
  const refusal = Object.assign(new Error('who are you?'), { statusCode: 401, headers: { 'WWW-Authenticate': 'Bearer' } })
  await using gateway = await gatewayOf({ principal: () => Promise.reject(refusal) })
  const answer = await gateway.server.inject('/commands/019c0000-0000-7000-8000-000000000001')
  expect([answer.statusCode, answer.headers['www-authenticate']]).toEqual([401, 'Bearer'])
})

test('the OpenAPI document is made once and served', async () => {
  let made = 0
  await using gateway = await gatewayOf({ openapi: () => ({ openapi: '3.1.0', made: (made += 1) }) })
  await gateway.server.inject('/openapi.json')
  const answer = await gateway.server.inject('/openapi.json')
  expect(answer.json()).toEqual({ openapi: '3.1.0', made: 1 })
  expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
})

test('an instance that stops refuses commands and still answers questions', async () => {
  await using gateway = await gatewayOf({ accepting: () => false })
  gateway.ports.states.set('wallets/a', { state: '{"balanceCents":1}', version: 1, shape: 2 })
  const refused = await gateway.server.inject({ method: 'POST', url: '/wallets/open-wallet', payload: { owner: 'ada' } })
  expect(refused.statusCode).toBe(503)
  expect(refused.headers).toMatchObject({ 'retry-after': '1', connection: 'close' })
  expect(refused.json()).toMatchObject({ code: 'SHUTTING_DOWN', retryable: true })
  expect((await gateway.server.inject('/wallets/a')).statusCode).toBe(200)
})

test('requests over the bound are refused at once, and taken again when there is room', async () => {
  await using gateway = await gatewayOf({ limits: { inFlight: 1 } })
  const deposit = { method: 'POST', url: '/wallets/a/deposits', payload: { amountCents: 1 } } as const
  const first = gateway.server.inject(deposit)
  await until(() => gateway.ports.waits.length === 1)
  const second = await gateway.server.inject(deposit)
  expect([second.statusCode, second.headers['retry-after'], second.json<{ code: string }>().code]).toEqual([503, '1', 'OVERLOADED'])
  gateway.ports.finish(gateway.ports.entries[0]?.envelope.id ?? '', { body: '{"balanceCents":1}' })
  expect((await first).statusCode).toBe(200)
  expect((await gateway.server.inject('/wallets/a')).statusCode).toBe(404)
})

test('a query or an optimistic answer that nobody makes is refused at registration, a senseless limit at once', async () => {
  const server = fastify()
  const registered = server.register(gatewayPlugin({ contracts: [wallets], sides: [], ports: new FakePorts() }))
  await expect(registered).rejects.toMatchObject({ code: 'INVALID_APP', message: expect.stringContaining("'wallets.openWallet'") })
  expect(() => gatewayPlugin({ contracts: [], sides: [], ports: new FakePorts(), limits: { waitMs: 0, inFlight: 1.5 } })).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringContaining('inFlight is 1.5, waitMs is 0') }),
  )
})
