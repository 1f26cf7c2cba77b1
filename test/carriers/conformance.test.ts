// Every carrier passes the same cases. Which brokers this run has reached, and which not, is printed; `npm run test:brokers` fails for those.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineApp, start } from 'twofold'
import { carrierConformance } from 'twofold/testing'
import { grounds } from './grounds.ts'

const mustBeThere = process.env['TWOFOLD_TEST_BROKERS'] === 'required'

for (const { name, at, isThere } of grounds) {
  const where = at === undefined ? '' : `: ${new URL(at).host} ${isThere ? 'answers' : 'does not answer'}`
  console.log(`carrier suite '${name}' ${isThere ? 'runs' : 'does NOT run'}${where}`)
}

test.runIf(mustBeThere)('every broker is there', () => {
  expect(grounds.filter(({ isThere }) => !isThere).map(({ name }) => name)).toEqual([])
})

describe.each(grounds.filter(({ isThere }) => isThere))('$name', (ground) => {
  beforeAll(() => ground.start?.(), 180_000)
  afterAll(() => ground.stop?.(), 60_000)

  test.each(carrierConformance({ start, defineApp }, () => ground.make()))('$name', { timeout: 60_000 }, async (conformance) => {
    await expect(conformance.run()).resolves.toBeUndefined()
  })
})
