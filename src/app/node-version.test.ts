import { expect, test } from 'vitest'
import { nodeFault } from './node-version.ts'

test('a Node that is too old is named, with the one that is needed', () => {
  for (const version of ['18.20.4', '20.20.2', '22.18.0'])
    expect(nodeFault(version)).toContain(`this is Node ${version}; Twofold needs 22.19`)
  for (const version of ['22.19.0', '24.0.0', process.versions.node]) expect(nodeFault(version)).toBeUndefined()
})
