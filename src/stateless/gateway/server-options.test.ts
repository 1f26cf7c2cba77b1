import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { gatewayOf } from './gateway-fixture.ts'
import { refuseExpectations } from './server-options.ts'

test.each([
  ['headers that are too long', `GET /wallets/a HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ['what is no request', 'hello there\r\n\r\n', 400],
  ['an unknown expectation', 'GET /wallets/a HTTP/1.1\r\nhost: a\r\nexpect: tea\r\nconnection: close\r\n\r\n', 417],
])('%s is answered with a problem document', async (_, request, status) => {
  await using gateway = await gatewayOf()
  refuseExpectations(gateway.server.server)
  await gateway.server.listen({ port: 0, host: '127.0.0.1' })
  const socket = connect((gateway.server.server.address() as AddressInfo).port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(request)
  const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n')
  expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  expect(head.toLowerCase()).toContain('content-type: application/problem+json')
  expect(JSON.parse(/\{.*\}/s.exec(body)?.[0] ?? '')).toMatchObject({ status, code: 'BAD_REQUEST' })
})
