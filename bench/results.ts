// What a run has measured, with the machine it was measured on, as one JSON file.
import { execFileSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import pg from 'pg'
import type { Result } from './scenario.ts'

const folder = fileURLToPath(new URL('results', import.meta.url))

/** The settings of PostgreSQL that such figures depend on most. */
const SETTINGS = ['fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'shared_buffers', 'max_wal_size', 'checkpoint_timeout']

interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryGiB: number
  readonly postgresSettings: Readonly<Record<string, string>>
}

/** The medians of all rounds; `ratioTo` compares with every baseline and peer: 10 means ten times as many a second. */
export interface ScenarioFigures extends Result {
  readonly rounds: number
  readonly ratioTo?: Readonly<Record<string, number>>
}

/** A scenario that ended with an error: it has no figure, and the run is not a success. */
export interface Failure {
  readonly name: string
  readonly reason: string
}

/** `bench/results/<date>-<commit>.json`. */
export interface ResultFile {
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly settings: { readonly seconds: number; readonly rounds: number }
  readonly scenarios: readonly ScenarioFigures[]
  readonly failures: readonly Failure[]
}

/** The machine, and the versions of all that every scenario runs on. */
export async function machineOf(server: string): Promise<{ readonly machine: Machine; readonly versions: Record<string, string> }> {
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
    const machine = { processor: cpus()[0]?.model ?? '', cores: cpus().length, memoryGiB, postgresSettings }
    const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
    return { machine, versions: { twofold: version, commit: commit(), node: process.version, postgres } }
  } finally {
    await client.end()
  }
}

function commit(): string {
  return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', cwd: folderOf(import.meta.url) }).trim()
}

function folderOf(url: string): string {
  return fileURLToPath(new URL('.', url))
}

/**
 * Writes the file and returns its path. A run of some scenarios only has a name of its own, which git ignores: it must not take the place
 * of a whole run.
 */
export async function keepResults(file: ResultFile, whole: boolean): Promise<string> {
  await mkdir(folder, { recursive: true })
  const name = `${new Date().toISOString().slice(0, 10)}-${file.versions['commit'] ?? 'unknown'}${whole ? '' : '-some'}.json`
  const path = join(folder, name)
  await writeFile(path, `${JSON.stringify(file, null, 2)}\n`)
  return path
}

export async function readResults(path: string): Promise<ResultFile> {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    throw new Error(`no result file can be read there: ${error.message}; name one of bench/results/`)
  })
  const file = JSON.parse(text) as Partial<ResultFile>
  if (!Array.isArray(file.scenarios)) throw new Error(`${path} is not a result file: it has no scenarios; name one of bench/results/`)
  return file as ResultFile
}

/** What is measured anew in each round. */
const FIGURES = ['perSecond', 'p50Ms', 'p99Ms', 'nodeCpuUs', 'postgresCpuUs'] as const

/** Medians over the rounds, and ratios between the medians. */
export function figuresOf(measured: readonly Result[]): ScenarioFigures[] {
  const medians = [...Map.groupBy(measured, ({ name }) => name).values()].map(medianResult)
  const baselines = medians.filter((one) => one.baseline === true && one.perSecond !== undefined)
  return medians.map((scenario) => {
    const { name, perSecond } = scenario
    const others = baselines.filter((other) => other.name !== name)
    if (perSecond === undefined || others.length === 0) return scenario
    return { ...scenario, ratioTo: Object.fromEntries(others.map((other) => [other.name, rounded(perSecond / (other.perSecond ?? 1))])) }
  })
}

function medianResult(rounds: readonly Result[]): ScenarioFigures {
  const [first] = rounds as [Result]
  const median = (of: (result: Result) => number | undefined): number =>
    rounded(medianOf(rounds.map(of).filter((value) => value !== undefined)))
  const medians = FIGURES.filter((name) => first[name] !== undefined).map((name) => [name, median((round) => round[name])])
  const names = Object.keys(first.figures ?? {})
  const figures = Object.fromEntries(names.map((name) => [name, median((round) => round.figures?.[name])]))
  const further = names.length === 0 ? {} : { figures }
  return { ...first, ...Object.fromEntries(medians), ...further, rounds: rounds.length }
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2
}

function rounded(value: number): number {
  return Number(value.toPrecision(value >= 1000 ? 5 : 3))
}
