import { afterEach, assert, expect, test } from 'vitest'
import * as z from 'zod'
import { command, rejection } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import { query } from '../../contract/query.ts'
import { gatewayOf, wallets } from '../gateway/gateway-fixture.ts'
import { idempotencyKeyOf } from '../gateway/idempotency-key.ts'
import { createClient } from './create-client.ts'

const shelves = defineContract('shelves', {
  commands: {
    stock: command({
      input: z.object({ shelfId: z.string() }),
      key: (given) => given.shelfId,
      reply: z.object({ count: z.int() }),
      rejections: { tooManyAtOnce: rejection(undefined, { status: 429 }) },
    }),
  },
  queries: { shelf: query({ input: z.object({ shelfId: z.string() }), output: z.object({ retryable: z.boolean() }) }) },
})

const requests: Request[] = []
afterEach(() => {
  requests.length = 0
})

/** A client of a server that gives these answers in turn, the last one again and again. */
function answered(...answers: (() => Response | Promise<Response>)[]): ReturnType<typeof createClient<typeof shelves>> {
  const send = (url: string, init: RequestInit): Response | Promise<Response> => {
    requests.push(new Request(url, init))
    return answers[Math.min(requests.length, answers.length) - 1]?.() ?? Response.error()
  }
  return createClient(shelves, { url: 'http://shelves.test', fetch: send as typeof fetch })
}
const json =
  (status: number, body: unknown, headers: Record<string, string> = {}) =>
  (): Response =>
    new Response(typeof body === 'string' ? body : JSON.stringify(body), {
      status,
      headers: { 'content-type': 'application/json', ...headers },
    })
const shelf = { shelfId: 'a' }

async function walletsClient() {
  const gateway = await gatewayOf()
  const url = await gateway.server.listen({ port: 0, host: '127.0.0.1' })
  return { client: createClient(wallets, { url }), ...gateway }
}

test('a call that asks not to wait gets what is durable, and its outcome later', async () => {
  await using gateway = await walletsClient()
  const { client, ports } = gateway
  const opened = await client.openWallet({ owner: 'ada' })
  expect(opened).toMatchObject({ status: 'accepted', optimistic: { walletId: opened.commandId } })
  const deposited = await client.deposit({ walletId: 'a', amountCents: 5 }, { respond: 'accepted' })
  expect(deposited.optimistic, 'the contract declares none').toBeUndefined()
  ports.finish(deposited.commandId, { body: '{"balanceCents":5}' })
  expect(await deposited.outcome()).toMatchObject({ status: 'succeeded', reply: { balanceCents: 5 } })
})

test('a rejection by a check is a value of a call that asks not to wait, too', async () => {
  await using gateway = await walletsClient()
  const late = await gateway.client.openWallet({ owner: 'late' })
  expect(late).toMatchObject({ status: 'rejected', code: 'closedForToday', data: { until: '08:00' } })
})

test('a call that asks not to wait and repeats one that waited has its outcome at once', async () => {
  await using gateway = await walletsClient()
  const { client, ports } = gateway
  ports.onAppended = ({ id }) => ports.finish(id, { command: 'openWallet' })
  const first = await client.openWallet({ owner: 'ada' }, { respond: 'result', idempotencyKey: 'one' })
  const again = await client.openWallet({ owner: 'ada' }, { idempotencyKey: 'one' })
  assert(again.status === 'accepted')
  expect(again).toMatchObject({ commandId: first.commandId, optimistic: undefined })
  expect(await again.outcome()).toEqual(first)

  ports.onAppended = ({ id }) => ports.finish(id, { status: 'rejected', code: 'insufficientFunds', body: '{"balanceCents":0}' })
  const transfer = { from: 'a', to: 'b', amountCents: 5 }
  const refused = await client.transfer(transfer, { idempotencyKey: 'two' })
  expect(refused).toMatchObject({ status: 'rejected', code: 'insufficientFunds' })
  expect(await client.transfer(transfer, { respond: 'accepted', idempotencyKey: 'two' })).toEqual(refused)
})

test.each(['plain', 'a"b', 'a\\b', '\\"', '"', '\\', 'x'.repeat(255)])('the key %j arrives as it was given', async (idempotencyKey) => {
  await answered(json(200, { count: 1 })).stock(shelf, { idempotencyKey })
  expect(idempotencyKeyOf(requests[0]?.headers.get('idempotency-key') ?? undefined)).toBe(idempotencyKey)
})

test.each(['', 'a b', 'é', '注文', 'a\nb', 'x'.repeat(256)])('the key %j is refused before anything is sent', async (idempotencyKey) => {
  const call = answered(json(200, { count: 1 })).stock(shelf, { idempotencyKey })
  await expect(call).rejects.toMatchObject({ code: 'INVALID_IDEMPOTENCY_KEY' })
  expect(requests).toEqual([])
})

test.each<[string | undefined, number]>([
  ['"5"', 5],
  ['W/"5"', 5],
  ['"5-gzip"', 5],
  ['W/"12;br"', 12],
  ['"abc"', 0],
  [undefined, 0],
])('the ETag %s names version %d', async (etag, version) => {
  const outcome = await answered(json(200, { count: 1 }, etag === undefined ? {} : { etag })).stock(shelf)
  expect(outcome).toMatchObject({ status: 'succeeded', version })
})

test.each<[string, number | undefined]>([
  ['7', 7],
  [new Date(Date.now() - 60_000).toUTCString(), 0],
  ['soon', undefined],
])('Retry-After: %s', async (header, seconds) => {
  await expect(answered(json(404, {}, { 'retry-after': header })).shelf(shelf)).rejects.toMatchObject({ retryAfterSeconds: seconds })
})

test('Retry-After as a date becomes seconds from now', async () => {
  const header = new Date(Date.now() + 60_000).toUTCString()
  const thrown: unknown = await answered(json(404, {}, { 'retry-after': header }))
    .shelf(shelf)
    .catch((error: unknown) => error)
  const { retryAfterSeconds } = thrown as { retryAfterSeconds: number }
  expect(retryAfterSeconds).toBeGreaterThan(50)
  expect(retryAfterSeconds).toBeLessThanOrEqual(60)
})

test('a rejection is not tried again, whatever its status', async () => {
  const problem = json(429, { code: 'tooManyAtOnce', retryable: false }, { 'content-type': 'application/problem+json' })
  expect(await answered(problem).stock(shelf)).toMatchObject({ status: 'rejected', code: 'tooManyAtOnce' })
  expect(requests).toHaveLength(1)
})

test('what says nothing about retries is tried again by its status, what says retryable by that; always under one key', async () => {
  const client = answered(json(429, 'slow down', { 'content-type': 'text/plain' }), json(409, { retryable: true }), json(200, { count: 1 }))
  expect(await client.stock(shelf)).toMatchObject({ status: 'succeeded' })
  expect(new Set(requests.map(({ headers }) => headers.get('idempotency-key'))).size).toBe(1)
  expect(requests).toHaveLength(3)
})

test('a reply may have a field of that name', async () => {
  expect(await answered(json(200, { retryable: true })).shelf(shelf)).toEqual({ retryable: true })
  expect(requests).toHaveLength(1)
})

test.each<[number, string]>([
  [200, 'POST http://shelves.test/shelves/stock was answered 200 with a body that is not JSON'],
  [400, 'the server answered 400'],
])('an answer of %d whose JSON is broken is an answer', async (status, message) => {
  const call = answered(json(status, '{"count":', { 'twofold-command-id': 'c1' })).stock(shelf)
  await expect(call).rejects.toMatchObject({ code: 'INTERNAL', message, commandId: 'c1' })
  expect(requests).toHaveLength(1)
})

test('a passing trouble whose JSON is broken is tried again', async () => {
  expect(await answered(json(503, '<html>'), json(200, { count: 1 })).stock(shelf)).toMatchObject({ status: 'succeeded' })
})

test('a timeout names the time that was given', async () => {
  const late = async (): Promise<Response> => {
    await new Promise((resolve) => setTimeout(resolve, 40))
    return json(202, {}, { 'twofold-command-id': 'c1' })()
  }
  await expect(answered(late).stock(shelf, { timeoutMs: 20 })).rejects.toMatchObject({
    code: 'OUTCOME_TIMEOUT',
    message: 'command c1 has no outcome after 20 ms; it goes on, ask GET /commands/c1',
  })
})

test('a version that is not the one demanded is thrown, at once and later', async () => {
  await using gateway = await walletsClient()
  const { client, ports } = gateway
  const deposit = { walletId: 'a', amountCents: 5 }
  const failed = { status: 'rejected', code: 'PRECONDITION_FAILED' } as const
  const queued = await client.deposit(deposit, { respond: 'accepted', ifMatch: 2 })
  ports.finish(queued.commandId, failed)
  await expect(queued.outcome()).rejects.toMatchObject({ code: 'PRECONDITION_FAILED', commandId: queued.commandId })
  ports.onAppended = ({ id }) => ports.finish(id, failed)
  await expect(client.deposit(deposit, { ifMatch: 2 })).rejects.toMatchObject({ code: 'PRECONDITION_FAILED' })
})

test('a call whose first try is still running waits for its outcome', async () => {
  const running = json(409, { code: 'IDEMPOTENCY_KEY_IN_USE', retryable: true }, { 'twofold-command-id': 'c1' })
  const finished = json(200, { status: 'succeeded', reply: { count: 1 }, version: 4 })
  const outcome = await answered(running, running, running, running, finished).stock(shelf)
  expect(outcome).toEqual({ status: 'succeeded', reply: { count: 1 }, version: 4, commandId: 'c1' })
  expect(requests.at(-1)?.url).toMatch(/^http:\/\/shelves\.test\/commands\/c1\?wait=/)
})

test('a server that does not hold a request open is not asked without a pause', async () => {
  const queued = json(200, { status: 'queued' }, { 'retry-after': '1' })
  const call = answered(json(202, {}, { 'twofold-command-id': 'c1' }), queued).stock(shelf, { timeoutMs: 200 })
  await expect(call).rejects.toMatchObject({ code: 'OUTCOME_TIMEOUT' })
  expect(requests.length).toBeLessThan(10)
})
