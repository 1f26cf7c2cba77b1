// The layers of the design hold: a table of allowed imports, and proof that the checker sees what it must.
import { expect, test } from 'vitest'
import { contractImports, layerViolations } from './layers.ts'
import { readFixture, readRepository, type SourceFile } from './source-program.ts'

const checked = /^(?:src|examples|test\/e2e)\//

const repository = readRepository()

test('every import of src, examples and test/e2e is one that the layers allow', () => {
  const files = repository.files.filter(({ path }) => checked.test(path))
  expect(files.length).toBeGreaterThan(20)
  expect(layerViolations(files)).toEqual([])
})

test('no contract imports another contract', () => {
  expect(contractImports(repository.files)).toEqual([])
})

test.each([
  ['the contract importing anything else', 'src/contract/command.ts', `import { x } from '../errors.ts'`],
  ['the contract importing Node', 'src/contract/command.ts', `import { hash } from 'node:crypto'`],
  ['the contract importing a package', 'src/contract/schema.ts', `import { z } from 'zod'`],
  ['the contract importing more than types', 'src/contract/schema.ts', `import { x } from '@standard-schema/spec'`],
  ['a port importing the runtime', 'src/ports/outcomes.ts', `import type { X } from '../runtime/wake.ts'`],
  ['one side importing the other', 'src/stateful/engine/lane.ts', `export { x } from '../../stateless/stateless.ts'`],
  ['the engine importing a driver', 'src/stateful/engine/lane.ts', `import { Pool } from 'pg'`],
  ['a side importing an adapter', 'src/stateless/gateway/routes.ts', `const x = await import('../../adapters/postgres/pool.ts')`],
  ['an adapter importing another adapter', 'src/adapters/kafka/log.ts', `import '../postgres/pool.ts'`],
  ['an adapter importing a side', 'src/adapters/kafka/log.ts', `import type { X } from '../../stateful/stateful.ts'`],
  ['anything importing the composition root', 'src/testing/given.ts', `import { start } from '../app/start.ts'`],
  ['anything importing the entry point', 'src/app/start.ts', `import { x } from '../index.ts'`],
  ['a folder that is not in the table', 'src/helpers/x.ts', `import { x } from '../errors.ts'`],
  ['an example importing the source', 'examples/shop/main.ts', `import { run } from '../../src/app/run.ts'`],
  ['an example importing a hidden path', 'examples/shop/main.ts', `import { run } from 'twofold/src/app/run.ts'`],
  ['an example importing another example', 'examples/shop/main.ts', `import { x } from '../quickstart/main.ts'`],
  ['an end-to-end test importing the source', 'test/e2e/replay.test.ts', `import { x } from '../../src/index.ts'`],
])('%s is found', (_, path, text) => {
  const [file] = filesOf({ [path]: text })
  const [sentence, ...others] = layerViolations([file])
  expect(others).toEqual([])
  expect(sentence).toContain(`${path}:1 imports '${file.imports[0]?.specifier}'`)
})

test.each([
  ['src/contract/schema.ts', `import type { StandardSchemaV1 } from '@standard-schema/spec'`],
  ['src/errors.ts', `import type { Fault } from './contract/schema.ts'`],
  ['src/runtime/logger.ts', `import { TwofoldError } from '../errors.ts'\nimport { pino } from 'pino'\nimport os from 'node:os'`],
  [
    'src/adapters/postgres/log.ts',
    `import { Pool } from 'pg'\nimport { x } from './pool.ts'\nimport type { Y } from '../../ports/command-log.ts'`,
  ],
  ['src/app/start.ts', `import { x } from '../adapters/postgres/pool.ts'\nimport { y } from '../stateful/stateful.ts'`],
  ['src/stateful/engine/lane.test.ts', `import { x } from '../../adapters/postgres/pool.ts'`],
  [
    'examples/shop/orders/stateful.ts',
    `import { stateful } from 'twofold'\nimport { orders } from './contract.ts'\nimport { z } from 'zod'`,
  ],
  [
    'test/e2e/replay.test.ts',
    `import { given } from 'twofold/testing'\nimport { shop } from '../../examples/shop/app.ts'\nimport { x } from '../support/x.ts'`,
  ],
])('an allowed import of %s passes', (path, text) => {
  const [file] = filesOf({ [path]: text })
  expect(file.imports).not.toEqual([])
  expect(layerViolations([file])).toEqual([])
})

test('a contract that imports another contract is found, its types are not', () => {
  const files = filesOf({
    'examples/shop/orders/contract.ts': `import { wallets } from '../wallets/contract.ts'\nimport { money } from '../money.ts'`,
    'examples/shop/stock/contract.ts': `import type { Orders } from '../orders/contract.ts'`,
  })
  expect(contractImports(files)).toEqual([
    "examples/shop/orders/contract.ts:1 imports the contract '../wallets/contract.ts'; put what they share into a file of its own",
  ])
})

test('words that only look like an import are none', () => {
  const [file] = filesOf({
    'src/contract/route.ts': `// import { x } from '../errors.ts'\nexport const text = "import { x } from '../errors.ts'"`,
  })
  expect(file.imports).toEqual([])
})

function filesOf(files: Readonly<Record<string, string>>): [SourceFile, ...SourceFile[]] {
  return readFixture(files).files as [SourceFile, ...SourceFile[]]
}
