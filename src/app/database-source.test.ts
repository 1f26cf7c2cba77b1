import { expect, test } from 'vitest'
import { testDatabase } from '../../test/support/database.ts'
import { proxyTo } from '../../test/support/proxy.ts'
import { openDatabaseSource } from './database-source.ts'

test('a server is shown without its password, also where that is a parameter', async () => {
  const own = await testDatabase()
  const url = new URL(own.url)
  const { password } = url
  url.searchParams.set('password', password)
  url.password = ''
  const source = await openDatabaseSource({ url: url.href, dataDir: '' }, () => undefined)
  expect(password).not.toBe('')
  expect(source.shown).toBe(`${url.host}${url.pathname}`)
  await source.stop()
  await own.drop()
})

test('a server that is not there yet is waited for aloud', async () => {
  const own = await testDatabase()
  const proxy = await proxyTo(own.url)
  await proxy.cut()
  const lines: string[] = []
  const source = await openDatabaseSource({ url: proxy.url, dataDir: '' }, (line) => {
    lines.push(line)
    void proxy.restore()
  })
  expect(lines).toEqual([expect.stringMatching(/^waiting up to 10 s for PostgreSQL at 127\.0\.0\.1:/)])
  await source.stop()
  await proxy.close()
  await own.drop()
})
