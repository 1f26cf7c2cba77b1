// Makes the package's dist folder: JavaScript and declarations from src, without tests, and the SQL files beside them.
// Usage: node scripts/build.ts [--out FOLDER]    (default: dist)
import { execFileSync } from 'node:child_process'
import { cp, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { globSync } from 'node:fs'

const root = resolve(fileURLToPath(import.meta.url), '../..')
const { values } = parseArgs({ options: { out: { type: 'string', default: join(root, 'dist') } } })
const out = resolve(values.out)

await rm(out, { recursive: true, force: true })
const compiler = join(root, 'node_modules/typescript/bin/tsc')
execFileSync(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json'), '--outDir', out], { stdio: 'inherit' })
for (const path of globSync('**/*.sql', { cwd: join(root, 'src') })) await cp(join(root, 'src', path), join(out, path))
