import { expect, test } from 'vitest'
import { nodeFault } from './node-version.ts'

test('a Node that is too old is named, with the one that is needed', () => {
  for (const version of ['18.20.4', '20.20.2', '22.17.1'])
    expect(nodeFault(version)).toContain(`this is Node ${version}; Twofold needs 22.18`)
  for (const version of ['22.18.0', '24.0.0', process.versions.node]) expect(nodeFault(version)).toBeUndefined()
})
