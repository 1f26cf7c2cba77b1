import { expect, test } from 'vitest'
import type { LogRow } from '../../ports/effect-store.ts'
import { Relay } from './relay.ts'

const row = (seq: string): LogRow => ({
  seq,
  partition: 3,
  commands: [{ id: `00000000-0000-7000-8000-${seq.padStart(12, '0')}`, service: 's', command: 'c', keys: ['k'], input: '{}' }],
})

test('rows that cannot be handed on stay in the log, which is said once until they can', async () => {
  const said: object[] = []
  let refusal: Error | undefined = new Error('the command is too large')
  const log = { debug: () => undefined, info: () => undefined, warn: (fields: object) => void said.push(fields), error: () => undefined }
  const publish = (): Promise<void> => (refusal === undefined ? Promise.resolve() : Promise.reject(refusal))
  const relay = new Relay({ publish, log, ring: () => undefined })
  const handOn = async (...rows: LogRow[]): Promise<string[]> => {
    relay.add(rows)
    await new Promise(setImmediate)
    return relay.takeRelayed()
  }
  expect([await handOn(row('1'), row('2')), relay.inHand]).toEqual([[], []])
  await handOn(row('1'), row('2'))
  expect(said).toEqual([{ reason: 'Error: the command is too large', partition: 3, row: '1' }])
  refusal = undefined
  expect([await handOn(row('1'), row('2')), relay.inHand]).toEqual([['1', '2'], []])
  refusal = new Error('away')
  await handOn(row('3'))
  expect(said).toHaveLength(2)
})
