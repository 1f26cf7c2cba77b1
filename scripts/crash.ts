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
import { hasRabbitMq } from '../test/support/rabbitmq.ts'

interface Tally {
  runs: number
  answered: number
  violations: number
  /** No work was under way, or none went on: the run says nothing. */
  void: number
}

const HELP = `npm run crash -- [--hits N] [--random N] [--seed N] [--only TEXT] [--again FAULT] [--concurrency N] [--minutes-max N]

  --hits         how often each fault at a crash point is tried (default 3)
  --random       kills at random moments (default 20)
  --seed         draws the faults; the same one draws the same (default: the clock)
  --only         just the faults whose name holds this text, for instance 'kill at engine'
  --again        just one fault, by its name and seed as they were printed, so often as --hits says: 'kill at engine.commit: 100004'
  --concurrency  so many at a time (default 3)
  --minutes-max  none is begun after so long (default 60)

Ctrl-C ends it: what has been found by then is told.
`

const { values } = parseArgs({
  options: {
    hits: { type: 'string', default: '3' },
    random: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    only: { type: 'string', default: '' },
    again: { type: 'string' },
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

const anywhere = { point: 'anywhere', action: 'kill' } as const
const kills = (Object.keys(crashPoints) as CrashPoint[]).map((point): Pick<Fault, 'point' | 'action'> => ({ point, action: 'kill' }))
const faults = await possible(values.again === undefined ? drawn() : again(values.again))
const cut = new AbortController()
// Under npm a signal comes twice: to all of the group, and passed on by npm.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => cut.abort(new Error(`cut by ${signal}`)))

const folder = await mkdtemp(join(tmpdir(), 'twofold-campaign-'))
const server = await startEmbeddedPostgres({ dataDir: folder })
const end = performance.now() + minutesMax * 60_000
const tallies = new Map<string, Tally>()
/** What was told of each run with violations. */
const violating: string[] = []
let begun = 0
console.log(`seed ${seed}: ${faults.length} faults, ${concurrency} at a time, ${minutesMax} minutes at most`)
try {
  const turns = new Turns(concurrency)
  await Promise.all(faults.map((fault) => turns.run(() => once(fault))))
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}
report()
// What a run that was cut still waits for is nobody's concern any more.
if (cut.signal.aborted) process.exit()

/** Every point in turn, so that a campaign that is cut has seen all of them. */
function drawn(): Fault[] {
  const named = Array.from({ length: hits }, () => [...kills, ...otherFaults])
  return [...named.flat(), ...Array.from({ length: random }, () => anywhere)]
    .map((fault, at) => ({ ...fault, seed: seed * 100_000 + at }))
    .filter((fault) => nameOf(fault).includes(values.only))
}

/** One fault as it was told before. */
function again(told: string): Fault[] {
  const [, name, own] = /^(?<name>.+): (?<seed>\d+)$/.exec(told) ?? []
  const fault = [...kills, ...otherFaults, anywhere].find((each) => nameOf(each) === name)
  if (fault === undefined || own === undefined)
    refuse(`--again is '${told}'; it must be a fault and its seed, as in 'kill at engine.commit: 100004'`)
  return Array.from({ length: hits }, () => ({ ...fault, seed: Number(own) }))
}

/** Without a broker the places around it cannot be reached. */
async function possible(all: readonly Fault[]): Promise<readonly Fault[]> {
  const needsBroker = ({ point }: Fault): boolean => point !== 'anywhere' && scenarios[point].broker !== undefined
  const found = all.some(needsBroker) && !(await hasRabbitMq('what happens around it')) ? all.filter((fault) => !needsBroker(fault)) : all
  if (found.length === 0)
    refuse(`there is no such fault that could be tried; --only may hold a part of ${kills.slice(0, 3).map(nameOf).join(', ')} …`)
  return found
}

async function once(fault: Fault): Promise<void> {
  if (performance.now() > end || cut.signal.aborted) return
  begun += 1
  const number = begun
  const url = await createDatabase(server.url)
  const began = performance.now()
  const { violations, output, ...run } = await runScenario(fault, url, cut.signal).catch((error: unknown) => ({
    violations: [String(error)],
    output: '',
    inFlight: 0,
    answered: 0,
    answeredAfter: 0,
  }))
  if (cut.signal.aborted) return
  const tally = tallies.get(nameOf(fault)) ?? { runs: 0, answered: 0, violations: 0, void: 0 }
  tallies.set(nameOf(fault), tally)
  tally.runs += 1
  tally.answered += run.answered
  tally.violations += violations.length
  if (run.answeredAfter === 0 || (run.inFlight === 0 && !isFresh(fault))) tally.void += 1
  const seconds = ((performance.now() - began) / 1000).toFixed(1)
  const told = `${nameOf(fault)} (seed ${fault.seed}): ${run.answered} answers, ${run.inFlight} under way, ${seconds} s`
  console.log(`${number}/${faults.length} ${told}, ${violations.length === 0 ? 'no' : violations.length} violations`)
  if (violations.length === 0) return dropDatabase(server.url, url)
  process.exitCode = 1
  const file = join(tmpdir(), `twofold-crash-${fault.seed}.log`)
  await writeFile(file, `${violations.join('\n')}\n${output}`)
  const found = [...violations.slice(0, 5), ...(violations.length > 5 ? [`and ${violations.length - 5} more`] : [])]
  violating.push(
    [
      `${nameOf(fault)} (seed ${fault.seed}):`,
      ...found.map((each) => `  ${each}`),
      `  all of it: ${file}`,
      `  once more: npm run crash -- --hits 1 --again '${nameOf(fault)}: ${fault.seed}'`,
    ].join('\n'),
  )
  console.log(violating.at(-1))
}

function report(): void {
  console.log('\n| fault | runs | answers | violations | void |\n|---|---:|---:|---:|---:|')
  const all = [...tallies].toSorted(([a], [b]) => (a < b ? -1 : 1))
  for (const [name, tally] of all) console.log(`| ${name} | ${tally.runs} | ${tally.answered} | ${tally.violations} | ${tally.void} |`)
  const sum = (of: (tally: Tally) => number): number => all.reduce((total, [, tally]) => total + of(tally), 0)
  const runs = sum((t) => t.runs)
  console.log(`| all | ${runs} | ${sum((t) => t.answered)} | ${sum((t) => t.violations)} | ${sum((t) => t.void)} |\n`)
  if (runs < faults.length) console.log(`${faults.length - runs} of ${faults.length} faults were not tried to their end: ${whyNot()}`)
  if (runs === 0) return console.log(`seed ${seed}: nothing was tried`)
  const silent = sum((t) => t.void) === 0 ? '' : `, of which ${sum((t) => t.void)} say nothing: no work was under way, or none went on`
  if (violating.length === 0) return console.log(`seed ${seed}: nothing was lost, doubled or reordered in ${runs} runs${silent}`)
  console.log(`seed ${seed}: ${violating.length} of ${runs} runs had violations\n${violating.join('\n')}`)
}

function whyNot(): string {
  return cut.signal.aborted ? (cut.signal.reason as Error).message : `${minutesMax} minutes were over`
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
  return refuse(`--${name} is '${given}'; it must be a whole number`)
}

function refuse(reason: string): never {
  console.error(reason)
  process.exit(1)
}
