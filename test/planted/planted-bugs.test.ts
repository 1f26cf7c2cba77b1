// Plants each bug in a copy of the sources and runs the test that must see it. A guard without such a test is only a comment.
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { bugs, type PlantedBug } from './bugs.ts'

const COPIED = ['src', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts']

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-planted-'))
  for (const name of COPIED) await cp(name, join(folder, name), { recursive: true })
  await symlink(join(process.cwd(), 'node_modules'), join(folder, 'node_modules'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test.each(bugs)('seen: $name', { timeout: 60_000 }, async (bug) => {
  const path = join(folder, 'src', bug.file)
  const source = await readFile(path, 'utf8')
  expect(source.split(bug.find).length, `'${bug.find}' occurs once in ${bug.file}`).toBe(2)
  await writeFile(
    path,
    source.replace(bug.find, () => bug.replace),
  )
  try {
    const { ran, failed, output } = await runTest(bug)
    expect(ran, output).toBeGreaterThan(0)
    expect(failed, `no test turned red although ${bug.name}`).toBeGreaterThan(0)
    expect(output).not.toMatch(/SyntaxError|Transform failed|is not defined/)
  } finally {
    await writeFile(path, source)
  }
})

/** The tests of that name, on the PostgreSQL of this run. */
async function runTest({ test: file, claim }: PlantedBug): Promise<{ ran: number; failed: number; output: string }> {
  const report = join(folder, 'report.json')
  await rm(report, { force: true })
  const how = [
    '--testNamePattern',
    literally(claim),
    '--testTimeout=5000',
    '--hookTimeout=5000',
    '--bail=1',
    '--reporter=json',
    `--outputFile=${report}`,
  ]
  const environment = { ...process.env, TWOFOLD_TEST_POSTGRES: inject('postgresUrl') }
  const output = await new Promise<string>((resolve) => {
    const options = { cwd: folder, env: environment, timeout: 50_000 }
    execFile(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', file, ...how], options, (_, stdout, stderr) =>
      resolve(stdout + stderr),
    )
  })
  const text = await readFile(report, 'utf8').catch(() => '{"numPassedTests":0,"numFailedTests":0}')
  const { numPassedTests, numFailedTests } = JSON.parse(text) as { numPassedTests: number; numFailedTests: number }
  return { ran: numPassedTests + numFailedTests, failed: numFailedTests, output: `${output}\n${text}` }
}

function literally(text: string): string {
  return text.replaceAll(/[^\w\s]/g, '.')
}
