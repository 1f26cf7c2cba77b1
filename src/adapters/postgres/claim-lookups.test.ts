import { afterAll, beforeAll, expect, test } from 'vitest'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { ClaimLookups } from './claim-lookups.ts'
import { PostgresDatabase } from './database.ts'
import { migrate } from './migrate.ts'

const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
let own: TestDatabase
let database: PostgresDatabase

beforeAll(async () => {
  own = await testDatabase()
  await migrate(own.url, { appName: 'test', partitionCount: 4 })
  database = new PostgresDatabase({ url: own.url, applicationName: 'test', log: quiet })
})
afterAll(async () => {
  await database.close()
  await own.drop()
})

const hashOf = (number: number): string => number.toString(16).padStart(64, '0')
const idOf = (number: number): string => `019c0000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
const claim = (number: number): Promise<unknown> =>
  database.query('insert into twofold._claim (hash, fingerprint, command_id) values ($1, $2, $3)', [
    hashOf(number),
    hashOf(1000 + number),
    idOf(number),
  ])

/** The database, with how often it was asked; `fails` is thrown instead of the next answer. */
function counted(): { asked: number; fails: Error | undefined; query: PostgresDatabase['query'] } {
  return {
    asked: 0,
    fails: undefined,
    async query(text, values) {
      this.asked += 1
      const { fails } = this
      this.fails = undefined
      if (fails) throw fails
      return database.query(text, values)
    },
  }
}

test('claims asked for together are looked up together, and each gets its own', async () => {
  await claim(1)
  await claim(2)
  const counting = counted()
  const lookups = new ClaimLookups(counting)
  const found = await Promise.all([2, 3, 1, 2].map((number) => lookups.find(hashOf(number))))
  expect(found.map((one) => one?.commandId)).toEqual([idOf(2), undefined, idOf(1), idOf(2)])
  expect(found[0]).toEqual({ commandId: idOf(2), fingerprint: hashOf(1002), answer: undefined })
  expect(counting.asked).toBe(1)
})

test('a claim made before it is asked for is seen, also while an earlier look-up is under way', async () => {
  const lookups = new ClaimLookups(database)
  const earlier = lookups.find(hashOf(4))
  await claim(4)
  expect((await lookups.find(hashOf(4)))?.commandId).toBe(idOf(4))
  await earlier
})

test('a look-up that fails fails for all who asked, and the next one is a new one', async () => {
  await claim(5)
  const counting = counted()
  counting.fails = new Error('away')
  const lookups = new ClaimLookups(counting)
  const settled = await Promise.allSettled([lookups.find(hashOf(5)), lookups.find(hashOf(6))])
  expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect((await lookups.find(hashOf(5)))?.commandId).toBe(idOf(5))
})
