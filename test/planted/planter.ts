// Plants bugs in the sources of the folder it is started in and runs the tests that must see them, one after the other. One process for
// many bugs: to start Vitest and to compile the sources that a bug does not touch costs more than most of these tests.
import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createVitest, type TestModule, type Vitest } from 'vitest/node'
import type { PlantedBug } from './bugs.ts'

/** How the named tests ended with the bug in. */
export interface Seen {
  readonly ran: number
  readonly failed: number
  /** What the failed ones said. */
  readonly errors: readonly string[]
}

const options = { watch: false, run: true, reporters: [], testTimeout: 5000, hookTimeout: 5000, bail: 1 }

async function plant(vitest: Vitest, { file, find, replace, test, claim }: PlantedBug): Promise<Seen> {
  const path = resolve('src', file)
  const source = await readFile(path, 'utf8')
  const broken = source.replace(find, () => replace)
  await write(vitest, path, broken)
  try {
    vitest.setGlobalTestNamePattern(literally(claim))
    const { testModules, unhandledErrors } = await vitest.runTestSpecifications(await vitest.globTestSpecifications([test]))
    return seenBy(testModules, unhandledErrors)
  } finally {
    await write(vitest, path, source)
  }
}

async function write(vitest: Vitest, path: string, source: string): Promise<void> {
  await writeFile(path, source)
  vitest.invalidateFile(path)
}

function seenBy(modules: readonly TestModule[], unhandled: readonly unknown[]): Seen {
  const tests = modules.flatMap((module) => [...module.children.allTests()]).map((test) => test.result())
  const ended = tests.filter(({ state }) => state === 'passed' || state === 'failed')
  const errors = [...tests.flatMap((result) => result.errors ?? []), ...modules.flatMap((module) => module.errors()), ...unhandled]
  return {
    ran: ended.length,
    failed: ended.filter(({ state }) => state === 'failed').length,
    errors: errors.map((error) => (error as { stack?: string }).stack ?? String(error)),
  }
}

function literally(text: string): RegExp {
  return new RegExp(text.replaceAll(/[^\w\s]/g, '.'))
}

const vitest = await createVitest(options)
process.on('message', (bug: PlantedBug) => {
  plant(vitest, bug).then(
    (seen) => process.send?.(seen),
    (error: unknown) => process.send?.({ ran: 0, failed: 0, errors: [String(error)] }),
  )
})
process.on('disconnect', () => void vitest.close().finally(() => process.exit()))
process.send?.('ready')
