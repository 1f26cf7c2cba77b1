// One fault: two instances under load, one of them is disturbed, another one goes on; then everything is finished and checked.
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { lookAtQueues } from '../../src/adapters/rabbitmq/look.ts'
import type { CrashPoint } from '../../src/runtime/crash-points.ts'
import { proxyTo, type Proxy } from '../support/proxy.ts'
import { amqpUrl, queueNamesOf, removeQueuesOf } from '../support/rabbitmq.ts'
import { addressOf, startProgram, until, type Program } from '../e2e/program.ts'
import { Load, randomOf } from './load.ts'
import { othersOwn } from './others-own.ts'
import { scenarios, type Scenario } from './scenarios.ts'
import { drained, violations, waiting } from './verify.ts'

/** At which point, or `anywhere`: killed from outside at a moment drawn from the seed. */
export interface Fault {
  readonly point: CrashPoint | 'anywhere'
  readonly action: 'kill' | 'stop' | 'throw' | 'drop' | `delay=${number}`
  readonly seed: number
}

/** What a run tells of itself. */
export interface Report {
  readonly violations: readonly string[]
  /** Requests that were sent and not answered when the fault came. */
  readonly inFlight: number
  /** Operations that were answered, in all and after the fault. */
  readonly answered: number
  readonly answeredAfter: number
  /** What the disturbed process has printed; where something is wrong, all of them. */
  readonly output: string
}

const LEASE_MS = 2000
/** How long the broker is away, where it is. */
const AWAY_MS = 1500
/** A machine that is overloaded may not let an instance start: whoever runs it starts it again. */
const STARTS_MAX = 4
const REACHED_MS = 90_000
/** The load goes on for so many answers after the fault. */
const ANSWERS_AFTER = 30
/** Killed at a random moment within so long of the first answers. */
const ANYWHERE_MS = 1500

const anywhere: Scenario = { armed: 'first', passes: 0, spread: 1 }

/** `databaseUrl`: an empty database. Rejects once `signal` is aborted, with all processes ended. */
export async function runScenario(fault: Fault, databaseUrl: string, signal?: AbortSignal): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'twofold-crash-'))
  const database = new pg.Pool({ connectionString: databaseUrl, max: 2 })
  // A connection may still be closing when its database is dropped. Whatever a query fails with is told by that query.
  database.on('error', () => undefined)
  const run = new ScenarioRun(fault, databaseUrl, join(folder, 'lines'), database)
  const over = new AbortController()
  try {
    return await Promise.race([run.finish(), abortedBy(signal, over.signal)])
  } finally {
    over.abort()
    await run.endAll()
    await database.end()
    await rm(folder, { recursive: true, force: true })
  }
}

/** Rejects once `signal` is aborted, and never from when it is `over`. */
function abortedBy(signal: AbortSignal | undefined, over: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = (): void => reject(signal?.reason as Error)
    if (signal?.aborted === true) abort()
    signal?.addEventListener('abort', abort, { once: true, signal: over })
  })
}

class ScenarioRun {
  readonly #fault: Fault
  readonly #scenario: Scenario
  readonly #databaseUrl: string
  readonly #file: string
  readonly #database: pg.Pool
  readonly #random: () => number
  readonly #programs: Program[] = []
  /** Part of the queues' names: no other run has it. */
  readonly #app = `crash-${process.pid}-${Math.random().toString(36).slice(2, 8)}`
  #proxy: Proxy | undefined

  constructor(fault: Fault, databaseUrl: string, file: string, database: pg.Pool) {
    this.#fault = fault
    this.#scenario = fault.point === 'anywhere' ? anywhere : scenarios[fault.point]
    this.#databaseUrl = databaseUrl
    this.#file = file
    this.#database = database
    this.#random = randomOf(fault.seed)
    writeFileSync(file, '')
  }

  async finish(): Promise<Report> {
    const { armed, meanwhile, old } = this.#scenario
    const load = new Load(this.#fault.seed)
    if (this.#scenario.broker === 'log') this.#proxy = await proxyTo(amqpUrl)
    let fresh: Program | undefined
    let struckAt = armed === 'fresh' ? await this.#disturbed((fresh = this.#start(true))) : undefined
    const first = await this.#join(load, () => this.#start(armed === 'first'))
    if (old) await this.#makeOld()
    // One that is armed may die before it has answered anybody.
    if (armed !== 'first' || meanwhile !== undefined || this.#fault.point === 'anywhere') await load.goesOn(10, REACHED_MS)
    const second = this.#start(armed === 'second')
    // What is accepted meanwhile waits in the log, and is handed on afterwards.
    if (this.#proxy !== undefined) {
      await load.goesOn(5, REACHED_MS)
      await this.#proxy.cut()
      await new Promise((resolve) => setTimeout(resolve, AWAY_MS))
      await this.#proxy.restore()
    }
    const target = armed === 'second' ? second : (fresh ?? first)
    const joined = this.#join(load, () => (target === second || isRunning(second) ? second : this.#start(false)))
    joined.catch(() => undefined)
    if (meanwhile !== undefined) {
      await joined
      first.child.kill(meanwhile === 'kill the first' ? 'SIGKILL' : 'SIGTERM')
    }
    struckAt ??= await this.#disturbed(target)
    const lost = this.#fault.action === 'stop' ? othersOwn(this.#database, REACHED_MS) : undefined
    lost?.catch(() => undefined)
    const before = load.told.length
    if (target !== second) await joined
    await this.#goOn(load, target, lost)
    await load.stop()
    if (this.#scenario.broker !== undefined) await until('nothing waits in the queues', () => this.#isQueueEmpty(), REACHED_MS)
    const stuck = await drained(this.#database, this.#file).then(
      () => [],
      async (error: Error) => [error.message, ...this.#ended(), ...(await waiting(this.#database))],
    )
    // What never ends may be explained by what else is wrong.
    const found = [...stuck, ...(await violations(this.#database, this.#file, load))]
    return {
      violations: found,
      inFlight: load.inFlightAt(struckAt),
      answered: load.told.length,
      answeredAfter: load.told.length - before,
      output: found.length === 0 ? target.output() : this.#programs.map((program) => program.output()).join('\n--- another one\n'),
    }
  }

  async #isQueueEmpty(): Promise<boolean> {
    const names = await queueNamesOf(this.#databaseUrl)
    return names === undefined || (await lookAtQueues(amqpUrl, names)).waiting === 0
  }

  /** Whoever was to do it may be gone. */
  #ended(): string[] {
    return this.#programs.flatMap(({ child: { pid, exitCode, signalCode } }) =>
      exitCode === null && signalCode === null ? [] : [`process ${pid} has ended with ${signalCode ?? exitCode}`],
    )
  }

  /** Waits until an instance takes requests. One that could not start is started again; one that a fault has ended is not. */
  async #join(load: Load, start: () => Program): Promise<Program> {
    for (let starts = 1; ; starts += 1) {
      const program = start()
      try {
        load.add(await addressOf(program, REACHED_MS), program)
        return program
      } catch (error) {
        if (starts >= STARTS_MAX || program.child.exitCode !== 1) throw error
      }
    }
  }

  /** Others take over what the disturbed one has held; one that was only stopped comes back once they have, and must notice. */
  async #goOn(load: Load, target: Program, lost: Promise<void> | undefined): Promise<void> {
    if (!this.#programs.some(isRunning)) await this.#join(load, () => this.#start(false))
    await load.goesOn(ANSWERS_AFTER, REACHED_MS)
    if (lost === undefined) return
    await lost
    target.child.kill('SIGCONT')
    await target.printed(/the lease had ended before it was renewed/, REACHED_MS)
    await load.goesOn(ANSWERS_AFTER, REACHED_MS)
  }

  /** When the fault came, in milliseconds since 1970. */
  async #disturbed(program: Program): Promise<number> {
    const { point, action } = this.#fault
    if (point === 'anywhere') {
      await new Promise((resolve) => setTimeout(resolve, this.#random() * ANYWHERE_MS))
      const struckAt = Date.now()
      program.child.kill('SIGKILL')
      await program.ended(REACHED_MS)
      return struckAt
    }
    if (action === 'kill') {
      const end = await program.ended(REACHED_MS)
      if (end !== 'SIGKILL') throw new Error(`the process ended with ${end} instead of being killed at ${point}:\n${program.output()}`)
    }
    const [, time] = await program.printed(/"time":(\d+),.*a crash point is reached/, REACHED_MS)
    return Number(time)
  }

  #start(armed: boolean): Program {
    const { point, action } = this.#fault
    const { passes, spread } = this.#scenario
    const pass = passes + Math.floor(this.#random() * spread)
    const program = startProgram('test/crash/ledger-app.ts', {
      DATABASE_URL: this.#databaseUrl,
      LOG_LEVEL: 'warn',
      TWOFOLD_LEASE_MS: String(LEASE_MS),
      LEDGER_FILE: this.#file,
      ...(this.#scenario.broker === undefined
        ? {}
        : {
            TWOFOLD_CARRIER: 'rabbitmq',
            TWOFOLD_WHEN_AWAY: this.#scenario.broker,
            AMQP_URL: this.#proxy?.url ?? amqpUrl,
            LEDGER_APP: this.#app,
          }),
      ...(armed && point !== 'anywhere' ? { TWOFOLD_CRASH: `${point}:${pass}:${action}` } : {}),
    })
    this.#programs.push(program)
    return program
  }

  /** Outcomes of two days ago and a claim without a command, for the next round of housekeeping. */
  async #makeOld(): Promise<void> {
    const hour = Math.floor(Date.now() / 3_600_000) - 48
    await this.#database.query(
      `create table twofold._outcome_${hour} partition of twofold._outcome for values from ('${idAt(hour)}') to ('${idAt(hour + 1)}')`,
    )
    await this.#database.query(
      `insert into twofold._claim (hash, fingerprint, command_id, at) values (repeat('a', 64), repeat('b', 64), '${idAt(hour)}', now() - interval '3 days')`,
    )
  }

  async endAll(): Promise<void> {
    for (const { child } of this.#programs) child.kill('SIGCONT')
    await Promise.all(this.#programs.map((program) => program.end('SIGKILL')))
    await this.#proxy?.close()
    if (this.#scenario.broker !== undefined) await removeQueuesOf(this.#databaseUrl)
  }
}

function isRunning({ child }: Program): boolean {
  return child.signalCode === null && child.exitCode === null
}

/** The lowest command id of an hour since 1970. */
function idAt(hour: number): string {
  const time = (hour * 3_600_000).toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-0000-0000-000000000000`
}
