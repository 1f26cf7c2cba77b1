// Which commands callers are told of, where a broker cannot be asked for one: those that were taken, or may have been.
import { expect, test } from 'vitest'
import { TwofoldError } from '../../errors.ts'
import { gatewayOf, unavailable, until, type FakePorts } from './gateway-fixture.ts'

const deposit = { method: 'POST', url: '/wallets/w/deposits', payload: { amountCents: 1 } } as const
const open = { method: 'POST', url: '/wallets/open-wallet', payload: { owner: 'ada' } } as const

function carried(ports: FakePorts, logFails: unknown): void {
  Object.assign(ports.log, { features: { ...ports.log.features, findsById: false } })
  ports.logFails = logFails
}

const inDoubt = (): TwofoldError => new TwofoldError('IN_DOUBT', 'the broker did not confirm it')

test('a command that was refused is not named: nobody could be told more of it', async () => {
  await using gateway = await gatewayOf()
  carried(gateway.ports, unavailable())
  for (const request of [open, deposit]) {
    const answer = await gateway.server.inject(request)
    expect([answer.statusCode, answer.json().code]).toEqual([503, 'UNAVAILABLE'])
    expect(answer.headers['twofold-command-id']).toBeUndefined()
    expect(answer.body).not.toContain('commandId')
  }
})

test('a command in doubt is named, at once where nobody waits for its outcome', async () => {
  await using gateway = await gatewayOf()
  carried(gateway.ports, inDoubt())
  const answer = await gateway.server.inject(open)
  expect([answer.statusCode, answer.headers['retry-after']]).toEqual([503, '1'])
  expect(answer.json()).toMatchObject({ code: 'IN_DOUBT', commandId: answer.headers['twofold-command-id'] })
  expect(gateway.ports.waits).toEqual([])
})

test('who waits for a command in doubt gets its outcome, where it comes in time', async () => {
  await using gateway = await gatewayOf()
  let named = ''
  gateway.ports.ids.next = () => (named = '019c0000-0000-7000-8000-000000000abc')
  carried(gateway.ports, inDoubt())
  const waited = gateway.server.inject(deposit)
  await until(() => gateway.ports.waits.length === 1)
  gateway.ports.finish(named, { body: '{"balanceCents":1}' })
  const answer = await waited
  expect([answer.statusCode, answer.headers['twofold-command-id']]).toEqual([200, named])
})

test('who waits for a command in doubt in vain is told so, and its id', async () => {
  await using gateway = await gatewayOf({ limits: { waitMs: 20 } })
  carried(gateway.ports, inDoubt())
  const answer = await gateway.server.inject(deposit)
  expect(answer.statusCode).toBe(503)
  expect(answer.json()).toMatchObject({ code: 'IN_DOUBT', commandId: '019c0000-0000-7000-8000-000000000001' })
  expect(gateway.ports.waits).toHaveLength(1)
})
