import { createServer } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { proxyTo } from '../../../test/support/proxy.ts'
import { preflight, shownUrl } from './preflight.ts'

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
    const error = await preflight(url, { patienceMs: 300 }).then(
      () => undefined,
      (thrown: { code: string; message: string }) => thrown,
    )
    expect(error, url).toMatchObject({ code })
    expect(error?.message).not.toMatch(/not-the-password|\n/)
    expect(error?.message).not.toContain(new URL(own.url).password)
  }
})

test('that a server is waited for is said at once, and only once, with the reason', async () => {
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as { port: number }
  closed.close()
  const lines: string[] = []
  const url = changed((each) => void (each.port = String(port)))
  const waiting = preflight(url, { patienceMs: 1000, progress: (line) => lines.push(line) })
  await expect(waiting).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
  expect(lines).toEqual([`waiting up to 1 s for PostgreSQL at ${shownUrl(url)} (connect ECONNREFUSED 127.0.0.1:${port})`])
  await preflight(own.url, { progress: (line) => lines.push(line) })
  expect(lines).toHaveLength(1)
})

test('a server that takes connections and never speaks is one that does not answer', async () => {
  const silent = createServer().listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as { port: number }
  const waiting = preflight(
    changed((url) => void (url.port = String(port))),
    { patienceMs: 300 },
  )
  await expect(waiting).rejects.toMatchObject({
    code: 'DATABASE_UNREACHABLE',
    message: expect.stringContaining('(no answer within 0.3 s)'),
  })
  silent.close()
})

test('an address is shown as it is used, without user and password', () => {
  const shown = {
    'postgres://u:SECRET@h:6000/db': 'h:6000/db',
    'postgres://u@h/db?password=SECRET': 'h:5432/db',
    'postgres:///db?host=/run/postgresql&port=6000&user=u': '/run/postgresql:6000/db',
    'postgres:///db': 'localhost:5432/db',
    SECRET: 'DATABASE_URL',
  }
  expect(Object.keys(shown).map(shownUrl)).toEqual(Object.values(shown))
})

test('a server that comes up while we wait is used', async () => {
  const proxy = await proxyTo(own.url)
  await proxy.cut()
  const waiting = preflight(proxy.url)
  await proxy.restore()
  await waiting
  await proxy.close()
})
