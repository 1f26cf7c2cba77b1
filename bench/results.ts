// What a run has measured, with the machine it was measured on, as one JSON file.
import { execFileSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import pg from 'pg'
import type { Result, Setting } from './scenario.ts'

const folder = fileURLToPath(new URL('results', import.meta.url))

/** The settings of PostgreSQL that such figures depend on most. */
const SETTINGS = ['fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'shared_buffers', 'max_wal_size', 'checkpoint_timeout']

export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryGiB: number
  readonly node: string
  readonly postgres: string
  readonly postgresSettings: Readonly<Record<string, string>>
}

/** The medians of all rounds; `ratioTo` compares with every other scenario that has a rate. */
export interface ScenarioFigures extends Result {
  readonly rounds: number
  readonly ratioTo?: Readonly<Record<string, number>>
}

export async function machineOf(server: string): Promise<Machine> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    const { rows } = await client.query<{ name: string; setting: string }>(
      'select name, current_setting(name) as setting from pg_settings where name = any($1)',
      [[...SETTINGS, 'server_version']],
    )
    const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]))
    const { server_version: postgres = '', ...postgresSettings } = settings
    const memoryGiB = Math.round(totalmem() / 2 ** 30)
    return { processor: cpus()[0]?.model ?? '', cores: cpus().length, memoryGiB, node: process.version, postgres, postgresSettings }
  } finally {
    await client.end()
  }
}

/** Writes `bench/results/<date>-<commit>.json`. */
export async function keepResults(run: {
  readonly machine: Machine
  readonly settings: Setting
  readonly measured: readonly Result[]
}): Promise<{ readonly path: string; readonly scenarios: readonly ScenarioFigures[] }> {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  const { version } = JSON.parse(await readFile(fileURLToPath(new URL('../package.json', import.meta.url)), 'utf8')) as { version: string }
  const scenarios = figuresOf(run.measured)
  await mkdir(folder, { recursive: true })
  const path = join(folder, `${new Date().toISOString().slice(0, 10)}-${commit}.json`)
  const { seconds, rounds } = run.settings
  const file = { machine: run.machine, versions: { twofold: version, commit }, settings: { seconds, rounds }, scenarios }
  await writeFile(path, `${JSON.stringify(file, null, 2)}\n`)
  return { path, scenarios }
}

/** What is measured anew in each round. */
const FIGURES = ['perSecond', 'p50Ms', 'p99Ms', 'nodeCpuUs', 'postgresCpuUs'] as const

function figuresOf(measured: readonly Result[]): ScenarioFigures[] {
  const medians = [...Map.groupBy(measured, ({ name }) => name).values()].map((rounds): ScenarioFigures => {
    const [first] = rounds as [Result]
    const figures = FIGURES.filter((name) => first[name] !== undefined).map((name) => [
      name,
      rounded(medianOf(rounds.map((round) => round[name] ?? 0))),
    ])
    return { ...first, ...Object.fromEntries(figures), rounds: rounds.length }
  })
  return medians.map((scenario) => {
    const { name, perSecond } = scenario
    const others = medians.filter((other) => other.name !== name && other.perSecond !== undefined)
    if (perSecond === undefined || others.length === 0) return scenario
    return { ...scenario, ratioTo: Object.fromEntries(others.map((other) => [other.name, rounded(perSecond / (other.perSecond ?? 1))])) }
  })
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

function rounded(value: number): number {
  return Number(value.toPrecision(value >= 1000 ? 5 : 3))
}
