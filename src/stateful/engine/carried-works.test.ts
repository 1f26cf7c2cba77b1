import { expect, test } from 'vitest'
import type { Delivery } from '../../ports/carrier.ts'
import { CarriedWorks } from './carried-works.ts'
import { settle, type Work } from './work.ts'

const slots = { partitionCount: 1, partitionOf: Array.from({ length: 4096 }, () => 0) }
const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

/** A queue of commands 1, 2, 3 … that delivers what is not done, from the beginning, to whoever consumes it. */
function queue(count: number): {
  readonly carrier: ConstructorParameters<typeof CarriedWorks>[0]['carrier']
  readonly done: string[]
  readonly asked: string[]
} {
  const [done, asked]: [string[], string[]] = [[], []]
  const delivered = new Set<string>()
  let consumer = 0
  const carrier = {
    consume(partition: number, deliver: (delivery: Delivery) => void) {
      asked.push(`consume ${partition}`)
      consumer += 1
      const mine = consumer
      for (let number = 1; number <= count; number += 1) {
        const id = `01a20000-0000-7000-8000-00000000000${number}`
        if (done.includes(id)) continue
        const body = `${JSON.stringify({ id, service: 's', command: 'c', keys: ['k'] })}\t${number}`
        deliver({
          body,
          redelivered: delivered.has(id),
          wantsReply: false,
          done: () => void (mine === consumer && done.push(id)),
        })
        delivered.add(id)
      }
      return Promise.resolve()
    },
    release(partition: number) {
      asked.push(`release ${partition}`)
      consumer += 1
      return Promise.resolve()
    },
  }
  return { carrier, done, asked }
}

const numbers = (works: readonly Work[]): string[] => works.map(({ envelope }) => envelope.input)

function consumed(
  count: number,
  isAbandoned = false,
): { readonly works: CarriedWorks; readonly rings: () => number } & ReturnType<typeof queue> {
  const broker = queue(count)
  let rung = 0
  const works = new CarriedWorks({ carrier: broker.carrier, slots, inHandMax: 10, log, ring: () => void (rung += 1) })
  works.consume([{ partition: 0, isAbandoned }])
  return { works, rings: () => rung, ...broker }
}

const all = (): boolean => true
const outcome = { status: 'held' } as const

async function taken(works: CarriedWorks): Promise<Work[]> {
  for (let turns = 0; turns < 200; turns += 1) {
    const found = works.take(100, all)
    if (found.length > 0) return found
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return []
}

test('a command is acknowledged once it is settled, and not before', async () => {
  const { works, done } = consumed(2)
  const [first, second] = await taken(works)
  expect(done).toEqual([])
  settle(second as Work, outcome)
  settle(first as Work, outcome)
  settle(first as Work, { status: 'deferred' })
  expect(done).toHaveLength(2)
})

test('when a command comes back nothing delivered behind it is handed out, and all comes again in order', async () => {
  const { works, done, asked } = consumed(4)
  const [first, second, ...rest] = await taken(works)
  works.putBack(rest)
  settle(first as Work, outcome)
  settle(second as Work, { status: 'deferred' })
  expect(works.take(100, all)).toEqual([])
  const again = await taken(works)
  expect(numbers(again)).toEqual(['2', '3', '4'])
  // The old copies say nothing any more.
  for (const work of rest) settle(work, outcome)
  expect(done).toHaveLength(1)
  expect(asked).toEqual(['consume 0', 'release 0', 'consume 0'])
})

test('what finds no room is handed out again, in its place', async () => {
  const { works } = consumed(4)
  const [first, second, third, fourth] = (await taken(works)) as [Work, Work, Work, Work]
  works.putBack([third, fourth])
  works.putBack([first, second])
  expect(numbers(works.take(100, all))).toEqual(['1', '2', '3', '4'])
})

test('what was delivered to an owner that died is run under watch, until it has run', async () => {
  const watched = ({ origin }: Work): boolean => origin.from === 'carried' && origin.leftBehind
  const { works } = consumed(3, true)
  const [first, ...rest] = (await taken(works)) as [Work, ...Work[]]
  // Nobody had them before.
  expect([first, ...rest].map(watched)).toEqual([false, false, false])
  settle(first, { status: 'deferred' })
  const again = await taken(works)
  expect(again.map(watched)).toEqual([true, true, true])
  const usual = consumed(2)
  settle((await taken(usual.works))[0] as Work, { status: 'deferred' })
  expect((await taken(usual.works)).map(watched)).toEqual([false, false])
})

test('nothing of a partition that was released is handed out', async () => {
  const { works, asked } = consumed(2)
  await new Promise(setImmediate)
  await works.release([0])
  expect(works.take(100, all)).toEqual([])
  works.consume([{ partition: 0, isAbandoned: false }])
  expect(numbers(await taken(works))).toEqual(['1', '2'])
  expect(asked).toEqual(['consume 0', 'release 0', 'consume 0'])
})

test('only partitions that are served are taken from', async () => {
  const { works } = consumed(1)
  await new Promise(setImmediate)
  expect(works.take(100, () => false)).toEqual([])
  expect(numbers(await taken(works))).toEqual(['1'])
})

/** A carrier whose connection is lost and made again: whatever is not done is delivered once more. */
function reconnecting(
  count: number,
  isAbandoned = false,
): { readonly works: CarriedWorks; readonly reconnect: () => void; readonly done: string[]; readonly asked: string[] } {
  const [done, asked]: [string[], string[]] = [[], []]
  let connection = 0
  let reconnect = (): void => undefined
  const works = new CarriedWorks({
    carrier: {
      consume(_, deliver, __, onAnew) {
        asked.push('consume')
        reconnect = (): void => {
          const mine = (connection += 1)
          onAnew?.()
          for (let number = 1; number <= count; number += 1) {
            const id = `01a20000-0000-7000-8000-00000000000${number}`
            if (done.includes(id)) continue
            const body = `${JSON.stringify({ id, service: 's', command: 'c', keys: ['k'] })}\t${number}`
            deliver({ body, redelivered: true, wantsReply: false, done: () => void (mine === connection && done.push(id)) })
          }
        }
        reconnect()
        return Promise.resolve()
      },
      release: () => Promise.resolve(void asked.push('release')),
    },
    slots,
    inHandMax: count,
    log,
    ring: () => undefined,
  })
  works.consume([{ partition: 0, isAbandoned }])
  return { works, reconnect: () => reconnect(), done, asked }
}

test('however often the connection is made anew, what waits is there once, in order', async () => {
  const { works, reconnect } = reconnecting(4)
  await new Promise(setImmediate)
  for (let times = 0; times < 100; times += 1) reconnect()
  expect(numbers(works.take(1000, all))).toEqual(['1', '2', '3', '4'])
})

test('what a batch has while the connection is made anew ends there, and its second copy takes its place', async () => {
  const { works, reconnect, done, asked } = reconnecting(3)
  const [first, second, third] = (await taken(works)) as [Work, Work, Work]
  reconnect()
  // There was no room for this one, and it has come again.
  works.putBack([third])
  settle(first, outcome)
  expect(done).toEqual([])
  settle(second, { status: 'deferred' })
  const again = works.take(1000, all)
  expect(numbers(again)).toEqual(['1', '2', '3'])
  for (const work of again) settle(work, outcome)
  expect([done.length, asked]).toEqual([3, ['consume']])
})

test('what a dead owner had is counted once, though it comes on two connections', async () => {
  const { works, reconnect } = reconnecting(3, true)
  const before = await taken(works)
  reconnect()
  for (const work of before.slice(0, 2)) settle(work, outcome)
  for (const work of works.take(1000, all).slice(0, 2)) settle(work, outcome)
  reconnect()
  // It had three in hand at most, and two of them have run.
  expect(works.take(1000, all).map(({ origin }) => origin.from === 'carried' && origin.leftBehind)).toEqual([true])
})
