// The package as its users get it: built, packed, unpacked into an empty folder, imported by a program and checked by the compiler.
import { execFile } from 'node:child_process'
import { globSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const run = promisify(execFile)
const root = resolve(fileURLToPath(import.meta.url), '../../..')

const program = `
import { command, defineContract, entity, event, stateful } from 'twofold'
import { given } from 'twofold/testing'
import { z } from 'zod'

const wallets = defineContract('wallets', {
  commands: {
    deposit: command({
      input: z.object({ walletId: z.string(), amountCents: z.int().positive() }),
      key: (deposit) => deposit.walletId,
      reply: z.object({ balanceCents: z.int() }),
    }),
  },
  events: { deposited: event(z.object({ amountCents: z.int() })) },
})
const wallet = entity(wallets, { initial: () => ({ balanceCents: 0 }) })
const walletsStateful = stateful(wallets, {
  entity: wallet,
  handlers: {
    deposit(state, { amountCents }, { emit }) {
      state.balanceCents += amountCents
      emit.deposited({ amountCents })
      return { balanceCents: state.balanceCents }
    },
  },
})
const { outcome } = given(walletsStateful, { a: { balanceCents: 10 } }).when.deposit({ walletId: 'a', amountCents: 4 })
console.log(JSON.stringify(outcome))
`

const wrongProgram = program.replace('emit.deposited', 'emit.deposted')

let folder: string
let consumer: string
let installed: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'twofold-package-'))
  consumer = join(folder, 'consumer')
  installed = join(consumer, 'node_modules/twofold')
  const archive = await pack(join(folder, 'package'))
  await mkdir(installed, { recursive: true })
  await run('tar', ['-xzf', archive, '-C', installed, '--strip-components=1'])
  await link([...(await runtimeDependencies()), 'zod', '@types/node'])
  await writeFile(join(consumer, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }))
  await writeFile(join(consumer, 'main.mts'), program)
  await writeFile(join(consumer, 'wrong.mts'), wrongProgram)
}, 60_000)

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

test('a program that has only the packed package and its dependencies runs', async () => {
  const { stdout } = await run(process.execPath, ['main.mts'], { cwd: consumer })
  expect(JSON.parse(stdout)).toMatchObject({ status: 'succeeded', reply: { balanceCents: 14 } })
})

test('the compiler accepts that program by the packed declarations alone', async () => {
  await expect(compile('main.mts')).resolves.toBe('')
})

test('the packed declarations still name a wrong event', async () => {
  await expect(compile('wrong.mts')).resolves.toMatch(/'deposted' does not exist.*Did you mean 'deposited'/)
})

test('the program twofold of the packed package runs: doctor in 0, a wrong call in 2', async () => {
  const { DATABASE_URL: _, ...env } = process.env
  const { stdout } = await run(process.execPath, [await twofold(), 'doctor', '--json'], { cwd: consumer, env })
  expect(JSON.parse(stdout)).toMatchObject({ ok: true, checks: expect.arrayContaining([expect.objectContaining({ name: 'embedded' })]) })
  const stopped = run(process.execPath, [await twofold(), 'doctor', '--url', 'postgres://127.0.0.1:1/none'], { cwd: consumer, env })
  await expect(stopped).rejects.toMatchObject({ code: 1, stdout: expect.stringContaining('1 fault: mend postgres first') })
  const wrong = run(process.execPath, [await twofold(), 'doctor', '--ulr'], { cwd: consumer, env })
  await expect(wrong).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('Did you mean --url?') })
})

test('the package holds every SQL file and no test, source or tool', () => {
  const files = globSync('**/*', { cwd: installed, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = files.map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1))
  const statements = globSync('**/*.sql', { cwd: join(root, 'src') }).map((path) => join('dist', path))
  expect(statements).not.toEqual([])
  expect(paths).toEqual(
    expect.arrayContaining(['package.json', 'dist/index.js', 'dist/index.d.ts', 'dist/testing/index.js', ...statements]),
  )
  expect(
    paths.filter((path) => /\.test\.|(?<!\.d)\.ts$|^(?!dist\/|package\.json$|README\.md$|LICENSE$|CHANGELOG\.md$)/.test(path)),
  ).toEqual([])
})

/** Builds beside the repository and not in it, so that tests running at the same time see no half-written dist folder. */
async function pack(place: string): Promise<string> {
  await mkdir(place)
  for (const name of globSync('{package.json,README.md,LICENSE,CHANGELOG.md}', { cwd: root })) await cp(join(root, name), join(place, name))
  await run(process.execPath, [join(root, 'scripts/build.ts'), '--out', join(place, 'dist')])
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: place })
  const packed: unknown = JSON.parse(stdout)
  const [first] = Object.values(packed as Record<string, { filename: string }>)
  if (first === undefined) throw new Error(`npm pack named no archive: ${stdout}`)
  return join(folder, first.filename)
}

/** What npm would link as `twofold`. */
async function twofold(): Promise<string> {
  const manifest = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as { bin: { twofold: string } }
  return join(installed, manifest.bin.twofold)
}

async function runtimeDependencies(): Promise<string[]> {
  const manifest = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
  return Object.keys(manifest.dependencies)
}

/** Links what npm would install, so that the test needs no network. */
async function link(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const place = join(consumer, 'node_modules', name)
    await mkdir(dirname(place), { recursive: true })
    await symlink(join(root, 'node_modules', name), place, 'dir')
  }
}

/** What the compiler says about one file of the consumer; nothing where all is well. */
async function compile(file: string): Promise<string> {
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--lib',
    'es2024,esnext.disposable',
    '--types',
    'node',
    '--ignoreConfig',
  ]
  return run(process.execPath, [compiler, ...options, file], { cwd: consumer }).then(
    ({ stdout }) => stdout,
    (failure: { stdout: string; stderr: string }) => failure.stdout + failure.stderr,
  )
}
