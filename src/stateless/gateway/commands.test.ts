import { once } from 'node:events'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { Envelope } from '../../contract/envelope.ts'
import type { CallContext, DirectCarrier, DirectResult } from '../../ports/direct-carrier.ts'
import { gatewayOf, unavailable, until, type FakePorts } from './gateway-fixture.ts'

const open = { method: 'POST', url: '/wallets/open-wallet', payload: { owner: 'ada' } } as const
const deposit = { method: 'POST', url: '/wallets/a/deposits', payload: { amountCents: 5 } } as const
const transfer = { method: 'POST', url: '/transfers', payload: { from: 'a', to: 'b', amountCents: 5 } } as const

/** A direct carrier that answers what it is told, and keeps what it was given. */
function directly(
  answer: (envelope: Envelope, signal: AbortSignal) => DirectResult | Promise<DirectResult>,
): DirectCarrier & { calls: Envelope[] } {
  const calls: Envelope[] = []
  return {
    calls,
    reaches: () => true,
    call: async (envelope, signal = AbortSignal.abort()) => {
      calls.push(envelope)
      return answer(envelope, signal)
    },
  }
}

/** Rejects with the signal's reason, as the port says. */
function never(_envelope: Envelope, signal: AbortSignal): Promise<DirectResult> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
}

function finishing(ports: FakePorts, outcome: Parameters<FakePorts['finish']>[1]): void {
  ports.onAppended = ({ id }) => ports.finish(id, outcome)
}

test('an accepted command is durable, then answered 202 with its optimistic body, all of it derived from its id', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject(open)
  const [{ envelope, answer: stored } = { envelope: undefined, answer: undefined }] = gateway.ports.entries
  expect(envelope).toEqual({
    id: '019c0000-0000-7000-8000-000000000001',
    service: 'wallets',
    command: 'openWallet',
    keys: [envelope?.id],
    input: '{"owner":"ada"}',
  })
  expect(stored).toBeUndefined()
  expect(answer.statusCode).toBe(202)
  // The undeclared `secret` is gone; the time is the id's.
  expect(answer.body).toBe(`{"walletId":"${envelope?.id}","openedAt":"${new Date(0x019c0000_0000).toISOString()}"}`)
  expect(answer.headers).toMatchObject({
    location: `/commands/${envelope?.id}`,
    'retry-after': '1',
    'twofold-command-id': envelope?.id,
    'content-type': 'application/json; charset=utf-8',
  })
  expect(answer.headers['preference-applied']).toBeUndefined()
})

test('a result command is answered by its outcome, byte for byte, with version and token', async () => {
  await using gateway = await gatewayOf()
  finishing(gateway.ports, { body: '{"balanceCents":5.0}' })
  const answer = await gateway.server.inject(deposit)
  expect(answer.statusCode).toBe(200)
  expect(answer.body).toBe('{"balanceCents":5.0}')
  expect(answer.headers).toMatchObject({
    etag: '"3"',
    'twofold-command-id': gateway.ports.entries[0]?.envelope.id,
    'twofold-consistency-token': '12.345',
    'content-type': 'application/json; charset=utf-8',
  })
})

test('a command without reply is answered 204, one that never wrote has no entity tag', async () => {
  await using gateway = await gatewayOf()
  finishing(gateway.ports, { version: 0 })
  const answer = await gateway.server.inject({ method: 'POST', url: '/wallets/close-wallet', payload: { walletId: 'a' } })
  expect([answer.statusCode, answer.body, answer.headers['etag']]).toEqual([204, '', undefined])
})

test('a rejection is the contract’s status with code and data', async () => {
  await using gateway = await gatewayOf({ prefix: '/api' })
  finishing(gateway.ports, { status: 'rejected', code: 'insufficientFunds', body: '{"balanceCents":2}' })
  const answer = await gateway.server.inject({ ...transfer, url: '/api/transfers' })
  const id = gateway.ports.entries[0]?.envelope.id
  expect(answer.statusCode).toBe(409)
  expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
  expect(answer.json()).toEqual({
    type: 'urn:twofold:rejection:wallets:insufficient-funds',
    title: 'Insufficient funds',
    status: 409,
    detail: 'the command was rejected: insufficient funds',
    instance: `/api/commands/${id}`,
    code: 'insufficientFunds',
    retryable: false,
    commandId: id,
    data: { balanceCents: 2 },
  })
  finishing(gateway.ports, { status: 'rejected', code: 'unknownWallet' })
  expect((await gateway.server.inject({ ...transfer, url: '/api/transfers' })).statusCode).toBe(404)
  finishing(gateway.ports, { status: 'rejected', code: 'toString' })
  expect((await gateway.server.inject({ ...transfer, url: '/api/transfers' })).statusCode).toBe(409)
})

test('a dead command is 500 and named, without the words of its exception', async () => {
  await using gateway = await gatewayOf()
  finishing(gateway.ports, { status: 'dead', code: 'HANDLER_FAILED', body: '{"message":"the secret","attempts":5}' })
  const answer = await gateway.server.inject(deposit)
  expect(answer.statusCode).toBe(500)
  expect(answer.json()).toMatchObject({ code: 'COMMAND_DEAD', commandId: gateway.ports.entries[0]?.envelope.id })
  expect(answer.body).not.toContain('secret')
})

test('checks answer by a fault or by a rejection that is not recorded', async () => {
  await using gateway = await gatewayOf()
  const nobody = await gateway.server.inject({ ...open, payload: { owner: 'nobody' } })
  expect(nobody.statusCode).toBe(422)
  expect(nobody.json<{ errors: unknown }>().errors).toEqual([{ path: '/owner', message: 'nobody has no wallet' }])
  const late = await gateway.server.inject({ ...open, payload: { owner: 'late' } })
  expect(late.statusCode).toBe(403)
  expect(late.json()).toMatchObject({ code: 'closedForToday', data: { until: '08:00' } })
  expect(late.body).not.toContain('staff')
  expect(late.json<{ commandId?: string }>().commandId).toBeUndefined()
  expect(gateway.ports.entries).toEqual([])
})

test.each([
  ['', 'a key must not be empty'],
  ['x'.repeat(256), 'at most 255 bytes long, this one is 256'],
])('the key %j is refused and named', async (walletId, words) => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject({ ...deposit, url: `/wallets/${walletId}/deposits` })
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([422, 'INVALID_KEY'])
  expect(answer.json<{ detail: string }>().detail).toMatch(/^key 1 of command 'wallets\.deposit': /)
  expect(answer.json<{ detail: string }>().detail).toContain(words)
})

const closing = async (count: number): Promise<{ status: number; detail: unknown; keys: number | undefined }> => {
  await using gateway = await gatewayOf()
  const walletIds = Array.from({ length: count }, (_, at) => `w${at}`)
  const answer = await gateway.server.inject({ method: 'POST', url: '/wallets/close-wallets', payload: { walletIds } })
  const { detail } = answer.json<{ detail?: string }>()
  return { status: answer.statusCode, detail, keys: gateway.ports.entries[0]?.envelope.keys.length }
}

test.each([1, 16])('a command of %i keys passes', async (count) => {
  expect(await closing(count)).toEqual({ status: 202, detail: undefined, keys: count })
})

test.each([0, 17])('a command of %i keys is refused and told why', async (count) => {
  const detail = `a command changes 1 to 16 entities; the input of command 'wallets.closeWallets' names ${count}`
  expect(await closing(count)).toEqual({ status: 422, detail, keys: undefined })
})

test.each([
  // a result command, what the client prefers, and how long it then waits
  [deposit, undefined, 10_000, undefined],
  [deposit, 'respond-async', 0, 'respond-async'],
  [deposit, 'wait=2', 2_000, 'wait=2'],
  [deposit, 'respond-async, wait=2', 2_000, 'wait=2'],
  [deposit, 'wait=3600', 60_000, 'wait=60'],
  [deposit, 'wait=0', 0, 'wait=0'],
  [deposit, 'return=minimal', 10_000, undefined],
  // an accepted command
  [open, undefined, 0, undefined],
  [open, 'wait=3', 3_000, 'wait=3'],
])('%o with Prefer %s', async (request, prefer, waitMs, applied) => {
  await using gateway = await gatewayOf()
  const pending = gateway.server.inject({ ...request, headers: prefer === undefined ? {} : { prefer } })
  await until(() => gateway.ports.entries.length === 1 && (waitMs === 0 || gateway.ports.waits.length === 1))
  const [waited = 0] = gateway.ports.waits
  expect(waited).toBeGreaterThanOrEqual(Math.max(0, waitMs - 1000))
  expect(waited).toBeLessThanOrEqual(waitMs)
  gateway.ports.finish(gateway.ports.entries[0]?.envelope.id ?? '', { body: '{}' })
  const answer = await pending
  expect([answer.statusCode, answer.headers['preference-applied']]).toEqual([waitMs > 0 ? 200 : 202, applied])
})

test('who waited in vain is answered 202 and where to ask', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 20, waitMsMax: 30 } })
  const answer = await gateway.server.inject({ ...deposit, headers: { prefer: 'respond-async, wait=7' } })
  const id = gateway.ports.entries[0]?.envelope.id
  expect(answer.statusCode).toBe(202)
  expect(answer.headers).toMatchObject({ location: `/commands/${id}`, 'retry-after': '1', 'preference-applied': 'respond-async, wait=0' })
  expect(answer.json()).toEqual({ commandId: id, status: 'queued', location: `/commands/${id}` })
  expect((await gateway.server.inject(deposit)).headers['preference-applied']).toBeUndefined()
})

test('a log that is away is 503 with Retry-After and the command’s id', async () => {
  await using gateway = await gatewayOf()
  for (const [failure, code] of [
    [unavailable(), 'UNAVAILABLE'],
    [new Error('the secret of the adapter'), 'IN_DOUBT'],
  ] as const) {
    gateway.ports.logFails = failure
    const answer = await gateway.server.inject(open)
    expect(answer.statusCode).toBe(503)
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
    expect(answer.json()).toMatchObject({ code, retryable: true, commandId: answer.headers['twofold-command-id'] })
    expect(answer.body).not.toContain('secret')
  }
})

test('outcomes that cannot be read leave a durable command accepted', async () => {
  await using gateway = await gatewayOf()
  gateway.ports.outcomesFail = unavailable()
  expect((await gateway.server.inject(deposit)).statusCode).toBe(202)
})

test('an owner in reach is called directly and the log is not touched', async () => {
  await using gateway = await gatewayOf()
  const direct = directly(({ id }) => ({ status: 'finished', outcome: gateway.ports.finish(id, { body: '{"balanceCents":1}' }) }))
  gateway.ports.direct = direct
  const answer = await gateway.server.inject(deposit)
  expect([answer.statusCode, answer.body]).toEqual([200, '{"balanceCents":1}'])
  expect(gateway.ports.entries).toEqual([])
  expect(direct.calls.map(({ keys, input }) => [keys, input])).toEqual([[['a'], '{"walletId":"a","amountCents":5}']])
})

test('an owner out of reach is reached through the log', async () => {
  await using gateway = await gatewayOf()
  const direct = { ...directly(never), reaches: () => false }
  gateway.ports.direct = direct
  finishing(gateway.ports, { body: '{}' })
  expect((await gateway.server.inject(deposit)).statusCode).toBe(200)
  expect(direct.calls).toEqual([])
})

test('an accepted command never goes the direct way', async () => {
  await using gateway = await gatewayOf()
  const direct = directly(never)
  gateway.ports.direct = direct
  expect((await gateway.server.inject(open)).statusCode).toBe(202)
  expect([direct.calls.length, gateway.ports.entries.length]).toEqual([0, 1])
})

test('a deferred call goes through the log under the same id, and its outcome is waited for', async () => {
  await using gateway = await gatewayOf()
  const direct = directly(() => ({ status: 'deferred' }))
  gateway.ports.direct = direct
  finishing(gateway.ports, { body: '{"balanceCents":9}' })
  expect((await gateway.server.inject(deposit)).body).toBe('{"balanceCents":9}')
  expect(gateway.ports.entries.map(({ envelope }) => envelope)).toEqual(direct.calls)
})

test('what may have begun elsewhere is taken by the log however much waits; what has not is counted as new', async () => {
  await using gateway = await gatewayOf()
  finishing(gateway.ports, { body: '{"balanceCents":9}' })
  for (const begun of [true, false]) {
    gateway.ports.direct = directly(() => ({ status: 'deferred', begun }))
    expect((await gateway.server.inject(deposit)).statusCode).toBe(200)
  }
  expect(gateway.ports.entries.map(({ begun }) => begun)).toEqual([true, false])
})

test('a direct call is told how long it is waited for', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 5000 } })
  const contexts: (CallContext | undefined)[] = []
  gateway.ports.direct = {
    reaches: () => true,
    call: async ({ id }, _signal, context) => {
      contexts.push(context)
      return { status: 'finished', outcome: gateway.ports.finish(id, { body: '{"balanceCents":1}' }) }
    },
  }
  await gateway.server.inject(deposit)
  expect(contexts[0]?.waitMs).toBeGreaterThan(0)
  expect(contexts[0]?.waitMs).toBeLessThanOrEqual(5000)
})

test('the trace of a request goes with its command, whichever way that is carried; what is no trace does not', async () => {
  await using gateway = await gatewayOf()
  const direct = directly(({ id }) => ({ status: 'finished', outcome: gateway.ports.finish(id, { body: '{"balanceCents":1}' }) }))
  gateway.ports.direct = direct
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  for (const given of [traceparent, `${traceparent}\tforged`]) {
    await gateway.server.inject({ ...deposit, headers: { traceparent: given } })
    await gateway.server.inject({ ...open, headers: { traceparent: given } })
  }
  expect(direct.calls.map((envelope) => envelope.traceparent)).toEqual([traceparent, undefined])
  expect(gateway.ports.entries.map(({ envelope }) => envelope.traceparent)).toEqual([traceparent, undefined])
})

test('a held call is durable already: its outcome is waited for, nothing is appended', async () => {
  await using gateway = await gatewayOf()
  gateway.ports.direct = directly(() => ({ status: 'held' }))
  const pending = gateway.server.inject(deposit)
  await until(() => gateway.ports.waits.length === 1)
  gateway.ports.finish('019c0000-0000-7000-8000-000000000001', { body: '{"balanceCents":9}' })
  expect((await pending).body).toBe('{"balanceCents":9}')
  expect(gateway.ports.entries).toEqual([])
})

test.each([
  ['is silent until the deadline', never],
  ['loses the connection', () => Promise.reject(new Error('socket hang up'))],
])('an owner that %s: the same id is appended and 202 names it', async (_, answerOf) => {
  await using gateway = await gatewayOf({ limits: { waitMs: 30 } })
  const direct = directly(answerOf)
  gateway.ports.direct = direct
  const answer = await gateway.server.inject(deposit)
  const [{ id } = { id: '' }] = direct.calls
  expect([answer.statusCode, answer.headers['location']]).toEqual([202, `/commands/${id}`])
  expect(gateway.ports.entries.map(({ envelope }) => envelope)).toEqual(direct.calls)
  expect((await gateway.server.inject(answer.headers['location'] as string)).json()).toMatchObject({ status: 'queued' })
})

test('a direct call in doubt whose log is away too is 503 and names the id', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 20 } })
  const direct = directly(never)
  gateway.ports.direct = direct
  gateway.ports.logFails = unavailable()
  const answer = await gateway.server.inject(deposit)
  expect(answer.statusCode).toBe(503)
  expect(answer.headers['retry-after']).toBe('2')
  expect(answer.json()).toMatchObject({ code: 'IN_DOUBT', commandId: direct.calls[0]?.id })
})

test('stopping ends every wait: direct calls are appended, all are answered 202', async () => {
  const stopping = new AbortController()
  await using gateway = await gatewayOf({ stopping: stopping.signal })
  const direct = directly(never)
  gateway.ports.direct = direct
  const called = gateway.server.inject(deposit)
  await until(() => direct.calls.length === 1)
  gateway.ports.direct = undefined
  const waited = gateway.server.inject(transfer)
  await until(() => gateway.ports.waits.length === 1)
  stopping.abort()
  expect((await Promise.all([called, waited])).map(({ statusCode }) => statusCode)).toEqual([202, 202])
  expect(gateway.ports.entries.map(({ envelope }) => envelope.command).toSorted()).toEqual(['deposit', 'transfer'])
})

test('closing the server does not wait for who waits', async () => {
  const gateway = await gatewayOf()
  const waited = gateway.server.inject(deposit)
  await until(() => gateway.ports.waits.length === 1)
  await gateway.server.close()
  expect((await waited).statusCode).toBe(202)
})

test.each(['while it waits', 'before it waits'])('a client that hangs up %s is not waited for, and its command stays', async (when) => {
  let asked = false
  let answer = (): void => undefined
  const knowsLater = async (): Promise<undefined> => {
    asked = true
    await new Promise<void>((resolve) => (answer = resolve))
  }
  await using gateway = await gatewayOf(when === 'before it waits' ? { principal: knowsLater } : {})
  let aborted = false
  gateway.ports.outcomes.find = (_id, timeoutMs, signal) =>
    new Promise((_, reject) => {
      gateway.ports.waits.push(timeoutMs)
      if (signal === undefined || signal.aborted) return void (aborted = true)
      signal.addEventListener('abort', () => {
        aborted = true
        reject(signal.reason as Error)
      })
    })
  await gateway.server.listen({ port: 0, host: '127.0.0.1' })
  let closed = false
  gateway.server.server.on('connection', (connection) => connection.once('close', () => (closed = true)))
  const socket = connect((gateway.server.server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(
    'POST /wallets/a/deposits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{"amountCents":5}',
  )
  await until(() => asked || gateway.ports.waits.length === 1)
  socket.destroy()
  await until(() => closed)
  answer()
  await until(() => aborted)
  expect(gateway.ports.entries).toHaveLength(1)
})
