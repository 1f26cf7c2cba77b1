// `npm run bench`: measures Twofold and what it is compared with, one after the other on one PostgreSQL, and prints and keeps the figures.
import { parseArgs } from 'node:util'
import { relative } from 'node:path'
import { peers } from './peers.ts'
import { figuresOf, keepResults, machineOf, readResults, type Failure, type ResultFile } from './results.ts'
import { benchServer } from './server.ts'
import type { Result, Scenario, Setting } from './scenario.ts'
import { scenarios } from './scenarios/all.ts'
import { comparison, peerTable, resultTable } from './table.ts'

const HELP = `npm run bench -- [--only NAME …] [--peers] [--seconds N] [--rounds N] [--url POSTGRES] [--compare FILE]
npm run bench -- --show FILE [--compare FILE]

  --only     measures just this one; several: give it again
             ${scenarios.map(({ name }) => name).join(', ')},
             ${peers.map(({ name }) => name).join(', ')}
  --peers    measures the peers too, each installed into bench/peers/NAME at the first use
  --seconds  how long each load is measured (default 5)
  --rounds   how often everything is measured; the medians count (default 3)
  --url      a PostgreSQL server to measure on (default: DATABASE_URL, or an embedded one)
  --compare  an earlier file of bench/results/ to print the ratios to
  --show     prints the table of an earlier file and measures nothing
`

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    peers: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    url: { type: 'string' },
    compare: { type: 'string' },
    show: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

try {
  if (values.help) process.stdout.write(HELP)
  else if (values.show !== undefined) await print(await readResults(values.show))
  else await measure()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

async function measure(): Promise<void> {
  const chosen = chosenScenarios()
  // Read before anything is measured: a wrong name should not be told after ten minutes.
  if (values.compare !== undefined) await readResults(values.compare)
  const settings = { seconds: wholeNumber('seconds'), rounds: wholeNumber('rounds') }
  await using server = await benchServer(values.url ?? process.env['DATABASE_URL'])
  const { machine, versions } = await machineOf(server.url)
  const { measured, failures } = await measureRounds(chosen, { server: server.url, ...settings })
  for (const scenario of chosen) Object.assign(versions, await scenario.versions?.())
  const file: ResultFile = { machine, versions, settings, scenarios: figuresOf(measured), failures }
  const path = relative('', await keepResults(file, values.only === undefined))
  await print(file)
  process.stdout.write(`\nKept in ${path}. ${whatNext(path)}\n`)
  if (failures.length > 0) process.exitCode = 1
}

/** Round by round and not scenario by scenario: a noisy minute then touches all of them. One that fails has no figures and no further round. */
async function measureRounds(chosen: readonly Scenario[], setting: Setting): Promise<{ measured: Result[]; failures: Failure[] }> {
  const measured = new Map<Scenario, Result[]>(chosen.map((scenario) => [scenario, []]))
  const failures: Failure[] = []
  for (let round = 1; round <= setting.rounds; round += 1) {
    for (const [scenario, results] of measured) {
      process.stderr.write(`round ${round} of ${setting.rounds}, ${chosen.indexOf(scenario) + 1} of ${chosen.length}: ${scenario.name}\n`)
      try {
        results.push(...(await scenario.run(setting)))
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        process.stderr.write(`${scenario.name} failed: ${reason}\n`)
        failures.push({ name: scenario.name, reason })
        measured.delete(scenario)
      }
    }
  }
  return { measured: [...measured.values()].flat(), failures }
}

function chosenScenarios(): readonly Scenario[] {
  const known = [...scenarios, ...peers]
  const { only } = values
  if (only === undefined) return values.peers ? known : scenarios
  const unknown = only.filter((name) => !known.some((scenario) => scenario.name === name))
  if (unknown.length > 0) throw new Error(`no scenario is called ${unknown.join(' or ')}; --help lists them`)
  return known.filter(({ name }) => only.includes(name))
}

async function print(file: ResultFile): Promise<void> {
  process.stdout.write(`\n${resultTable(file)}\n`)
  const againstPeers = peerTable(file.scenarios)
  if (againstPeers !== undefined) process.stdout.write(`\n${againstPeers}\n`)
  if (values.compare === undefined) return
  const before = await readResults(values.compare)
  process.stdout.write(`\nCompared with ${values.compare}:\n\n${comparison(file.scenarios, before.scenarios)}\n`)
}

function whatNext(path: string): string {
  const withPeers = values.peers ? '' : ' With the peers: npm run bench -- --peers.'
  return `Compare a later run with it: npm run bench -- --compare ${path}.${withPeers}`
}

function wholeNumber(name: 'seconds' | 'rounds'): number {
  const value = Number(values[name])
  if (Number.isInteger(value) && value >= 1) return value
  throw new Error(`--${name} must be a whole number from 1, not '${values[name]}'`)
}
