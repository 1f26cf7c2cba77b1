// Nothing is exported, kept or installed that nobody uses: knip's opinion, configured in knip.json.
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { root } from './source-program.ts'

const run = promisify(execFile)

test('no file, export or dependency is unused', { timeout: 60_000 }, async () => {
  expect(await knip(root)).toEqual({ code: 0, report: '' })
})

test('an unused export, file and dependency are found', { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'twofold-knip-'))
  try {
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'planted', type: 'module', dependencies: { pino: '10.4.0' } }))
    await writeFile(join(folder, 'knip.json'), JSON.stringify({ entry: ['main.ts'], project: ['*.ts'] }))
    await writeFile(join(folder, 'main.ts'), `import { used } from './part.ts'\nused()\n`)
    await writeFile(join(folder, 'part.ts'), `export function used(): void {}\nexport function forgotten(): void {}\n`)
    await writeFile(join(folder, 'alone.ts'), `export const alone = 1\n`)
    const { code, report } = await knip(folder)
    expect(code).toBe(1)
    expect(report).toMatch(/forgotten/)
    expect(report).toMatch(/alone\.ts/)
    expect(report).toMatch(/pino/)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

async function knip(folder: string): Promise<{ code: number; report: string }> {
  const program = join(root, 'node_modules/knip/bin/knip.js')
  const ended = run(process.execPath, [program, '--directory', folder, '--no-progress', '--no-config-hints'])
  return ended.then(
    ({ stdout }) => ({ code: 0, report: stdout.trim() }),
    (failure: { code: number; stdout: string; stderr: string }) => ({
      code: failure.code,
      report: (failure.stdout + failure.stderr).trim(),
    }),
  )
}
