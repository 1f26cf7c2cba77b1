// A crash campaign: processes killed, frozen and cut off under load, point by point and at random moments, for as long as asked. The seed
// is printed; the same one draws the same faults.   npm run crash -- --hits 20 --random 100 --seed 1
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startEmbeddedPostgres } from '../src/adapters/postgres/embedded/embedded-postgres.ts'
import { crashPoints, type CrashPoint } from '../src/runtime/crash-points.ts'
import { Turns } from '../src/subscribers/turns.ts'
import { otherFaults } from '../test/crash/faults.ts'
import { runScenario, type Fault } from '../test/crash/run-scenario.ts'
import { scenarios } from '../test/crash/scenarios.ts'
import { createDatabase, dropDatabase } from '../test/support/fresh-database.ts'

interface Tally {
  runs: number
  answered: number
  violations: number
  /** No work was under way, or none went on: the run says nothing. */
  void: number
}

const HELP = `npm run crash -- [--hits N] [--random N] [--seed N] [--only TEXT] [--concurrency N] [--minutes-max N]

  --hits         how often each fault at a crash point is tried (default 3)
  --random       kills at random moments (default 20)
  --seed         draws the faults; the same one draws the same (default: the clock)
  --only         just the faults whose name holds this text, for instance 'kill at engine'
  --concurrency  so many at a time (default 3)
  --minutes-max  none is begun after so long (default 60)
`

const { values } = parseArgs({
  options: {
    hits: { type: 'string', default: '3' },
    random: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string', default: '' },
    concurrency: { type: 'string', default: '3' },
    'minutes-max': { type: 'string', default: '60' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit()
}
const seed = whole('seed')
const [hits, random, concurrency, minutesMax] = [whole('hits'), whole('random'), whole('concurrency'), whole('minutes-max')]

const folder = await mkdtemp(join(tmpdir(), 'twofold-campaign-'))
const server = await startEmbeddedPostgres({ dataDir: folder })
const end = performance.now() + minutesMax * 60_000
const tallies = new Map<string, Tally>()
console.log(
  `seed ${seed}: ${hits} hits at each point, ${random} at random moments, ${concurrency} at a time, ${minutesMax} minutes at most`,
)
try {
  const turns = new Turns(concurrency)
  await Promise.all(drawn().map((fault) => turns.run(() => once(fault))))
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}
report()

/** Every point in turn, so that a campaign that is cut has seen all of them. */
function drawn(): Fault[] {
  const points = Object.keys(crashPoints) as CrashPoint[]
  const kills = points.map((point): Pick<Fault, 'point' | 'action'> => ({ point, action: 'kill' }))
  const anywhere = { point: 'anywhere', action: 'kill' } as const
  const named = Array.from({ length: hits }, () => [...kills, ...otherFaults])
  const faults = [...named.flat(), ...Array.from({ length: random }, () => anywhere)]
  return faults
    .map((fault, at) => ({ ...fault, seed: seed * 100_000 + at }))
    .filter((fault) => values.only === '' || nameOf(fault).includes(values.only))
}

async function once(fault: Fault): Promise<void> {
  if (performance.now() > end) return
  const url = await createDatabase(server.url)
  const began = performance.now()
  const tally = tallies.get(nameOf(fault)) ?? { runs: 0, answered: 0, violations: 0, void: 0 }
  tallies.set(nameOf(fault), tally)
  const { violations, output, ...run } = await runScenario(fault, url).catch((error: unknown) => ({
    violations: [String(error)],
    output: '',
    inFlight: 0,
    answered: 0,
    answeredAfter: 0,
  }))
  tally.runs += 1
  tally.answered += run.answered
  tally.violations += violations.length
  if (run.answeredAfter === 0 || (run.inFlight === 0 && !isFresh(fault))) tally.void += 1
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  console.log(
    `${nameOf(fault)} (seed ${fault.seed}): ${run.answered} answers, ${run.inFlight} under way, ${seconds} s, ${violations.length} violations`,
  )
  if (violations.length === 0) return dropDatabase(server.url, url)
  process.exitCode = 1
  const file = join(tmpdir(), `twofold-crash-${fault.seed}.log`)
  await writeFile(file, `${violations.join('\n')}\n${output}`)
  console.log(`${violations.slice(0, 5).join('\n')}\n  all of it: ${file}`)
}

function report(): void {
  console.log('\n| fault | runs | answers | violations | void |\n|---|---:|---:|---:|---:|')
  const all = [...tallies].toSorted(([a], [b]) => (a < b ? -1 : 1))
  for (const [name, tally] of all) console.log(`| ${name} | ${tally.runs} | ${tally.answered} | ${tally.violations} | ${tally.void} |`)
  const sum = (of: (tally: Tally) => number): number => all.reduce((total, [, tally]) => total + of(tally), 0)
  console.log(`| all | ${sum((t) => t.runs)} | ${sum((t) => t.answered)} | ${sum((t) => t.violations)} | ${sum((t) => t.void)} |`)
}

/** Nobody can be served by an instance that is still setting up its database. */
function isFresh({ point }: Fault): boolean {
  return point !== 'anywhere' && scenarios[point].armed === 'fresh'
}

function nameOf({ point, action }: Pick<Fault, 'point' | 'action'>): string {
  return `${action} at ${point}`
}

function whole(name: 'hits' | 'random' | 'seed' | 'concurrency' | 'minutes-max'): number {
  const given = values[name]
  if (/^\d{1,9}$/.test(given)) return Number(given)
  console.error(`--${name} is '${given}'; it must be a whole number`)
  process.exit(1)
}
