import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startProgram, type Program } from './program.ts'

const FILE = 'examples/quickstart-sql/main.ts'

const OUTPUT = `anna: { cents: 70 } ben: { cents: 130 }
rejected: insufficientFunds { cents: 70 }
rejected: noSuchWallet
`

const programs: Program[] = []
let dataDir: string
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'twofold-quickstart-sql-'))
})
afterAll(async () => {
  await Promise.all(programs.map((program) => program.end('SIGKILL')))
  await rm(dataDir, { recursive: true, force: true })
})

test('the SQL quickstart prints what its guide says, with the table made and with the table there', { timeout: 130_000 }, async () => {
  for (let round = 0; round < 2; round += 1) {
    const program = startProgram(FILE, { TWOFOLD_DATA_DIR: dataDir, NO_COLOR: '1' })
    programs.push(program)
    expect(await program.ended(60_000), program.output()).toBe(0)
    expect(program.output()).toBe(OUTPUT)
  }
})

test('the guide shows the handlers of the SQL quickstart as they are, and its output', async () => {
  const guide = await readFile('docs/guides/sql-handlers.md', 'utf8')
  const code = await readFile(FILE, 'utf8')
  const handlers = /^const walletsStateful = [^]*?^}\)\n/m.exec(code)?.[0]
  expect(handlers).toBeDefined()
  expect(guide).toContain(`\`\`\`ts\n${handlers}\`\`\``)
  expect(guide).toContain(`\`\`\`\n${OUTPUT}\`\`\``)
  expect(code.split('\n').length - 1).toBeLessThanOrEqual(80)
})
