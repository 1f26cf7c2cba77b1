import { expect, test } from 'vitest'
import * as z from 'zod'
import { command } from '../../contract/command.ts'
import { defineContract } from '../../contract/define-contract.ts'
import { gatewayOf } from './gateway-fixture.ts'

const notes = defineContract('notes', {
  commands: {
    write: command({ route: 'PUT /notes/:id', input: z.object({ id: z.string() }), key: ({ id }) => id }),
    rewrite: command({
      route: 'POST /notes/:id',
      input: z.object({ id: z.string() }),
      key: ({ id }) => id,
      ifMatch: 'required',
      idempotency: 'required',
    }),
  },
})
const write = { method: 'PUT', url: '/notes/a' } as const
const rewrite = { method: 'POST', url: '/notes/a' } as const

test.each([
  [{ 'if-match': '"5"' }, { versions: [5] }],
  [{ 'if-match': '"5", "7"' }, { versions: [5, 7] }],
  [{ 'if-match': ',"5",, "7" ,' }, { versions: [5, 7] }],
  [{ 'if-match': 'W/"5", "x", "05"' }, { versions: [] }],
  [{ 'if-match': '*' }, 'present'],
  [{ 'if-none-match': '*' }, 'absent'],
  [{}, undefined],
])('%o travels with the command', async (headers, condition) => {
  await using gateway = await gatewayOf({ contracts: [notes], sides: [] })
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, {})
  await gateway.server.inject({ ...write, headers })
  expect(gateway.ports.entries[0]?.envelope.condition).toEqual(condition)
})

test.each([
  { 'if-match': '5' },
  { 'if-match': ',' },
  { 'if-match': '"5" "7"' },
  { 'if-match': '"5' },
  { 'if-none-match': '"5"' },
  { 'if-match': '"5"', 'if-none-match': '*' },
])('%o is refused and nothing is taken', async (headers) => {
  await using gateway = await gatewayOf({ contracts: [notes], sides: [] })
  const answer = await gateway.server.inject({ ...write, headers: headers as Record<string, string> })
  expect([answer.statusCode, answer.json<{ code: string }>().code, gateway.ports.entries]).toEqual([400, 'BAD_REQUEST', []])
})

const conditions: readonly Record<string, string>[] = [{ 'if-match': '"5"' }, { 'if-match': '*' }, { 'if-none-match': '*' }]

test.each(conditions)('where there are no versions %o is told so and nothing is taken', async (headers) => {
  await using gateway = await gatewayOf({ contracts: [notes], sides: [], withoutVersions: new Set(['notes']) })
  const request = { ...write, headers: { ...headers, 'idempotency-key': 'k' } }
  const answer = await gateway.server.inject(request)
  expect([answer.statusCode, answer.json()]).toMatchObject([400, { code: 'PRECONDITION_UNSUPPORTED', retryable: false }])
  expect([gateway.ports.entries, gateway.ports.claims.size]).toEqual([[], 0])
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, {})
  expect((await gateway.server.inject({ ...write, headers: { 'idempotency-key': 'k' } })).statusCode).toBe(204)
})

test('a command that turns out to have no version to be held against is answered the same', async () => {
  await using gateway = await gatewayOf({ contracts: [notes], sides: [] })
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, { status: 'rejected', code: 'PRECONDITION_UNSUPPORTED', version: 0 })
  const answer = await gateway.server.inject({ ...write, headers: { 'if-match': '"5"' } })
  expect([answer.statusCode, answer.json()]).toMatchObject([400, { code: 'PRECONDITION_UNSUPPORTED' }])
})

test('what the contract wants and is not sent is told', async () => {
  await using gateway = await gatewayOf({ contracts: [notes], sides: [] })
  const keyless = await gateway.server.inject({ ...rewrite, headers: { 'if-match': '"1"' } })
  expect([keyless.statusCode, keyless.json<{ code: string }>().code]).toEqual([400, 'IDEMPOTENCY_KEY_REQUIRED'])
  const careless = await gateway.server.inject({ ...rewrite, headers: { 'idempotency-key': 'k' } })
  expect([careless.statusCode, careless.json<{ code: string }>().code]).toEqual([428, 'PRECONDITION_REQUIRED'])
  expect(gateway.ports.entries).toEqual([])
})

test('a version that is not the current one is 412 and names the current one, also when it is asked again', async () => {
  await using gateway = await gatewayOf({ contracts: [notes], sides: [] })
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, { status: 'rejected', code: 'PRECONDITION_FAILED', version: 7 })
  const request = { ...rewrite, headers: { 'if-match': '"5"', 'idempotency-key': 'k' } }
  const answers = [await gateway.server.inject(request), await gateway.server.inject(request)]
  expect(answers.map(({ statusCode, headers, body }) => [statusCode, headers['etag'], body])).toEqual(
    Array.from({ length: 2 }, () => [412, '"7"', expect.stringContaining('the entity is at version 7')]),
  )
  expect(answers[1]?.json()).toMatchObject({ code: 'PRECONDITION_FAILED', currentVersion: 7, retryable: false })
  expect(gateway.ports.entries).toHaveLength(1)
})

test('a version that is demanded of what does not exist is 412 without a tag', async () => {
  await using gateway = await gatewayOf({ contracts: [notes], sides: [] })
  gateway.ports.onAppended = ({ id }) => gateway.ports.finish(id, { status: 'rejected', code: 'PRECONDITION_FAILED', version: 0 })
  const answer = await gateway.server.inject({ ...write, headers: { 'if-match': '*' } })
  expect([answer.statusCode, answer.headers['etag'], answer.json()]).toEqual([
    412,
    undefined,
    expect.objectContaining({ currentVersion: 0, detail: expect.stringContaining('there is no such entity') }),
  ])
})
