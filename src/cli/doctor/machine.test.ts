import { expect, test } from 'vitest'
import { lookAtMachine } from './machine.ts'

test('the machine is one line, and a Node that is too old is a fault', () => {
  expect(lookAtMachine('24.1.0')).toMatchObject({
    status: 'ok',
    found: expect.stringMatching(/^Node 24\.1\.0 on \w+ \w+, \d+ cores?, [\d.]+ [KMGT]iB of memory \([\d.]+ [KMGT]iB free\)$/),
  })
  expect(lookAtMachine('20.19.0')).toMatchObject({ status: 'fault', found: expect.stringContaining('Twofold needs 22.19 or newer') })
})
