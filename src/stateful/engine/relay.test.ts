import { expect, test } from 'vitest'
import type { Envelope } from '../../contract/envelope.ts'
import { TwofoldError } from '../../errors.ts'
import type { LogRow } from '../../ports/effect-store.ts'
import { Relay } from './relay.ts'

const row = (seq: string): LogRow => ({
  seq,
  partition: 3,
  commands: [{ id: `00000000-0000-7000-8000-${seq.padStart(12, '0')}`, service: 's', command: 'c', keys: ['k'], input: '{}' }],
})

test('rows that cannot be handed on stay in the log, which is said once until they can', async () => {
  const said: object[] = []
  let refusal: Error | undefined = new Error('the command is refused')
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
  expect(said).toEqual([{ reason: 'Error: the command is refused', partition: 3, row: '1' }])
  refusal = undefined
  expect([await handOn(row('1'), row('2')), relay.inHand]).toEqual([['1', '2'], []])
  refusal = new Error('away')
  await handOn(row('3'))
  expect(said).toHaveLength(2)
})

/** A relay to a broker that carries no input but `null` and `1`, and what that has got. */
function narrow(): { readonly relay: Relay; readonly published: Envelope[]; readonly handOn: (row: LogRow) => Promise<string[]> } {
  const published: Envelope[] = []
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
  const publish = (envelope: Envelope): Promise<void> =>
    envelope.input.length > 4 ? Promise.reject(new TwofoldError('BODY_TOO_LARGE', 'no')) : Promise.resolve(void published.push(envelope))
  const relay = new Relay({ publish, log, ring: () => undefined })
  const handOn = async (given: LogRow): Promise<string[]> => {
    relay.add([given])
    await new Promise(setImmediate)
    return relay.takeRelayed()
  }
  return { relay, published, handOn }
}

const id = (number: number): string => `00000000-0000-7000-8000-00000000000${number}`
const command = (number: number, input: string): Envelope => ({ id: id(number), service: 's', command: 'c', keys: ['k'], input })

test('of what is too large the broker carries where it lies, in its place, and the row is kept until all of it has run', async () => {
  const { relay, published, handOn } = narrow()
  const commands = [command(1, '1'), command(2, '"large"'), command(3, '1'), command(4, '"large too"')]
  expect([await handOn({ seq: '5', partition: 3, commands }), relay.inHand]).toEqual([[], ['5']])
  const [first, second, third, fourth] = commands
  expect(published).toEqual([first, { ...second, input: 'null', inRow: '5' }, third, { ...fourth, input: 'null', inRow: '5' }])
  relay.ran('5', id(2))
  relay.ran('5', id(2))
  expect(relay.takeRelayed()).toEqual([])
  relay.ran('5', id(4))
  expect([relay.takeRelayed(), relay.inHand]).toEqual([['5'], []])
})

test('a row whose partition is another owner’s now is left to that one', async () => {
  const { relay, handOn } = narrow()
  await handOn({ seq: '5', partition: 3, commands: [command(1, '"large"')] })
  relay.retain(() => true)
  expect(relay.inHand).toEqual(['5'])
  relay.retain((partition) => partition !== 3)
  expect(relay.inHand).toEqual([])
  relay.ran('5', id(1))
  expect(relay.takeRelayed()).toEqual([])
})
