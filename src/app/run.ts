// The program around an app: environment in, signals, one sentence and exit code 1 when it cannot start.
import { isTwofoldError } from '../errors.ts'
import { bannerOf } from './banner.ts'
import type { App } from './define-app.ts'
import { nodeFault } from './node-version.ts'
import { optionsFromEnvironment, type StartOptions } from './options.ts'
import { start, type RunningApp } from './start.ts'

/** How long a clean stop may take before the process ends all the same. */
const STOP_MS_MAX = 10_000

/** How long a start that is called off may take to come to an end by itself. */
const CALL_OFF_MS_MAX = 1000

/** Ctrl-C reaches the program twice under npm: from the terminal, and passed on by npm a moment later. Both are one key press. */
const SAME_KEY_PRESS_MS = 500

/**
 * Starts an app as a program: settings from the environment, overridden by `options`: `DATABASE_URL`, `TWOFOLD_DATA_DIR`, `HOST`, `PORT`, `LOG_LEVEL`,
 * `TWOFOLD_LEASE_MS`, `TWOFOLD_INTERNAL_HOST`, `TWOFOLD_INTERNAL_PORT`, `TWOFOLD_SECRET`; of the carrier `TWOFOLD_CARRIER`, `AMQP_URL`,
 * `KAFKA_BROKERS` (`host:port`, separated by commas), `TWOFOLD_WHEN_AWAY`; for tests `TWOFOLD_CRASH`. An empty one counts as unset.
 *
 * SIGINT and SIGTERM stop it cleanly and exit with 0 (with 130 or 143 while it still starts); a second signal ends it at once.
 * What stands in the way of a start (see `start`, and INVALID_ENVIRONMENT) is printed as one sentence, and the process exits with 1.
 */
export async function run(app: App, options: StartOptions = {}): Promise<void> {
  const tooOld = nodeFault(process.versions.node)
  if (tooOld !== undefined) {
    process.stderr.write(`${app.name} cannot start: ${tooOld}\n`)
    process.exit(1)
  }
  // A reader that is gone (`… | head -1`) must not keep the rest from a clean stop.
  process.stdout.on('error', () => undefined)
  process.stderr.on('error', () => undefined)
  const stopping = stopSignal()
  const running = await started(app, options, stopping)
  process.stdout.write(`${bannerOf({ ...running, name: app.name, examples: app.examples })}\n`)
  if (!stopping.aborted) await new Promise((resolve) => stopping.addEventListener('abort', resolve, { once: true }))
  process.stdout.write(`${app.name} is stopping\n`)
  await stop(app, running)
  process.exit(0)
}

/** Aborted by the first SIGINT or SIGTERM, with the exit code of a process that died of it; the second ends the process. */
function stopSignal(): AbortSignal {
  const stopped = new AbortController()
  let askedAt = 0
  const heard = (name: NodeJS.Signals): void => {
    const exitCode = name === 'SIGINT' ? 130 : 143
    if (stopped.signal.aborted && performance.now() - askedAt < SAME_KEY_PRESS_MS) return
    if (stopped.signal.aborted) process.exit(exitCode)
    askedAt = performance.now()
    stopped.abort(exitCode)
  }
  process.on('SIGINT', heard)
  process.on('SIGTERM', heard)
  return stopped.signal
}

/** The app, started; or the end of the process. */
async function started(app: App, options: StartOptions, stopping: AbortSignal): Promise<RunningApp> {
  const callOff = (): void => {
    process.stdout.write(`${app.name} is stopping before it has started\n`)
    setTimeout(() => process.exit(stopping.reason as number), CALL_OFF_MS_MAX)
  }
  stopping.addEventListener('abort', callOff, { once: true })
  try {
    const environment = optionsFromEnvironment(process.env)
    const progress = (line: string): void => void process.stderr.write(`${line}\n`)
    const running = await start(app, { ...environment, ...given(options), progress })
    stopping.removeEventListener('abort', callOff)
    return running
  } catch (error) {
    if (stopping.aborted) process.exit(stopping.reason as number)
    process.stderr.write(`${app.name} cannot start: ${sentence(error)}\n`)
    process.exit(1)
  }
}

/** What says nothing leaves the environment its say: `carrier: undefined` is no choice. */
export function given(options: StartOptions): StartOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

async function stop(app: App, running: RunningApp): Promise<void> {
  const overdue = setTimeout(() => {
    process.stderr.write(`${app.name} did not stop within ${STOP_MS_MAX / 1000} s; it ends now, and nothing accepted is lost\n`)
    process.exit(1)
  }, STOP_MS_MAX)
  overdue.unref()
  try {
    await running.stop()
  } catch (error) {
    process.stderr.write(`${app.name} did not stop cleanly, and nothing accepted is lost: ${sentence(error)}\n`)
    process.exit(1)
  }
}

/** A known error is one sentence; an unknown one is shown whole, because nobody can act on less. */
function sentence(error: unknown): string {
  if (isTwofoldError(error)) return `${error.message} (${error.code})`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
