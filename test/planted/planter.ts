// Plants bugs in the sources of the folder it is started in and runs the tests that must see them, one after the other. One process for
// many bugs: to start Vitest and to compile the sources that a bug does not touch costs more than most of these tests.
import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createVitest, type TestModule, type Vitest } from 'vitest/node'
import type { PlantedBug } from './bugs.ts'

/** How the named tests ended with the bug in. */
export interface Seen {
  readonly ran: number
  /** By an assertion or by an error. */
  readonly failed: number
  /** By nothing but time that was over, without a sentence: what was wrong, such a test cannot say, and an overloaded machine does the same. */
  readonly timedOut: number
  /** What the failed ones said. */
  readonly errors: readonly string[]
}

// Tests keep their own time-outs: what they wait for has a deadline before that, which says what did not happen.
// Modules that are kept on disk now and then hid a bug: one run of six was given the sources as they had been before.
const options = { watch: false, run: true, reporters: [], hookTimeout: 5000, bail: 1, fsModuleCache: false }

async function plant(vitest: Vitest, { file, find, replace, test, claim }: PlantedBug): Promise<Seen> {
  const path = resolve('src', file)
  const source = await readFile(path, 'utf8')
  const broken = source.replace(find, () => replace)
  await write(vitest, path, broken)
  try {
    vitest.setGlobalTestNamePattern(literally(claim))
    const begunAt = Date.now()
    const { testModules, unhandledErrors } = await vitest.runTestSpecifications(await vitest.globTestSpecifications([test]))
    // A run returns the modules of all runs before it as well: those would be red for every bug after the first that was seen.
    return seenBy(
      testModules.filter(({ moduleId }) => moduleId === resolve(test)),
      begunAt,
      unhandledErrors,
    )
  } finally {
    await write(vitest, path, source)
  }
}

async function write(vitest: Vitest, path: string, source: string): Promise<void> {
  await writeFile(path, source)
  vitest.invalidateFile(path)
}

/** Where no worker could be started the module of an earlier run is all there is: of that nothing counts, as none of it began since `begunAt`. */
function seenBy(modules: readonly TestModule[], begunAt: number, unhandled: readonly unknown[]): Seen {
  const tests = modules
    .flatMap((module) => [...module.children.allTests()])
    .filter((test) => (test.diagnostic()?.startTime ?? 0) >= begunAt)
    .map((test) => test.result())
  const failed = tests.filter(({ state }) => state === 'failed')
  const timedOut = failed.filter(({ errors }) => errors?.every(isTimeOut))
  const errors = [...tests.flatMap((result) => result.errors ?? []), ...modules.flatMap((module) => module.errors()), ...unhandled]
  return {
    ran: tests.filter(({ state }) => state === 'passed').length + failed.length,
    failed: failed.length - timedOut.length,
    timedOut: timedOut.length,
    errors: errors.map((error) => (error as { stack?: string }).stack ?? String(error)),
  }
}

/** Of the test runner, of an `AbortSignal`, and of `vi.waitUntil`, which does not say what it waited for. */
function isTimeOut({ name = '', message = '' }: { readonly name?: string; readonly message?: string }): boolean {
  return ['TestTimeoutError', 'HookTimeoutError', 'TimeoutError'].includes(name) || message.startsWith('Timed out in wait')
}

function literally(text: string): RegExp {
  return new RegExp(text.replaceAll(/[^\w\s]/g, '.'))
}

const vitest = await createVitest(options)
process.on('message', (bug: PlantedBug) => {
  plant(vitest, bug).then(
    (seen) => process.send?.(seen),
    (error: unknown) => process.send?.({ ran: 0, failed: 0, timedOut: 0, errors: [String(error)] }),
  )
})
process.on('disconnect', () => void vitest.close().finally(() => process.exit()))
process.send?.('ready')
