// Who may import whom. The table is the architecture; everything below it only compares.
import { posix } from 'node:path'
import type { Import, SourceFile } from './source-program.ts'

interface Layer {
  /** Other layers it may import. It may always import itself. */
  readonly imports: readonly string[]
  /** The npm packages it may import, `types of x` for types alone; left out: any. */
  readonly packages?: readonly string[]
  /** Whether it may import Node's own modules. Default true. */
  readonly node?: boolean
}

const foundation = ['contract', 'errors', 'ports'] as const
const sides = ['stateless', 'stateful', 'subscribers'] as const
const adapters = 'adapters/*'

/** The folders of src/ from the inside out. `adapters/*` stands for each adapter; they never import each other. */
export const layers: Readonly<Record<string, Layer>> = {
  contract: { imports: [], packages: ['types of @standard-schema/spec'], node: false },
  errors: { imports: ['contract'], packages: [], node: false },
  ports: { imports: ['contract'], packages: [], node: false },
  runtime: { imports: foundation },
  stateless: { imports: [...foundation, 'runtime'] },
  // No package: the engine knows no driver and no framework.
  stateful: { imports: [...foundation, 'runtime'], packages: [] },
  subscribers: { imports: [...foundation, 'runtime'], packages: [] },
  [adapters]: { imports: [...foundation, 'runtime'] },
  testing: { imports: [...foundation, 'runtime', ...sides, adapters] },
  documents: { imports: [...foundation, 'runtime', ...sides, adapters] },
  // The composition root: here, and only here, adapters meet the sides.
  app: { imports: [...foundation, 'runtime', ...sides, adapters, 'testing', 'documents'] },
  // src/index.ts, the public entry point; twofold/testing, twofold/kysely and twofold/kafka are the others.
  index: { imports: [...foundation, 'runtime', ...sides, adapters, 'documents', 'app'] },
  // `twofold/kysely`, an entry point of its own: who does not import it need not have Kysely.
  kysely: { imports: ['ports'], packages: ['kysely'], node: false },
  // `twofold/kafka`, likewise: settings of the Kafka carrier that the environment has no words for.
  kafka: { imports: ['adapters/*'], packages: [], node: false },
  cli: { imports: [...foundation, 'runtime', ...sides, adapters, 'testing', 'documents', 'app', 'index', 'console'] },
  console: { imports: [...foundation, 'runtime', ...sides, adapters, 'testing', 'documents', 'app', 'index', 'cli'] },
}

/** What examples and end-to-end tests may import of Twofold: what its users may. */
export const entryPoints = ['twofold', 'twofold/testing', 'twofold/kysely', 'twofold/kafka']

/** One sentence for each import that the table does not allow. */
export function layerViolations(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => file.imports.flatMap((found) => violation(file.path, found) ?? []))
}

function violation(path: string, found: Import): string | undefined {
  const allowed = path.startsWith('src/') ? allowedInSource(path, found) : allowedOutside(path, found)
  return allowed === undefined ? undefined : `${path}:${found.line} imports '${found.specifier}'; it may import ${allowed}`
}

/** What may be imported instead, or `undefined` where all is well. */
function allowedInSource(path: string, { specifier, typeOnly }: Import): string | undefined {
  // A test beside its file reaches for real adapters: nothing below a port is mocked.
  if (path.endsWith('.test.ts')) return undefined
  const from = layerOf(path)
  const layer = layers[from.startsWith('adapters/') ? adapters : from]
  if (layer === undefined) return `nothing: '${from}' is not in the table of layers (test/tidy/layers.ts)`
  if (specifier.startsWith('node:')) return layer.node === false ? `no module of Node` : undefined
  if (!specifier.startsWith('.')) {
    const { packages } = layer
    const fits =
      packages === undefined ||
      packages.includes(packageOf(specifier)) ||
      (typeOnly && packages.includes(`types of ${packageOf(specifier)}`))
    return fits ? undefined : `the packages [${packages.join(', ')}]`
  }
  const to = layerOf(posix.join(posix.dirname(path), specifier))
  const fits = to === from || layer.imports.includes(to.startsWith('adapters/') ? adapters : to)
  return fits && !(from.startsWith('adapters/') && to.startsWith('adapters/') && from !== to)
    ? undefined
    : `[${[from, ...layer.imports].join(', ')}]`
}

function allowedOutside(path: string, { specifier }: Import): string | undefined {
  if (specifier.startsWith('node:')) return undefined
  if (!specifier.startsWith('.')) {
    return packageOf(specifier) !== 'twofold' || entryPoints.includes(specifier) ? undefined : `[${entryPoints.join(', ')}]`
  }
  // An example keeps to its own folder; an end-to-end test also uses the other tests' tools and the examples it drives.
  const own = path.startsWith('examples/') ? [path.split('/').slice(0, 2).join('/')] : ['test', 'examples']
  const target = posix.join(posix.dirname(path), specifier)
  return own.some((folder) => target.startsWith(`${folder}/`)) ? undefined : `[${[...entryPoints, ...own].join(', ')}]`
}

/** `src/stateful/engine/lane.ts` → `stateful`, `src/errors.ts` → `errors`, `src/adapters/postgres/pool.ts` → `adapters/postgres`. */
function layerOf(path: string): string {
  const [, first = '', second = ''] = path.split('/')
  if (first === 'adapters') return `adapters/${second}`
  return first.replace(/\.ts$/, '')
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

/** A `contract.ts` that imports another one compiles, and dies at import when the other imports it back. */
export function contractImports(files: readonly SourceFile[]): string[] {
  const contracts = files.filter((file) => posix.basename(file.path) === 'contract.ts')
  return contracts.flatMap((file) =>
    file.imports
      .filter(({ specifier, typeOnly }) => !typeOnly && posix.basename(specifier) === 'contract.ts')
      .map(({ specifier, line }) => `${file.path}:${line} imports the contract '${specifier}'; put what they share into a file of its own`),
  )
}
