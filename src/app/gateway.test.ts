import fastify from 'fastify'
import { expect, test, vi } from 'vitest'
import { defineApp } from './define-app.ts'
import { gateway } from './gateway.ts'

const stopped: string[] = []

vi.mock('./database-source.ts', () => ({
  openDatabaseSource: () => Promise.resolve({ url: '', shown: '', stop: () => Promise.resolve(stopped.push('source')) }),
}))
vi.mock('./backend.ts', () => ({
  startBackend: () =>
    Promise.resolve({
      ports: {},
      stop: () => {
        stopped.push('backend')
        return Promise.reject(new Error('the engine does not stop'))
      },
    }),
}))

test('a backend that fails to stop leaves no database running', async () => {
  const server = fastify()
  await server.register(gateway, { app: defineApp('nothing', []), logLevel: 'silent' })
  await server.ready()
  await server.close().catch(() => undefined)
  expect(stopped).toEqual(['backend', 'source'])
})
