// Cases of the port itself: what the engine and the gateway rely on, whatever they do with it. PostgreSQL's log is no carrier behind this port: it
// is asked the same as a whole, see log-cases.ts.
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { isTwofoldError } from '../../errors.ts'
import type { Delivery, OpenCarrier } from '../../ports/carrier.ts'
import { isLog, type Case } from './case.ts'
import { connected, Got, message, PARTITIONS, publishAll } from './connected.ts'
import { eventually } from './eventually.ts'
import * as log from './log-cases.ts'
import { range } from './stage.ts'

/** Each once, where it came first. */
function firsts(numbers: readonly number[]): number[] {
  return [...new Set(numbers)]
}

export const portCases: readonly Case[] = [
  {
    name: 'messages of a partition are delivered in the order in which they were published',
    topic: 'order per key',
    check: connected(
      2,
      async ([publisher, consumer]) => {
        const got = new Got()
        await consumer?.consume(0, got.take, 1000)
        await publishAll(publisher as OpenCarrier, range(500))
        await got.atLeast(500)
        deepEqual(got.numbers, range(500))
      },
      log.inOrder,
    ),
  },
  {
    name: 'what is not done comes again, in order, and what is done does not',
    topic: 'redelivery',
    check: connected(
      2,
      async ([first, second]) => {
        const got = new Got()
        await publishAll(first as OpenCarrier, range(60))
        await first?.consume(0, got.take, 20)
        await got.atLeast(20)
        for (const delivery of got.deliveries.slice(0, 10)) delivery.done()
        await got.atLeast(30)
        await first?.release(0)
        deepEqual(got.numbers, range(30))
        const next = new Got()
        await second?.consume(0, next.take, 20)
        await next.atLeast(20)
        deepEqual(next.numbers, range(30, 11))
        ok(next.deliveries[0]?.redelivered, 'it says that it was delivered before')
        for (const delivery of got.deliveries.slice(10)) delivery.done()
        for (const delivery of next.deliveries) delivery.done()
        await next.atLeast(40)
        deepEqual(next.numbers, range(50, 11))
      },
      log.again,
    ),
  },
  {
    name: 'what is done out of turn is done, and the rest comes again in order',
    topic: 'redelivery',
    check: connected(
      1,
      async ([open]) => {
        const got = new Got()
        await publishAll(open as OpenCarrier, range(20))
        await open?.consume(0, got.take, 20)
        await got.atLeast(20)
        for (const delivery of got.deliveries) if (Number(delivery.body) % 2 === 0) delivery.done()
        await open?.release(0)
        const again = new Got()
        await open?.consume(0, again.take, 20)
        await again.atLeast(10)
        const odd = range(20).filter((number) => number % 2 === 1)
        // A carrier that keeps a position instead of marks may bring some a second time: never out of order, never one less.
        deepEqual(again.numbers.filter((number) => number % 2 === 1).slice(0, 10), odd)
        deepEqual(
          again.numbers,
          again.numbers.toSorted((a, b) => a - b),
        )
      },
      log.outOfTurn,
    ),
  },
  {
    name: 'of two consumers one gets the messages, and the other one all that is left when the first is gone',
    topic: 'two consumers',
    check: connected(
      2,
      async ([first, second]) => {
        const [got, next] = [new Got(), new Got()]
        await first?.consume(0, got.take, 100)
        await publishAll(first as OpenCarrier, range(10))
        await got.atLeast(10)
        for (const delivery of got.deliveries.slice(0, 5)) delivery.done()
        const waits = second?.consume(0, next.take, 100)
        await first?.close()
        await waits
        await next.atLeast(5)
        deepEqual(next.numbers.slice(-5), range(10, 6))
      },
      log.twoOwners,
    ),
  },
  {
    name: 'no more than the bound is in hand',
    topic: 'slow consumer',
    saysNothing: ({ features }) =>
      isLog(features)
        ? 'nothing is in hand: rows stay in the log until the commit of their effect removes them (`features.claimsWithAppend`: it is PostgreSQL)'
        : undefined,
    check: connected(1, async ([open]) => {
      const got = new Got()
      await publishAll(open as OpenCarrier, range(50))
      await open?.consume(0, got.take, 7)
      await got.atLeast(7)
      await new Promise((resolve) => setTimeout(resolve, 200))
      equal(got.deliveries.length, 7)
      got.deliveries[0]?.done()
      await got.atLeast(8)
    }),
  },
  {
    name: 'a reply goes to whoever asked, where the carrier brings replies',
    topic: 'replies',
    saysNothing: ({ features }) =>
      isLog(features) || features.replies ? undefined : 'callers learn of outcomes from PostgreSQL alone (`features.replies` is false)',
    check: connected(
      2,
      async ([asker, owner]) => {
        if (asker?.request === undefined) throw new Error('a carrier with `features.replies` has no `request`')
        await owner?.consume(0, (delivery) => delivery.done(delivery.wantsReply ? `re: ${delivery.body}` : undefined), 10)
        let confirmed = 0
        const numbers = range(50)
        const replies = await Promise.all(
          numbers.map(async (number) => asker.request?.(message(number), undefined, () => (confirmed += 1))),
        )
        deepEqual(
          replies,
          numbers.map((number) => `re: ${number}`),
        )
        equal(confirmed, 50)
        await owner?.release(0)
        await rejects(asker.request(message(51), AbortSignal.timeout(100)))
      },
      log.outcomes,
    ),
  },
  {
    name: 'while the broker is away it takes nothing, and afterwards goes on with all that is not done, in order',
    topic: 'connection loss',
    check: connected(
      1,
      async ([open], { features }, ground) => {
        const got = new Got()
        let current: number[] = []
        const take = (delivery: Delivery): void => {
          got.take(delivery)
          current.push(Number(delivery.body))
        }
        await publishAll(open as OpenCarrier, range(20))
        await open?.consume(0, take, 20, () => (current = []))
        await got.atLeast(20)
        for (const delivery of got.deliveries.slice(0, 5)) delivery.done()
        await new Promise((resolve) => setTimeout(resolve, 50))
        const before = got.deliveries.length
        await ground.cut()
        await eventually('it is seen to be away', async () => {
          const failure = await open?.publish(message(99)).catch((error: unknown) => error)
          return isTwofoldError(failure, 'UNAVAILABLE')
        })
        await ground.restore()
        await eventually('it takes messages again', () => open?.isAway === false)
        await publishAll(open as OpenCarrier, [21, 22])
        await eventually('what is left has come', () => got.numbers.slice(before).includes(22))
        const again = got.numbers.slice(features.keepsInHand ? 5 : before).filter((number) => number > 5 && number < 99)
        deepEqual(again, range(22, 6))
        // Whoever throws away what came before, when it is told to, has each that is left once.
        deepEqual(
          current.filter((number) => number > 5 && number < 99),
          range(22, 6),
        )
      },
      log.away,
    ),
  },
  {
    name: 'a connection that is lost at any step loses and reorders nothing that was confirmed',
    topic: 'connection loss',
    check: connected(
      1,
      async ([open], { features }, ground) => {
        const lost = async (): Promise<void> => {
          await ground.cut()
          await ground.restore()
        }
        const got = new Got()
        const published = (number: number): Promise<boolean> =>
          (open as OpenCarrier).publish(message(number)).then(
            () => true,
            () => false,
          )
        const isPublished = (number: number): Promise<void> => eventually(`${number} is published`, () => published(number))
        // Before it is published, and while it is under way: sent again until it is confirmed.
        await ground.cut()
        const cutOff = published(1)
        await ground.restore()
        if (!(await cutOff)) await isPublished(1)
        const underWay = published(2)
        await lost()
        if (!(await underWay)) await isPublished(2)
        // Confirmed, and with nobody.
        await isPublished(3)
        await lost()
        await open?.consume(0, got.take, 20)
        await eventually('what was confirmed came', () => got.numbers.includes(3))
        // In hand.
        await lost()
        await isPublished(4)
        await eventually('what is new came', () => got.numbers.includes(4))
        const before = got.deliveries.length
        // Done, and perhaps not known to the broker.
        for (const delivery of got.deliveries) delivery.done()
        await lost()
        await isPublished(5)
        await eventually('what is new came', () => got.numbers.includes(5))
        // Being given back.
        const released = open?.release(0)
        await lost()
        await released
        const next = new Got()
        await isPublished(6)
        await open?.consume(0, next.take, 20)
        await eventually('what is left came', () => next.numbers.includes(6))
        deepEqual(firsts(got.numbers), range(5))
        ok(firsts(next.numbers).join().endsWith('5,6'), `5 and 6 came: ${next.numbers.join()}`)
        if (features.keepsInHand) equal(before, firsts(got.numbers).length - 1, 'what was in hand stayed so')
      },
      log.steps,
    ),
  },
  {
    name: 'a message of the greatest size passes, and a greater one is refused',
    topic: 'large bodies',
    check: connected(
      1,
      async ([open], { features }) => {
        const got = new Got()
        await open?.consume(0, got.take, 10)
        const body = 'ü'.repeat(features.messageBytesMax / 2)
        await open?.publish({ ...message(1), body })
        await got.atLeast(1)
        equal(got.deliveries[0]?.body.length, body.length)
        equal(got.deliveries[0]?.body === body, true)
        got.deliveries[0]?.done()
        await rejects(
          async () => open?.publish({ ...message(2), body: `${body}more` }),
          (error: unknown) => isTwofoldError(error, 'BODY_TOO_LARGE'),
        )
        await open?.publish(message(3))
        await got.atLeast(2)
      },
      log.sizes,
    ),
  },
  {
    name: 'what waits at the broker is bounded, and counted',
    topic: 'bounds',
    check: connected(
      1,
      async ([open]) => {
        let taken = 0
        await rejects(
          async () => {
            for (; taken < 10_000; taken += 100) await publishAll(open as OpenCarrier, range(taken + 99, taken))
          },
          (error: unknown) => isTwofoldError(error, 'BACKLOG_FULL'),
        )
        ok(taken >= 100)
        const waiting = await open?.waiting([0, 1])
        ok((waiting?.get(0) ?? 0) >= taken, `${waiting?.get(0)} are counted of ${taken}`)
        equal(waiting?.get(1), 0)
      },
      log.bounded,
      1000 * PARTITIONS,
    ),
  },
  {
    name: 'whoever closes it waits for what is under way',
    topic: 'shutdown drain',
    check: connected(
      2,
      async ([leaving, staying]) => {
        const published = range(200).map(async (number) => leaving?.publish(message(number)))
        await leaving?.close()
        await Promise.all(published)
        const got = new Got()
        await staying?.consume(0, got.take, 1000)
        await got.atLeast(200)
        deepEqual(got.numbers, range(200))
      },
      log.drained,
    ),
  },
]
