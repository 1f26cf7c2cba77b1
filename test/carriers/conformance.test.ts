// Every carrier passes the same cases. Which brokers this run has reached, and which not, is printed; `npm run test:brokers` fails for those.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defineApp, start } from 'twofold'
import { carrierConformance } from 'twofold/testing'
import { grounds } from './grounds.ts'

/** What a carrier has to stand. */
const ASKED = [
  'durability',
  'order per key',
  'redelivery',
  'duplicates',
  'reorder across keys',
  'batch sizes',
  'large bodies',
  'broker restart',
  'connection loss',
  'slow consumer',
  'shutdown drain',
  'two consumers',
  'hand-over',
]

const suites = grounds.map((ground) => ({ ...ground, cases: carrierConformance({ start, defineApp }, ground.subject) }))

for (const { name, isThere, cases } of suites) {
  console.log(`carrier suite '${name}' ${isThere ? 'runs' : 'does NOT run: there is no such broker'}`)
  for (const { name: claim, saysNothing } of cases)
    if (isThere && saysNothing !== undefined) console.log(`  but not '${claim}': ${saysNothing}`)
}

test('the suite asks for all that a carrier has to stand, and the same of each', () => {
  for (const { cases } of suites) {
    expect(new Set(cases.map(({ topic }) => topic))).toEqual(new Set([...ASKED, 'replies', 'bounds']))
    expect(cases.map(({ name }) => name)).toEqual(suites[0]?.cases.map(({ name }) => name))
  }
})

test('what a case says nothing of is told by features', () => {
  const silent = suites.map(({ name, cases }) => [
    name,
    cases.filter(({ saysNothing }) => saysNothing !== undefined).map(({ topic }) => topic),
  ])
  expect(Object.fromEntries(silent)).toMatchObject({
    postgres: ['broker restart', 'slow consumer', 'connection loss', 'two consumers'],
    memory: ['broker restart', 'broker restart'],
    kafka: ['replies'],
  })
  for (const { cases } of suites) for (const { saysNothing = '(`' } of cases) expect(saysNothing).toContain('(`')
})

describe.each(suites.filter(({ isThere }) => isThere))('$name', (suite) => {
  beforeAll(() => suite.start?.(), 180_000)
  afterAll(() => suite.stop?.(), 60_000)

  test.for(suite.cases)('$name', { timeout: 120_000 }, async (conformance, { skip }) => {
    skip(conformance.saysNothing !== undefined, conformance.saysNothing)
    await expect(conformance.run()).resolves.toBeUndefined()
  })
})
