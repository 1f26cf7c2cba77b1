import { expect, test } from 'vitest'
import { gatewayOf, until } from './gateway-fixture.ts'

const open = { method: 'POST', url: '/wallets/open-wallet', payload: { owner: 'ada' } } as const

test('a command is queued, then running, then finished', async () => {
  await using gateway = await gatewayOf()
  const location = (await gateway.server.inject(open)).headers['location'] as string
  const id = location.replace('/commands/', '')
  const queued = await gateway.server.inject(location)
  expect(queued.json()).toEqual({ commandId: id, status: 'queued', attempts: 0 })
  expect(queued.headers).toMatchObject({ 'retry-after': '1', 'cache-control': 'no-store' })
  gateway.ports.pendingCommand = 'running'
  expect((await gateway.server.inject(location)).json()).toEqual({ commandId: id, status: 'running', attempts: 2 })
  gateway.ports.finish(id, { command: 'openWallet', body: '{"n":1.0}' })
  const finished = await gateway.server.inject(location)
  const common = '"service":"wallets","command":"openWallet","status":"succeeded","version":3,"consistencyToken":"12.345"'
  // The reply as it is stored, byte for byte.
  expect(finished.body).toBe(`{"commandId":"${id}",${common},"finishedAt":"2026-01-02T03:04:05.000Z","reply":{"n":1.0}}`)
  expect(finished.headers).toMatchObject({ 'cache-control': 'no-store', 'twofold-consistency-token': '12.345' })
  expect(finished.headers['retry-after']).toBeUndefined()
})

test('a rejection shows code and data; a dead command shows no words of its exception', async () => {
  await using gateway = await gatewayOf()
  const { ports } = gateway
  const [a, b, c] = [ports.ids.next(), ports.ids.next(), ports.ids.next()]
  ports.finish(a, { status: 'rejected', code: 'insufficientFunds', body: '{"balanceCents":2}' })
  ports.finish(b, { status: 'rejected', code: 'unknownWallet' })
  ports.finish(c, { status: 'dead', code: 'HANDLER_FAILED', body: '{"message":"the secret","attempts":5}' })
  expect((await gateway.server.inject(`/commands/${a}`)).json()).toMatchObject({
    status: 'rejected',
    rejection: { code: 'insufficientFunds', data: { balanceCents: 2 } },
  })
  expect((await gateway.server.inject(`/commands/${b}`)).json()).toMatchObject({ status: 'rejected', rejection: { code: 'unknownWallet' } })
  const dead = await gateway.server.inject(`/commands/${c}`)
  expect(dead.json()).toMatchObject({ status: 'dead', error: { code: 'COMMAND_DEAD', attempts: 5 } })
  expect(dead.body).not.toContain('secret')
})

test.each(['/commands/7', '/commands/019c0000-0000-7000-8000-00000000ffff', '/commands/019c0000-0000-7000-8000-00000000ffff?wait=60'])(
  'an unknown id is told at once: %s',
  async (url) => {
    await using gateway = await gatewayOf()
    const answer = await gateway.server.inject(url)
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([404, 'UNKNOWN_COMMAND'])
  },
)

test('an id that finishes between the two questions is not unknown', async () => {
  await using gateway = await gatewayOf()
  const id = gateway.ports.ids.next()
  gateway.ports.outcomes.pending = async () => {
    gateway.ports.finish(id, {})
    return undefined
  }
  expect((await gateway.server.inject(`/commands/${id}`)).json()).toMatchObject({ status: 'succeeded' })
})

test.each([
  ['?wait=30', {}, 30_000],
  ['?wait=999', {}, 60_000],
  ['', { prefer: 'wait=20' }, 20_000],
])('%s %j waits for the outcome', async (query, headers, ms) => {
  await using gateway = await gatewayOf()
  const location = (await gateway.server.inject(open)).headers['location'] as string
  const answer = gateway.server.inject({ url: `${location}${query}`, headers })
  await until(() => gateway.ports.waits.length === 1)
  expect(gateway.ports.waits[0]).toBeGreaterThan(ms - 1000)
  expect(gateway.ports.waits[0]).toBeLessThanOrEqual(ms)
  gateway.ports.finish(location.replace('/commands/', ''), {})
  expect((await answer).json()).toMatchObject({ status: 'succeeded' })
})

test('a wait that is over tells how far the command is', async () => {
  await using gateway = await gatewayOf({ limits: { waitMsMax: 20 } })
  const location = (await gateway.server.inject(open)).headers['location'] as string
  expect((await gateway.server.inject(`${location}?wait=1`)).json()).toMatchObject({ status: 'queued' })
})

test('a wait that is no number is refused', async () => {
  await using gateway = await gatewayOf()
  const answer = await gateway.server.inject(`/commands/${gateway.ports.ids.next()}?wait=soon`)
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([400, 'BAD_REQUEST'])
})
