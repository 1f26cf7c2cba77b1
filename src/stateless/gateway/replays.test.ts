import { expect, test } from 'vitest'
import * as z from 'zod'
import { command } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import { TwofoldError } from '../../errors.ts'
import type { Principal } from '../stateless.ts'
import { madeAt } from '../../ports/command-ids.ts'
import { gatewayOf, unavailable, until } from './gateway-fixture.ts'

const open = {
  method: 'POST',
  url: '/wallets/open-wallet',
  payload: { owner: 'ada', note: 'n' },
  headers: { 'idempotency-key': '"k-1"' },
} as const
const deposit = { method: 'POST', url: '/wallets/a/deposits', payload: { amountCents: 5 }, headers: { 'idempotency-key': 'k-1' } } as const

test('a repeated accepted request gets the first answer, byte for byte, and is not checked or appended again', async () => {
  await using gateway = await gatewayOf()
  const first = await gateway.server.inject(open)
  const [entry] = gateway.ports.entries
  expect(entry?.answer).toEqual({
    status: 202,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      location: `/commands/${entry?.envelope.id}`,
      'retry-after': '1',
      'twofold-command-id': entry?.envelope.id,
    },
    body: first.body,
  })
  // The same fields in another order are the same request; both forms of the header are the same key.
  const again = await gateway.server.inject({
    ...open,
    payload: '{"note":"n","owner":"ada"}',
    headers: { 'idempotency-key': 'k-1', 'content-type': 'application/json' },
  })
  expect(first.headers['idempotency-replayed']).toBeUndefined()
  expect([again.statusCode, again.body, again.headers['location']]).toEqual([202, first.body, first.headers['location']])
  expect(again.headers).toMatchObject({ 'idempotency-replayed': 'true', 'twofold-command-id': entry?.envelope.id })
  expect(gateway.ports.entries).toHaveLength(1)
})

const closing = { method: 'POST', url: '/wallets/close-wallets', payload: { walletIds: ['a'] } } as const
const close = (key: string): typeof closing & { headers: Record<string, string> } => ({ ...closing, headers: { 'idempotency-key': key } })

test.each(['the log is full', 'admission refuses'])('where %s, a repeated request still gets its first answer', async (where) => {
  await using gateway = await gatewayOf()
  const first = await gateway.server.inject(close('k-1'))
  const full = new TwofoldError('BACKLOG_FULL', 'too many wait', { retryAfterSeconds: 2 })
  const refuse = (): never => {
    throw full
  }
  if (where === 'the log is full') gateway.ports.logFails = full
  else gateway.ports.admission = { admit: refuse }
  expect(gateway.ports.claimsAskedFor, 'without a refusal the append meets the claim').toEqual([])
  const again = await gateway.server.inject(close('k-1'))
  expect([first.statusCode, again.statusCode, again.body]).toEqual([202, 202, first.body])
  expect(again.headers['idempotency-replayed']).toBe('true')
  const other = await gateway.server.inject(close('k-2'))
  expect([other.statusCode, other.headers['retry-after'], other.json().code]).toEqual([429, '2', 'BACKLOG_FULL'])
  expect((await gateway.server.inject(closing)).statusCode).toBe(429)
  expect(gateway.ports.entries).toHaveLength(1)
})

test('the stored answer is what counts, also after the program that made it was replaced', async () => {
  await using gateway = await gatewayOf()
  await gateway.server.inject(open)
  const [[hash, claim] = ['', undefined]] = gateway.ports.claims
  if (claim?.answer) gateway.ports.claims.set(hash, { ...claim, answer: { ...claim.answer, body: '{"of":"an older program"}' } })
  expect((await gateway.server.inject(open)).body).toBe('{"of":"an older program"}')
})

test('two of the same request at once are one command', async () => {
  await using gateway = await gatewayOf()
  const answers = await Promise.all([gateway.server.inject(open), gateway.server.inject(open), gateway.server.inject(open)])
  expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
  expect(gateway.ports.entries).toHaveLength(1)
  expect(answers.filter((answer) => answer.headers['idempotency-replayed'] === 'true')).toHaveLength(2)
})

test('a repeated result request gets the outcome and never reaches the engine', async () => {
  await using gateway = await gatewayOf()
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, { body: '{"balanceCents":5}' })
  const first = await gateway.server.inject(deposit)
  let calls = 0
  gateway.ports.direct = {
    reaches: () => true,
    call: async () => {
      calls += 1
      return { status: 'deferred' }
    },
  }
  const again = await gateway.server.inject(deposit)
  expect([again.statusCode, again.body, again.headers['etag'], again.headers['twofold-command-id']]).toEqual([
    200,
    first.body,
    first.headers['etag'],
    first.headers['twofold-command-id'],
  ])
  expect(again.headers['idempotency-replayed']).toBe('true')
  expect([gateway.ports.entries.length, calls]).toEqual([1, 0])
})

test('a repeated rejection is the same rejection', async () => {
  await using gateway = await gatewayOf()
  gateway.ports.onAppended = ({ id }) =>
    gateway.ports.finish(id, { status: 'rejected', code: 'insufficientFunds', body: '{"balanceCents":2}' })
  const transfer = { ...deposit, url: '/transfers', payload: { from: 'a', to: 'b', amountCents: 5 } }
  const [first, again] = [await gateway.server.inject(transfer), await gateway.server.inject(transfer)]
  expect([again.statusCode, again.body]).toEqual([409, first.body])
})

test('a rejection keeps the status it was decided with, whatever the contract says by now', async () => {
  await using gateway = await gatewayOf()
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, { status: 'rejected', code: 'unknownWallet', rejectedWith: 410 })
  const transfer = { ...deposit, url: '/transfers', payload: { from: 'a', to: 'b', amountCents: 5 } }
  const [first, again] = [await gateway.server.inject(transfer), await gateway.server.inject(transfer)]
  expect([first.statusCode, first.json().status, again.statusCode, again.body]).toEqual([410, 410, 410, first.body])
})

test('the claim found by the owner is answered by the first command’s outcome', async () => {
  await using gateway = await gatewayOf()
  const firstId = gateway.ports.ids.next()
  gateway.ports.finish(firstId, { body: '{"balanceCents":1}' })
  gateway.ports.direct = {
    reaches: () => true,
    call: async ({ claim }) => ({
      status: 'claimed',
      claim: { commandId: firstId, fingerprint: claim?.fingerprint ?? '', answer: undefined },
    }),
  }
  const answer = await gateway.server.inject(deposit)
  expect([answer.body, answer.headers['twofold-command-id'], answer.headers['idempotency-replayed']]).toEqual([
    '{"balanceCents":1}',
    firstId,
    'true',
  ])
})

test('a direct call that took effect after its caller gave up is found by its own claim', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 30 } })
  gateway.ports.direct = {
    reaches: () => true,
    call: ({ id, claim }, signal) =>
      new Promise((_, reject) =>
        signal?.addEventListener('abort', () => {
          if (claim) gateway.ports.claims.set(claim.hash, { commandId: id, fingerprint: claim.fingerprint, answer: undefined })
          gateway.ports.finish(id, { body: '{"balanceCents":1}' })
          reject(signal.reason as Error)
        }),
      ),
  }
  const answer = await gateway.server.inject(deposit)
  expect([answer.statusCode, answer.body, answer.headers['idempotency-replayed']]).toEqual([200, '{"balanceCents":1}', undefined])
})

test('a replay whose command still runs is 202 under the first id, with a body that derives from it', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 20, waitMsMax: 20 } })
  const first = await gateway.server.inject({ ...open, headers: { ...open.headers, prefer: 'wait=5' } })
  const again = await gateway.server.inject(open)
  expect([first.statusCode, again.statusCode]).toEqual([202, 202])
  expect([again.body, again.headers['location']]).toEqual([first.body, first.headers['location']])
  expect(again.headers['idempotency-replayed']).toBe('true')
  // The moment in which the id was made, whenever the answer is.
  expect(first.json<{ openedAt: string }>().openedAt).toBe(new Date(madeAt(first.headers['twofold-command-id'] as string)).toISOString())
})

test('a request that waited in vain and was told 202 gets its 202 again, byte for byte, before and after the outcome is there', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 20 } })
  const first = await gateway.server.inject(deposit)
  const commandId = first.headers['twofold-command-id'] as string
  expect([first.statusCode, first.headers['location'], first.headers['idempotency-replayed']]).toEqual([
    202,
    `/commands/${commandId}`,
    undefined,
  ])
  for (const finished of [false, true]) {
    if (finished) gateway.ports.finish(commandId, { body: '{"balanceCents":5}' })
    const again = await gateway.server.inject(deposit)
    const { date: _, ...headers } = first.headers
    expect([again.statusCode, again.body]).toEqual([202, first.body])
    expect(again.headers).toMatchObject({ ...headers, 'idempotency-replayed': 'true' })
  }
  expect([gateway.ports.entries.length, gateway.ports.waits.length]).toEqual([1, 1])
})

test('a request whose outcome comes while its 202 is to be stored is told the outcome, as its repetitions are', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 20 } })
  const { answered } = gateway.ports.outcomes
  gateway.ports.outcomes.answered = (hash, commandId, answer) => {
    gateway.ports.finish(commandId, { body: '{"balanceCents":5}' })
    return answered(hash, commandId, answer)
  }
  const [first, again] = [await gateway.server.inject(deposit), await gateway.server.inject(deposit)]
  expect([first.statusCode, again.statusCode, again.body]).toEqual([200, 200, first.body])
})

test('where the 202 cannot be stored it is given all the same, and logged', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 20 } })
  gateway.ports.outcomes.answered = () => Promise.reject(unavailable())
  expect((await gateway.server.inject(deposit)).statusCode).toBe(202)
  expect(gateway.logged()).toContain('the 202 cannot be stored')
  expect((await gateway.server.inject(deposit)).json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_IN_USE' })
})

test('who hung up before there was an answer was told nothing: the repetition gets the outcome', async () => {
  await using gateway = await gatewayOf()
  const { find } = gateway.ports.outcomes
  let hasLeft = false
  gateway.ports.outcomes.find = (...asked) =>
    find(...asked).catch((error: unknown) => {
      hasLeft = true
      throw error
    })
  const url = await gateway.server.listen({ port: 0, host: '127.0.0.1' })
  const client = new AbortController()
  const headers = { ...deposit.headers, 'content-type': 'application/json' }
  const first = fetch(url + deposit.url, { method: 'POST', body: '{"amountCents":5}', headers, signal: client.signal })
  await until(() => gateway.ports.waits.length === 1)
  client.abort()
  await expect(first).rejects.toThrow('abort')
  await until(() => hasLeft)
  expect((await gateway.server.inject(deposit)).json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_IN_USE' })
  gateway.ports.finish(gateway.ports.entries[0]?.envelope.id ?? '', { body: '{"balanceCents":5}' })
  const again = await gateway.server.inject(deposit)
  expect([again.statusCode, again.body]).toEqual([200, '{"balanceCents":5}'])
})

test('an accepted request repeated with a wait is answered by its outcome', async () => {
  await using gateway = await gatewayOf()
  const first = await gateway.server.inject(open)
  gateway.ports.finish(first.headers['twofold-command-id'] as string, {})
  const again = await gateway.server.inject({ ...open, headers: { ...open.headers, prefer: 'wait=5' } })
  expect([again.statusCode, again.headers['idempotency-replayed'], again.headers['preference-applied']]).toEqual([204, 'true', 'wait=5'])
})

test.each([
  [open, { owner: 'bob', note: 'n' }],
  [deposit, { amountCents: 6 }],
])('a key reused for another request is 422: %o', async (request, otherPayload) => {
  await using gateway = await gatewayOf()
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, { body: '{}' })
  await gateway.server.inject(request)
  for (const other of [{ payload: otherPayload }, { headers: { ...request.headers, 'if-match': '"3"' } }]) {
    const answer = await gateway.server.inject({ ...request, ...other })
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED'])
  }
  expect(gateway.ports.entries).toHaveLength(1)
})

test.each([
  ['path', { url: '/wallets/b/deposits' }],
  ['query', { url: '/wallets/a/deposits?walletId=a' }],
  ['body', { payload: { amountCents: 6 } }],
  ['If-Match', { headers: { ...deposit.headers, 'if-match': '"3"' } }],
  ['If-None-Match', { headers: { ...deposit.headers, 'if-none-match': '*' } }],
])('another %s under a used key is another request', async (_, other) => {
  await using gateway = await gatewayOf()
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, { body: '{}' })
  await gateway.server.inject(deposit)
  const answer = await gateway.server.inject({ ...deposit, ...other })
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED'])
  expect((await gateway.server.inject(deposit)).headers['idempotency-replayed']).toBe('true')
})

test.each(['BACKLOG_FULL', 'KEY_BACKLOG_FULL', 'STORAGE_FULL', 'OVERLOADED'] as const)('%s refuses what is new alone', async (code) => {
  await using gateway = await gatewayOf()
  const first = await gateway.server.inject(close('k-1'))
  gateway.ports.logFails = new TwofoldError(code, 'there is no room')
  const [again, other] = [await gateway.server.inject(close('k-1')), await gateway.server.inject(close('k-2'))]
  expect([again.statusCode, again.body, again.headers['idempotency-replayed']]).toEqual([202, first.body, 'true'])
  expect([other.json<{ code: string }>().code, other.headers['retry-after']]).toEqual([code, '1'])
})

test('one key of two callers is two keys, as it is for two commands', async () => {
  let principal: Principal | undefined
  await using gateway = await gatewayOf({ principal: async () => principal })
  await gateway.server.inject(open)
  principal = { subject: 'ada', scopes: [] }
  await gateway.server.inject(open)
  principal = { subject: 'anonymous', scopes: [] }
  await gateway.server.inject(open)
  await gateway.server.inject({ ...deposit, headers: { ...deposit.headers, prefer: 'respond-async' } })
  expect(gateway.ports.entries).toHaveLength(4)
})

test('what was refused before it was a command is not remembered: the mended request may have the same key', async () => {
  await using gateway = await gatewayOf()
  const refused = [{ owner: 7 }, { owner: 'nobody' }, { owner: 'late' }, { owner: 'ada', colour: 'red' }]
  const statuses: number[] = []
  for (const payload of refused) statuses.push((await gateway.server.inject({ ...open, payload })).statusCode)
  expect(statuses).toEqual([422, 422, 403, 422])
  expect((await gateway.server.inject(open)).statusCode).toBe(202)
  expect([gateway.ports.claims.size, gateway.ports.entries.length]).toEqual([1, 1])
})

test('one key of two tenants is two keys, though their subjects have one name', async () => {
  let tenant: string | undefined
  await using gateway = await gatewayOf({ principal: async () => ({ tenant, subject: 'ada', scopes: [] }) })
  for (tenant of [undefined, 'north', 'south', 'north']) await gateway.server.inject(open)
  expect(gateway.ports.entries).toHaveLength(3)
})

test('without a key nothing is claimed or looked up', async () => {
  await using gateway = await gatewayOf()
  await gateway.server.inject({ ...open, headers: {} })
  await gateway.server.inject({ ...open, headers: {} })
  expect(gateway.ports.entries.map(({ envelope }) => envelope.claim)).toEqual([undefined, undefined])
  expect(gateway.ports.claimsAskedFor).toEqual([])
})

test('a key that is none is 400', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject({ ...open, headers: { 'idempotency-key': '"a", "b"' } })
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([400, 'INVALID_IDEMPOTENCY_KEY'])
})

test('who asks for an answer at once gets it, also when the same key was used by one who waits', async () => {
  await using gateway = await gatewayOf()
  const first = gateway.server.inject(deposit)
  await until(() => gateway.ports.waits.length === 1)
  const again = await gateway.server.inject({ ...deposit, headers: { ...deposit.headers, prefer: 'respond-async' } })
  expect([again.statusCode, again.headers['preference-applied'], gateway.ports.waits.length]).toEqual([202, 'respond-async', 1])
  gateway.ports.finish(gateway.ports.entries[0]?.envelope.id ?? '', { body: '{"balanceCents":1}' })
  await first
})

test('a waiting request repeated while the first is still running is 409, and gets the first answer once there is one', async () => {
  await using gateway = await gatewayOf()
  const first = gateway.server.inject(deposit)
  await until(() => gateway.ports.waits.length === 1)
  const early = await gateway.server.inject(deposit)
  const commandId = gateway.ports.entries[0]?.envelope.id ?? ''
  expect([early.statusCode, early.headers['retry-after'], early.json()]).toEqual([
    409,
    '1',
    expect.objectContaining({ code: 'IDEMPOTENCY_KEY_IN_USE', retryable: true, commandId }),
  ])
  gateway.ports.finish(commandId, { body: '{"balanceCents":1}' })
  const late = await gateway.server.inject(deposit)
  expect([late.statusCode, late.body, late.headers['idempotency-replayed']]).toEqual([200, (await first).body, 'true'])
  expect(gateway.ports.entries).toHaveLength(1)
})

test('what was taken is answered as it was, also where the contract of today would refuse it', async () => {
  const shelves = (deployed: 'before' | 'after') => {
    const isStrict = deployed === 'after'
    const input = z.object({ shelf: isStrict ? z.int() : z.string(), count: isStrict ? z.int().max(5) : z.int() })
    const stock = command({
      route: 'POST /shelves/:shelf/stock',
      input,
      key: ({ shelf }) => String(shelf),
      ...(isStrict && { ifMatch: 'required' }),
    })
    return { contracts: [defineContract('shelves', { commands: { stock } })], sides: [] }
  }
  await using before = await gatewayOf(shelves('before'))
  await using after = await gatewayOf({ ...shelves('after'), ports: before.ports })
  const stock = { method: 'POST', url: '/shelves/7/stock', payload: { count: 9 }, headers: { 'idempotency-key': 'k-1' } } as const
  before.ports.onAppended = ({ id }) => before.ports.finish(id, { body: undefined })
  const queued = { ...stock, headers: { prefer: 'respond-async', 'idempotency-key': 'k-2' } }
  for (const request of [stock, queued]) {
    const [first, again] = [await before.server.inject(request), await after.server.inject(request)]
    expect(again.headers).toMatchObject({ ...first.headers, date: expect.any(String), 'idempotency-replayed': 'true' })
    expect([again.statusCode, again.body]).toEqual([first.statusCode, first.body])
  }
  const refused = async (given: object): Promise<unknown> =>
    (await after.server.inject({ ...stock, ...given })).json<{ code: string }>().code
  expect(await refused({ headers: { 'idempotency-key': 'k-3' } })).toBe('PRECONDITION_REQUIRED')
  expect(await refused({ payload: { count: 8 } }), 'another request under a used key').toBe('PRECONDITION_REQUIRED')
  expect(await refused({ headers: { 'idempotency-key': 'k-3', 'if-match': '"1"' } })).toBe('INVALID_INPUT')
  before.ports.claims.clear()
  expect(await refused({})).toBe('PRECONDITION_REQUIRED')
  expect(before.ports.entries).toHaveLength(2)
})

test('a request that is wrong is told so while claims cannot be read', async () => {
  await using gateway = await gatewayOf()
  gateway.ports.outcomes.claim = () => Promise.reject(unavailable())
  const answer = await gateway.server.inject({ ...deposit, payload: { amountCents: 'many' } })
  expect([answer.statusCode, answer.json().code]).toEqual([422, 'INVALID_INPUT'])
})
