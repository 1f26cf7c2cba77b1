// `npm run bench`: measures Twofold and what it is compared with, one after the other on one PostgreSQL, and prints and keeps the figures.
import { parseArgs } from 'node:util'
import { benchServer } from './server.ts'
import { keepResults, machineOf } from './results.ts'
import { printTable } from './table.ts'
import type { Result, Scenario } from './scenario.ts'
import { engineDirect, engineLog, hotKey, multiKey } from './scenarios/engine.ts'
import { batchSqlCeiling, oneTransactionEach } from './scenarios/by-hand.ts'

const scenarios: readonly Scenario[] = [oneTransactionEach, batchSqlCeiling, engineDirect, engineLog, hotKey, multiKey]

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    url: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

if (values.help) {
  process.stdout.write(`npm run bench -- [--only NAME …] [--seconds N] [--rounds N] [--url POSTGRES]

  --only     one of ${scenarios.map(({ name }) => name).join(', ')}; several: give it again
  --seconds  how long each load is measured (default 5)
  --rounds   how often everything is measured; the medians count (default 3)
  --url      a PostgreSQL server to measure on (default: DATABASE_URL, or an embedded one)
`)
} else await measure()

async function measure(): Promise<void> {
  const chosen = scenarios.filter(({ name }) => values.only === undefined || values.only.includes(name))
  if (chosen.length === 0) throw new Error(`no scenario is called ${values.only?.join(' or ')}; see --help`)
  await using server = await benchServer(values.url ?? process.env['DATABASE_URL'])
  const setting = { server: server.url, seconds: wholeNumber('seconds'), rounds: wholeNumber('rounds') }
  const measured: Result[] = []
  // Round by round and not scenario by scenario: a noisy minute then touches all of them.
  for (let round = 1; round <= setting.rounds; round += 1) {
    for (const [at, scenario] of chosen.entries()) {
      process.stderr.write(`round ${round} of ${setting.rounds}, ${at + 1} of ${chosen.length}: ${scenario.name}\n`)
      measured.push(...(await scenario.run(setting)))
    }
  }
  const file = await keepResults({ machine: await machineOf(server.url), settings: setting, measured })
  printTable(file.scenarios)
  process.stdout.write(`\nkept in ${file.path}\n`)
}

function wholeNumber(name: 'seconds' | 'rounds'): number {
  const value = Number(values[name])
  if (Number.isInteger(value) && value >= 1) return value
  throw new Error(`--${name} must be a whole number from 1, not '${values[name]}'`)
}
