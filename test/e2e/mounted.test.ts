import fastify from 'fastify'
import { expect, test } from 'vitest'
import { gateway } from 'twofold'
import { shop } from '../../examples/shop/app.ts'
import { testDatabase } from '../support/database.ts'
import { until } from './program.ts'

test('closing the host answers who waits, and does not wait for their connections', { timeout: 60_000 }, async () => {
  const database = await testDatabase()
  const server = fastify()
  let inHand = 0
  server.addHook('preHandler', (_request, _reply, done) => {
    inHand += 1
    done()
  })
  // Nobody runs commands here, so who waits for one waits.
  await server.register(gateway, { prefix: '/api', app: shop, url: database.url, logLevel: 'error', roles: ['stateless'] })
  const url = await server.listen({ port: 0, host: '127.0.0.1' })
  const deposit = (prefer: string): Promise<Response> => {
    const headers = { 'content-type': 'application/json', prefer }
    return fetch(`${url}/api/wallets/w/deposits`, { method: 'POST', headers, body: '{"amountCents":5}' })
  }
  const accepted = await deposit('respond-async')
  const waiting = Promise.all([fetch(`${url}${accepted.headers.get('location')}?wait=60`), deposit('wait=60')])
  await until('both are in hand', () => inHand === 3)
  const closing = performance.now()
  await server.close()
  expect(performance.now() - closing).toBeLessThan(5000)
  expect((await waiting).map((answer) => answer.status)).toEqual([200, 202])
  await database.drop()
})

test('a database that is away is what the host is told, not that a plugin was late', async () => {
  const server = fastify({ pluginTimeout: 2000 })
  const url = 'postgres://u:p@127.0.0.1:1/db'
  const started = Promise.resolve(server.register(gateway, { app: shop, url, logLevel: 'error' }))
  await expect(started).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
})
