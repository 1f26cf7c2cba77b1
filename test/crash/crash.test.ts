// A real process dies at every crash point of the source, under load; another one goes on, and nothing is lost, doubled or reordered.
import { readFile } from 'node:fs/promises'
import { expect, inject, test } from 'vitest'
import { crashPoints, type CrashPoint } from '../../src/runtime/crash-points.ts'
import { Turns } from '../../src/subscribers/turns.ts'
import { createDatabase, dropDatabase } from '../support/fresh-database.ts'
import { amqpUrl, reaches } from '../support/rabbitmq.ts'
import { readRepository } from '../tidy/source-program.ts'
import { otherFaults } from './faults.ts'
import { runScenario, type Fault } from './run-scenario.ts'
import { scenarios } from './scenarios.ts'

/** So many at the same time: most of a run is waiting for a lease to end. */
const turns = new Turns(3)

const points = Object.keys(crashPoints) as CrashPoint[]

test('every crash point of the source is declared, and killed at by a scenario', () => {
  const sources = readRepository().files.filter(({ path }) => path.startsWith('src/') && !path.endsWith('.test.ts'))
  const named = /(?:reach\(|, )'(?<point>[a-z-]+\.[a-z-]+)'(?:\)|, )/g
  const inSource = sources
    .filter(({ text }) => /crash/i.test(text))
    .flatMap(({ text }) => [...text.matchAll(named)].map(({ groups }) => groups?.['point'] ?? ''))
  expect([...new Set(inSource)].toSorted()).toEqual(points.toSorted())
  expect(Object.keys(scenarios).toSorted()).toEqual(points.toSorted())
})

test('every crash point is in the guide, with what is true there', async () => {
  const guide = await readFile('docs/guides/testing.md', 'utf8')
  const rows = [...guide.matchAll(/^\| `(?<point>[a-z-]+\.[a-z-]+)` \| (?<words>.+) \|$/gm)].map(({ groups }) => [
    groups?.['point'],
    groups?.['words'],
  ])
  expect(rows).toEqual(Object.entries(crashPoints))
})

const hasRabbitMq = await reaches(amqpUrl, 5672)

if (!hasRabbitMq) console.log('no RabbitMQ answers: the places around a broker are NOT killed at')

const canReach = (point: Fault['point']): boolean => hasRabbitMq || point === 'anywhere' || scenarios[point].broker === undefined

test.concurrent.each(points.filter(canReach))('killed at %s: nothing is lost, doubled or reordered', { timeout: 600_000 }, (point) =>
  check({ point, action: 'kill', seed: points.indexOf(point) }),
)

test.concurrent.each(otherFaults.filter(({ point }) => canReach(point)))(
  '$action at $point: nothing is lost, doubled or reordered',
  { timeout: 600_000 },
  ({ point, action }) => check({ point, action, seed: 7 }),
)

async function check(fault: Fault): Promise<void> {
  await turns.run(async () => {
    const server = inject('postgresUrl')
    const url = await createDatabase(server)
    try {
      const { violations, inFlight, answeredAfter, output } = await runScenario(fault, url)
      // A report shows the beginning of what is long.
      expect(violations, `seed ${fault.seed}: ${violations.join('\n')}\n${output}`).toEqual([])
      const { point } = fault
      const fresh = point !== 'anywhere' && scenarios[point].armed === 'fresh'
      expect(point === 'anywhere' || output.includes('a crash point is reached'), 'the fault came').toBe(true)
      expect(inFlight > 0 || fresh, 'work was under way').toBe(true)
      expect(answeredAfter, 'work went on').toBeGreaterThan(0)
    } finally {
      await dropDatabase(server, url)
    }
  })
}

test.concurrent.each([1, 2, 3])(
  'killed at a random moment (seed %i): nothing is lost, doubled or reordered',
  { timeout: 600_000 },
  (seed) => check({ point: 'anywhere', action: 'kill', seed }),
)
