// The program around an app: environment in, signals, one sentence and exit code 1 when it cannot start.
import { isTwofoldError } from '../errors.ts'
import { bannerOf } from './banner.ts'
import type { App } from './define-app.ts'
import { nodeFault } from './node-version.ts'
import { optionsFromEnvironment, type StartOptions } from './options.ts'
import { start } from './start.ts'

/** How long a clean stop may take before the process ends all the same. */
const STOP_MS_MAX = 10_000

/** Ctrl-C reaches the program twice under npm: from the terminal, and passed on by npm a moment later. Both are one key press. */
const SAME_KEY_PRESS_MS = 500

/**
 * Starts an app as a program: settings from the environment (`DATABASE_URL`, `PORT`, `HOST`, `TWOFOLD_DATA_DIR`, `LOG_LEVEL`,
 * `TWOFOLD_LEASE_MS`), overridden by `options`. SIGINT and SIGTERM stop it cleanly and exit with 0; a second signal ends it at once.
 * What stands in the way of a start is printed as one sentence, and the process exits with 1.
 */
export async function run(app: App, options: StartOptions = {}): Promise<void> {
  const tooOld = nodeFault(process.versions.node)
  if (tooOld !== undefined) {
    process.stderr.write(`${app.name} cannot start: ${tooOld}\n`)
    process.exit(1)
  }
  const stopped = new AbortController()
  let askedAt = 0
  const signal = (name: NodeJS.Signals): void => {
    if (stopped.signal.aborted && performance.now() - askedAt < SAME_KEY_PRESS_MS) return
    if (stopped.signal.aborted) process.exit(128 + (name === 'SIGINT' ? 2 : 15))
    askedAt = performance.now()
    stopped.abort(name)
  }
  process.on('SIGINT', signal)
  process.on('SIGTERM', signal)
  try {
    const environment = optionsFromEnvironment(process.env)
    await using running = await start(app, { ...environment, ...options, progress: (line) => process.stderr.write(`${line}\n`) })
    process.stdout.write(`${bannerOf({ ...running, name: app.name, examples: app.examples })}\n`)
    if (!stopped.signal.aborted) await new Promise((resolve) => stopped.signal.addEventListener('abort', resolve, { once: true }))
    process.stdout.write(`${app.name} is stopping\n`)
    const overdue = setTimeout(() => {
      process.stderr.write(`${app.name} did not stop within ${STOP_MS_MAX / 1000} s; it ends now, and nothing accepted is lost\n`)
      process.exit(1)
    }, STOP_MS_MAX)
    overdue.unref()
    await running.stop()
  } catch (error) {
    process.stderr.write(`${app.name} cannot start: ${sentence(error)}\n`)
    process.exit(1)
  }
  process.exit(0)
}

/** A known error is one sentence; an unknown one is shown whole, because nobody can act on less. */
function sentence(error: unknown): string {
  if (isTwofoldError(error)) return `${error.message} (${error.code})`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
