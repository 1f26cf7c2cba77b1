// What `npm run` offers beside the tests starts at all: nothing else loads it, and a wrong import would be found by whoever needs it.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as { scripts: Record<string, string> }

/** Programs that end by themselves. Those that serve begin with `exec`; test/e2e starts them. */
const programs = Object.entries(scripts).flatMap(([name, line]) => {
  const [, file] = /^node --conditions=source (\S+)$/.exec(line) ?? []
  return file === undefined ? [] : [{ name, file }]
})

test('the programs of npm run are known', () => {
  expect(programs.map(({ name }) => name).toSorted()).toEqual(['bench', 'crash', 'replay', 'soak', 'twofold'])
})

test.concurrent.each(programs)(
  'npm run $name -- --help says what it understands, and does nothing else',
  { timeout: 60_000 },
  async ({ name, file }) => {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--conditions=source', file, '--help'])
    expect(stderr).toBe('')
    expect(stdout).toContain(name === 'twofold' ? 'Usage: twofold' : `npm run ${name} -- [`)
    expect(stdout).toMatch(/^ +-/m)
  },
)
