import type pg from 'pg'
import { expect, test } from 'vitest'
import { Opening } from './opening.ts'
import { Refusal, type Answers, type RoundTrips, type Statement } from './round-trip.ts'

const BEGIN = { name: '', text: 'begin' }
const LOCK = { name: '', text: 'lock' }

/** An opening by BEGIN and LOCK, and what is sent. Each message is answered by the next of `answers`, or by one result for each statement. */
function scene(...answers: Answers[]): { readonly opening: Opening; readonly sent: string[][] } {
  const sent: string[][] = []
  const trips = {
    send: async (statements: readonly Statement[]): Promise<Answers> => {
      sent.push(statements.map(({ text }) => text))
      return answers.shift() ?? statements.map(({ text }) => ({ command: text }) as pg.QueryResult)
    },
  } as RoundTrips
  return { opening: new Opening(trips, [BEGIN, LOCK]), sent }
}

const say = (text: string): Statement[] => [{ name: '', text }]

test('the beginning goes with the first statement, and the others wait until that is answered', async () => {
  const { opening, sent } = scene()
  expect([opening.isSaid, opening.hasBegun]).toEqual([false, false])
  const answers = await Promise.all([opening.send(say('one')), opening.send(say('two'))])
  expect(answers).toEqual([[{ command: 'one' }], [{ command: 'two' }]])
  expect(sent).toEqual([['begin', 'lock', 'one'], ['two']])
  expect([opening.isSaid, opening.hasBegun]).toEqual([true, true])
})

test('where the beginning is refused nothing else is sent, and everybody is told why', async () => {
  const refusal = new Refusal(new Error('lock timeout'), 1)
  const { opening, sent } = scene(refusal)
  expect(await Promise.all([opening.send(say('one')), opening.send(say('two'))])).toEqual([refusal, refusal])
  expect(await opening.send(say('three'))).toBe(refusal)
  expect([sent, opening.hasBegun, opening.refusal]).toEqual([[['begin', 'lock', 'one']], false, refusal])
})

test('where only the first statement is refused the transaction has begun', async () => {
  const { opening, sent } = scene(new Refusal(new Error('no such table'), 2))
  expect(await opening.send(say('one'))).toMatchObject({ done: 0 })
  await opening.send(say('two'))
  expect([sent, opening.hasBegun]).toEqual([[['begin', 'lock', 'one'], ['two']], true])
})
