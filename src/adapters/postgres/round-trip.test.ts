// Messages of several statements against a real server: what goes out arrives, and what comes back is told apart.
import { afterAll, beforeAll, beforeEach, afterEach, expect, test } from 'vitest'
import pg from 'pg'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { Refusal, RoundTrips, type Answers, type Statement } from './round-trip.ts'

let own: TestDatabase
let client: pg.Client
let trips: RoundTrips

beforeAll(async () => void (own = await testDatabase()))
afterAll(() => own.drop())
beforeEach(async () => {
  client = new pg.Client({ connectionString: own.url, pipeline: true, query_timeout: 10_000 })
  client.on('error', () => undefined)
  await client.connect()
  trips = new RoundTrips(client)
})
afterEach(() => client.end())

const say = (text: string, values: readonly unknown[] = [], name = ''): Statement => ({ name, text, values })

function rowsOf(answer: Answers): unknown[] {
  if (answer instanceof Refusal) throw answer.error
  return answer.map(({ rows }) => rows as unknown)
}

test.each([
  ['of every width', 'aä€😀'],
  ['none', ''],
  ['that is just counted', 'ä'.repeat(1000)],
  ['that is larger than what is kept', '€'.repeat(100_000)],
])('a text arrives as it was given, and so does what comes behind it: %s', async (_, text) => {
  const values = [text, null, Buffer.from([0, 255, 1]), text]
  const statement = say('select $1::text as first, $2::text as second, $3::bytea as third, $4::text as fourth', values)
  const row = { first: text, second: null, third: Buffer.from([0, 255, 1]), fourth: text }
  for (let time = 0; time < 2; time += 1)
    expect(rowsOf(await trips.send([statement, say('select 1 as one')]))).toEqual([[row], [{ one: 1 }]])
})

test('each statement has its answer, in order: with rows, with a count, empty, and unread', async () => {
  const answers = await trips.send([
    say('create temp table kept (id int)'),
    say('insert into kept select generate_series(1, $1)', [3]),
    say(''),
    { ...say('select id from kept'), rows: false },
    say('select id from kept order by id'),
  ])
  expect(rowsOf(answers)).toEqual([[], [], [], [], [{ id: 1 }, { id: 2 }, { id: 3 }]])
  expect((answers as pg.QueryResult[])[1]).toMatchObject({ command: 'INSERT', rowCount: 3 })
})

test('behind a statement that is refused nothing is done, and it is told how many were', async () => {
  const answer = await trips.send([say('select 1'), say('select 1 / $1::int', [0]), say('create table never (id int)')])
  expect(answer).toMatchObject({ done: 1, error: { code: '22012' } })
  expect(rowsOf(await trips.send([say(`select to_regclass('never') as name`)]))).toEqual([[{ name: null }]])
})

test('a statement with a name is prepared once, also after it was deallocated, and anew under another text', async () => {
  const prepared = async (): Promise<unknown> => rowsOf(await trips.send([say(`select name, statement from pg_prepared_statements`)]))[0]
  expect(rowsOf(await trips.send([say('select 1 as one', [], 'named')]))).toEqual([[{ one: 1 }]])
  expect(rowsOf(await trips.send([say('select 1 as one', [], 'named')]))).toEqual([[{ one: 1 }]])
  expect(rowsOf(await trips.send([say('select 2 as two', [], 'named')]))).toEqual([[{ two: 2 }]])
  expect(await prepared()).toEqual([{ name: 'named', statement: 'select 2 as two' }])
  await trips.send([say('deallocate named')])
  expect(await trips.send([say('select 2 as two', [], 'named')])).toMatchObject({ error: { code: '26000' } })
  expect(rowsOf(await trips.send([say('select 2 as two', [], 'named')]))).toEqual([[{ two: 2 }]])
})

test('a row that cannot be read refuses its message, and the connection goes on', async () => {
  client.setTypeParser(pg.types.builtins.INT4, () => {
    throw new Error('no such number')
  })
  expect(await trips.send([say('select 7::int as seven')])).toMatchObject({ error: { message: 'no such number' } })
  expect(rowsOf(await trips.send([say(`select 'x' as x`)]))).toEqual([[{ x: 'x' }]])
})

test('whoever waits for an answer that cannot come any more is told so', async () => {
  const answer = trips.send([say('select 1')])
  client.connection.stream.destroy()
  expect(await answer).toBeInstanceOf(Refusal)
})

test.each([
  ['more values than the protocol counts', say('select 1', Array<number>(70_000).fill(1)), '65535 values at most'],
  ['a name that PostgreSQL would cut', { ...say('select 1'), name: `${'é'.repeat(31)}xx` }, '63 bytes at most'],
  ['a name that is none', { ...say('select 1'), name: 7 as unknown as string }, 'must be of type string'],
])('a message that cannot be written leaves nothing of itself: %s', async (_, statement, message) => {
  await expect(trips.send([say('select 2', [], 'written'), statement])).rejects.toThrow(message)
  expect(await trips.send([say('select 2 as two', [], 'written')])).toMatchObject([{ rows: [{ two: 2 }] }])
})

const FIRST = say('select 1 as one, $1::int as given', [1], 'named')
const SECOND = say('select 2 / $1::int as two', [1], 'named')
const REFUSED = { ...SECOND, values: [0] }

test('a name that was given to another text stands for the one it is sent with, also where that was refused', async () => {
  expect(rowsOf(await trips.send([FIRST]))).toEqual([[{ one: 1, given: 1 }]])
  expect(await trips.send([REFUSED])).toBeInstanceOf(Refusal)
  expect(rowsOf(await trips.send([FIRST]))).toEqual([[{ one: 1, given: 1 }]])
})

test('a name stands for the text it is sent with where messages follow each other unanswered', async () => {
  await trips.send([FIRST])
  const [refused, first, second, again] = await Promise.all([REFUSED, FIRST, SECOND, FIRST].map((statement) => trips.send([statement])))
  expect(refused).toBeInstanceOf(Refusal)
  expect([first, second, again].map((answer) => rowsOf(answer as Answers)[0])).toEqual([
    [{ one: 1, given: 1 }],
    [{ two: 2 }],
    [{ one: 1, given: 1 }],
  ])
  const [skipped, behind] = await Promise.all([trips.send([say('select 1 / 0'), SECOND]), trips.send([SECOND])])
  expect(skipped).toBeInstanceOf(Refusal)
  expect(rowsOf(behind)).toEqual([[{ two: 2 }]])
})

test('a COPY that waits for data is refused with what to do instead, and the connection goes on', async () => {
  await trips.send([say('create temp table copied (id int)')])
  expect(await trips.send([say('copy copied from stdin')])).toMatchObject({
    error: { message: expect.stringContaining('unnest') as string },
  })
  expect(rowsOf(await trips.send([say('select 1 as one')]))).toEqual([[{ one: 1 }]])
})
