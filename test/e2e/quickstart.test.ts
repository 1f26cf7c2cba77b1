import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startProgram, type Program } from './program.ts'

const OUTPUT = `after 100 additions: { total: 100 }
rejected: belowZero { total: 100 }
after the same request twice: { total: 105 }
`

const programs: Program[] = []
let dataDir: string
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'twofold-quickstart-'))
})
afterAll(async () => {
  await Promise.all(programs.map((program) => program.end('SIGKILL')))
  await rm(dataDir, { recursive: true, force: true })
})

test('the quickstart prints what the README says, on a fresh folder and on a used one', { timeout: 130_000 }, async () => {
  for (let round = 0; round < 2; round += 1) {
    const program = startProgram('examples/quickstart/main.ts', { TWOFOLD_DATA_DIR: dataDir, NO_COLOR: '1' })
    programs.push(program)
    // The first round makes a database, which takes seconds, and many of them on a busy machine.
    expect(await program.ended(60_000), program.output()).toBe(0)
    expect(program.output()).toBe(OUTPUT)
  }
})

test('a start that fails is one sentence and exit code 1', { timeout: 60_000 }, async () => {
  const file = join(dataDir, 'a-file')
  await writeFile(file, '')
  const program = startProgram('examples/quickstart/main.ts', { TWOFOLD_DATA_DIR: file, NO_COLOR: '1' })
  programs.push(program)
  expect(await program.ended(30_000)).toBe(1)
  expect(program.output()).toMatch(/^the data folder \S+ cannot be used: .+\n$/)
})

test('the README shows the quickstart as it is, with its output', async () => {
  const readme = await readFile('README.md', 'utf8')
  const code = await readFile('examples/quickstart/main.ts', 'utf8')
  expect(readme).toContain(`\`\`\`ts\n${code}\`\`\``)
  expect(readme).toContain(`\`\`\`\n${OUTPUT}\`\`\``)
  expect(code.split('\n').length - 1).toBeLessThanOrEqual(60)
})
