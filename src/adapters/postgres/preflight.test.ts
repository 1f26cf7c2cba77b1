import { createServer } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { proxyTo } from '../../../test/support/proxy.ts'
import { preflight } from './preflight.ts'

let own: TestDatabase

beforeAll(async () => {
  own = await testDatabase()
})
afterAll(() => own.drop())

const changed = (change: (url: URL) => void): string => {
  const url = new URL(own.url)
  change(url)
  return url.href
}

test('a server that is there and writable passes', async () => {
  await preflight(own.url)
})

test('what is wrong is told in one sentence, without the password', async () => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as { port: number }
  silent.close()
  const cases: [string, string][] = [
    [changed((url) => void (url.password = 'not-the-password')), 'DATABASE_FORBIDDEN'],
    [changed((url) => void (url.pathname = '/nowhere')), 'DATABASE_FORBIDDEN'],
    [changed((url) => void (url.port = String(port))), 'DATABASE_UNREACHABLE'],
    ['http://127.0.0.1/', 'INVALID_ENVIRONMENT'],
    ['nonsense', 'INVALID_ENVIRONMENT'],
  ]
  for (const [url, code] of cases) {
    const error = await preflight(url, 300).then(
      () => undefined,
      (thrown: { code: string; message: string }) => thrown,
    )
    expect(error, url).toMatchObject({ code })
    expect(error?.message).not.toMatch(/not-the-password|\n/)
    expect(error?.message).not.toContain(new URL(own.url).password)
  }
})

test('a server that comes up while we wait is used', async () => {
  const proxy = await proxyTo(own.url)
  await proxy.cut()
  const waiting = preflight(proxy.url, 10_000)
  await proxy.restore()
  await waiting
  await proxy.close()
})
