import { afterEach, beforeEach, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../../test/support/database.ts'
import { keep, type Keeper } from './keeper.ts'

let database: TestDatabase

beforeEach(async () => {
  database = await testDatabase()
})
afterEach(() => database.drop())

async function present(): Promise<Keeper> {
  const keeper = await keep(database.url)
  if (keeper === undefined) throw new Error('the server did not let a keeper in')
  return keeper
}

test('of those who leave only the last one is told so, also when they leave at once', async () => {
  const [first, second, third] = [await present(), await present(), await present()]
  expect(await first.leave()).toBe(false)
  const last = await Promise.all([second.leave(), third.leave()])
  expect(last.filter(Boolean)).toHaveLength(1)
  await Promise.all([first, second, third].map((each) => each.end()))
})

test('while the last one is stopping the server nobody else gets in', async () => {
  const last = await present()
  expect(await last.leave()).toBe(true)
  expect(await keep(database.url)).toBeUndefined()
  await last.end()
  const next = await present()
  await next.end()
})

test('one that is killed without leaving does not count', async () => {
  const [killed, other] = [await present(), await present()]
  await killed.end()
  await killed.ended
  expect(await other.leave()).toBe(true)
  await other.end()
})

test('a server that does not answer yet is no error, a wrong password is', async () => {
  const nobody = new URL(database.url)
  nobody.port = '1'
  expect(await keep(nobody.href)).toBeUndefined()
  const stranger = new URL(database.url)
  stranger.password = 'guessed'
  await expect(keep(stranger.href)).rejects.toMatchObject({ code: '28P01' })
})
