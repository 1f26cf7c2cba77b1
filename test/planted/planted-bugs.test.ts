// Plants each bug in a copy of the sources and runs the test that must see it. A guard without such a test is only a comment.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { bugs as others, type PlantedBug } from './bugs.ts'
import { carrierBugs } from './carrier-bugs.ts'
import { checkerBugs } from './checker-bugs.ts'
import { directBugs } from './direct-bugs.ts'
import { hasKafkaNode } from '../brokers/kafka/for-tests.ts'
import { hasRabbitMq } from '../support/rabbitmq.ts'
import { kafkaBugs } from './kafka-bugs.ts'
import { rabbitMqBugs } from './rabbitmq-bugs.ts'
import { ownershipBugs } from './ownership-bugs.ts'
import { proofBugs } from './proof-bugs.ts'
import { replayBugs } from './replay-bugs.ts'
import { requestBugs } from './request-bugs.ts'
import { ruleBugs } from './rule-bugs.ts'
import { sqlBugs } from './sql-bugs.ts'
import type { Seen } from './planter.ts'

/** So many bugs are planted at a time, each in a copy of its own. Most of these tests wait more than they compute. */
const PLANTERS = 3

const COPIED = ['src', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts']

const bugs = [
  ...others,
  ...carrierBugs,
  ...checkerBugs,
  ...directBugs,
  ...ownershipBugs,
  ...proofBugs,
  ...replayBugs,
  ...requestBugs,
  ...ruleBugs,
  ...sqlBugs,
  // Without a broker nobody would see them.
  ...(hasKafkaNode ? kafkaBugs : []),
  ...((await hasRabbitMq('what its tests would see of planted bugs')) ? rabbitMqBugs : []),
]

/** What the engine is nothing without, and a bug in each. The first column is what is taken out. */
const guards = [
  ['the check of versions', 'a write does not check its version'],
  ['the fence', 'the fence does not compare epochs'],
  ['deduplication', 'a duplicate outcome is skipped instead of refused'],
  ['the outcome in the transaction of its effect', 'outcomes are stored after the commit'],
  ['the lock that keeps several keys in order', 'a cross batch locks its rows in the order in which its commands name them'],
  ['the order of a key', 'direct commands run before the log'],
  ['the answer after the commit', 'callers are answered before the commit'],
  ['the acknowledgement after the commit', 'a delivered command is acknowledged before its effect is stored'],
] as const

test.each(guards)('a bug takes out %s', (_, name) => {
  const bug = bugs.find((each) => each.name === name)
  expect(bug, `'${name}' is planted`).toBeDefined()
  expect(bug?.showsBy, 'by an assertion').toBeUndefined()
})

interface Planter {
  readonly folder: string
  readonly child: ChildProcess
}

const planters: Planter[] = []
const idle: Planter[] = []
const waiting: ((planter: Planter) => void)[] = []

beforeAll(async () => {
  for (const planter of await Promise.all(Array.from({ length: PLANTERS }, startPlanter))) {
    planters.push(planter)
    idle.push(planter)
  }
}, 60_000)
afterAll(async () => {
  for (const { child, folder } of planters) {
    const ended = once(child, 'exit')
    child.disconnect()
    await ended
    await rm(folder, { recursive: true, force: true })
  }
})

test.each(bugs)('there is one place for: $name', async ({ file, find }) => {
  const source = await readFile(join('src', file), 'utf8')
  expect(source.split(find).length, `'${find}' occurs once in ${file}`).toBe(2)
})

/** A bug that is none: whoever sees it sees bugs everywhere. */
const NONE = {
  name: 'nothing is broken',
  file: 'contract/key.ts',
  find: '',
  replace: '',
  test: 'src/runtime/backoff.test.ts',
  claim: 'the bound doubles',
}

const RED = ruleBugs.find(({ test: path }) => path === 'src/contract/key.test.ts') as PlantedBug

const HANGS = {
  name: 'a pause at a crash point never ends',
  file: 'runtime/crash-points.ts',
  find: 'setTimeout(resolve, action.delayMs)',
  replace: 'void resolve',
  test: 'src/runtime/crash-points.test.ts',
  claim: 'a place fails, waits',
}

/** A test that waits by an `AbortSignal` alone, and one that waits by `vi.waitUntil`, do not say what they waited for either. */
const ABORTS = {
  name: 'nobody is answered',
  file: 'stateful/engine/commit-works.ts',
  find: 'for (const { work, result } of planned.answers) settle(work, result)',
  replace: 'void settle',
  test: 'test/engine/engine.test.ts',
  claim: 'versions rise by one without gaps',
}

const POLLS = {
  name: 'nothing is appended',
  file: 'adapters/postgres/command-log.ts',
  find: "  await client.query({\n    name: 'twofold_append',",
  replace: "  if (rows.length > 0) return\n  await client.query({\n    name: 'twofold_append',",
  test: 'src/adapters/postgres/command-log.test.ts',
  claim: 'what was sent and not answered is in doubt',
}

test('a planter sees what a bug does, and nothing of the one before it', { timeout: 90_000 }, async () => {
  const none = { ran: 1, failed: 0, timedOut: 0, errors: [] }
  for (const { child } of planters) {
    expect(await planted(child, NONE)).toEqual(none)
    expect(await planted(child, RED)).toMatchObject({ ran: 1, failed: 1, timedOut: 0, errors: [expect.stringContaining('AssertionError')] })
    expect(await planted(child, NONE)).toEqual(none)
  }
})

test.each([HANGS, ABORTS, POLLS])('a test that times out has noticed nothing: $name', { timeout: 60_000 }, async (bug) => {
  expect(await planted(planters[0]!.child, bug)).toMatchObject({ ran: 1, failed: 0, timedOut: 1 })
})

describe.concurrent('the test that is named turns red when', () => {
  test.each(bugs)('$name', { timeout: 600_000 }, async (bug) => {
    const planter = await nextPlanter()
    try {
      const seen = await planted(planter.child, bug)
      expect(seen.ran, `no test of ${bug.test} begins with '${bug.claim}': ${seen.errors.join('\n')}`).toBeGreaterThan(0)
      const timedOut = bug.showsBy === undefined ? 0 : seen.timedOut
      expect(seen.failed + timedOut, `no test turned red although ${bug.name}: ${seen.errors.join('\n')}`).toBeGreaterThan(0)
      expect(seen.errors.join('\n')).not.toMatch(/SyntaxError|Transform failed|is not defined/)
    } finally {
      const next = waiting.shift()
      if (next === undefined) idle.push(planter)
      else next(planter)
    }
  })
})

async function startPlanter(): Promise<Planter> {
  const folder = await mkdtemp(join(tmpdir(), 'twofold-planted-'))
  for (const name of COPIED) await cp(name, join(folder, name), { recursive: true })
  await symlink(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'))
  const environment = { ...process.env, TWOFOLD_TEST_POSTGRES: inject('postgresUrl') }
  const child = fork('test/planted/planter.ts', { cwd: folder, env: environment })
  await once(child, 'message')
  return { folder, child }
}

async function planted(child: ChildProcess, bug: PlantedBug): Promise<Seen> {
  child.send(bug)
  const [seen] = (await once(child, 'message', { signal: AbortSignal.timeout(90_000) })) as [Seen]
  return seen
}

function nextPlanter(): Planter | Promise<Planter> {
  return idle.pop() ?? new Promise((resolve) => waiting.push(resolve))
}
