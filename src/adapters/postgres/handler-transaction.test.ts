import { expect, test } from 'vitest'
import { SqlHandlerTransaction } from './handler-transaction.ts'
import type { Opening } from './opening.ts'
import type { RoundTrips } from './round-trip.ts'
import { StatementNames } from './statement-names.ts'

test.each([
  ['COMMIT', false],
  ['CALL', true],
])(
  'a statement that has ended the transaction all the same is found by what the server says: %s, outside: %s',
  async (command, isOutside) => {
    const opening = { send: async () => [{ command, rows: [], rowCount: null }] } as unknown as Opening
    const transaction = new SqlHandlerTransaction(opening, { trips: { isOutside } as RoundTrips, names: new StatementNames() })
    await expect(transaction.query('call something_new()')).rejects.toMatchObject({ code: 'HANDLER_MISUSED' })
    expect(transaction.hasEnded).toBe(true)
  },
)

test('a statement inside of the transaction has not ended it', async () => {
  const opening = { send: async () => [{ command: 'ROLLBACK', rows: [], rowCount: null }] } as unknown as Opening
  const transaction = new SqlHandlerTransaction(opening, { trips: { isOutside: false } as RoundTrips, names: new StatementNames() })
  await transaction.query('rollback to here')
  expect(transaction.hasEnded).toBe(false)
})

test('a COPY from or to the handler is refused before it is sent, and says what to do instead', async () => {
  const sent: unknown[] = []
  const opening = { send: async (statements: unknown) => void sent.push(statements) } as unknown as Opening
  const transaction = new SqlHandlerTransaction(opening, { trips: { isOutside: false } as RoundTrips, names: new StatementNames() })
  await expect(transaction.query('copy account from stdin')).rejects.toMatchObject({
    code: 'HANDLER_MISUSED',
    message: expect.stringContaining('unnest') as string,
  })
  expect(sent).toEqual([])
})
