// Cases of the port itself: what the engine and the gateway rely on, whatever they do with it. PostgreSQL's log is no broker behind this port: it
// passes them by having none.
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { isTwofoldError } from '../../errors.ts'
import type { CarriedMessage, Carrier, Delivery, OpenCarrier } from '../../ports/carrier.ts'
import type { Case, ConformanceGround } from './carrier-conformance.ts'
import { eventually } from './eventually.ts'

const PARTITIONS = 2

/** Connects `count` times, as so many instances. */
async function withCarriers(
  { carrier, app }: ConformanceGround,
  count: number,
  use: (open: readonly OpenCarrier[], carrier: Carrier) => Promise<void>,
  waitingMax = 100_000,
): Promise<void> {
  if (carrier === undefined) return
  const context = { app, partitionCount: PARTITIONS, leaseMs: 2000, carriedMsMax: 3_600_000, waitingMax, warn: () => undefined }
  const opened: OpenCarrier[] = []
  try {
    for (let at = 0; at < count; at += 1) opened.push(await carrier.open({ ...context, instanceId: `instance-${at}` }))
    await use(opened, carrier)
  } finally {
    for (const open of opened) await open.close()
  }
}

const message = (number: number, partition = 0): CarriedMessage => ({
  id: `01a20000-0000-7000-8000-${String(number).padStart(12, '0')}`,
  partition,
  key: `conformance\0${number % 7}`,
  body: String(number),
})

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, at) => from + at)

async function publishAll(open: OpenCarrier, numbers: readonly number[]): Promise<void> {
  await Promise.all(numbers.map((number) => open.publish(message(number))))
}

/** What a consumer has got. */
class Got {
  readonly deliveries: Delivery[] = []
  readonly take = (delivery: Delivery): void => void this.deliveries.push(delivery)

  get numbers(): number[] {
    return this.deliveries.map(({ body }) => Number(body))
  }

  async atLeast(count: number): Promise<void> {
    await eventually(`${count} messages were delivered`, () => this.deliveries.length >= count)
  }
}

export const portCases: readonly Case[] = [
  {
    name: 'messages of a partition are delivered in the order in which they were published',
    check: (ground) =>
      withCarriers(ground, 2, async ([publisher, consumer]) => {
        const got = new Got()
        await consumer?.consume(0, got.take, 1000)
        await publishAll(publisher as OpenCarrier, range(1, 500))
        await got.atLeast(500)
        deepEqual(got.numbers, range(1, 500))
      }),
  },
  {
    name: 'what is not done comes again, in order, and what is done does not',
    check: (ground) =>
      withCarriers(ground, 2, async ([first, second]) => {
        const got = new Got()
        await publishAll(first as OpenCarrier, range(1, 60))
        await first?.consume(0, got.take, 20)
        await got.atLeast(20)
        for (const delivery of got.deliveries.slice(0, 10)) delivery.done()
        await got.atLeast(30)
        await first?.release(0)
        deepEqual(got.numbers, range(1, 30))
        const next = new Got()
        await second?.consume(0, next.take, 20)
        await next.atLeast(20)
        deepEqual(next.numbers, range(11, 30))
        ok(next.deliveries[0]?.redelivered, 'it says that it was delivered before')
        for (const delivery of got.deliveries.slice(10)) delivery.done()
        for (const delivery of next.deliveries) delivery.done()
        await next.atLeast(40)
        deepEqual(next.numbers, range(11, 50))
      }),
  },
  {
    name: 'what is done out of turn is done, and the rest comes again in order',
    check: (ground) =>
      withCarriers(ground, 1, async ([open]) => {
        const got = new Got()
        await publishAll(open as OpenCarrier, range(1, 20))
        await open?.consume(0, got.take, 20)
        await got.atLeast(20)
        for (const delivery of got.deliveries) if (Number(delivery.body) % 2 === 0) delivery.done()
        await open?.release(0)
        const again = new Got()
        await open?.consume(0, again.take, 20)
        await again.atLeast(10)
        const odd = range(1, 20).filter((number) => number % 2 === 1)
        // A carrier that keeps a position instead of marks may bring some a second time: never out of order, never one less.
        deepEqual(again.numbers.filter((number) => number % 2 === 1).slice(0, 10), odd)
        deepEqual(
          again.numbers,
          again.numbers.toSorted((a, b) => a - b),
        )
      }),
  },
  {
    name: 'of two consumers one gets the messages, and the other one all that is left when the first is gone',
    check: (ground) =>
      withCarriers(ground, 2, async ([first, second]) => {
        const [got, next] = [new Got(), new Got()]
        await first?.consume(0, got.take, 100)
        await publishAll(first as OpenCarrier, range(1, 10))
        await got.atLeast(10)
        for (const delivery of got.deliveries.slice(0, 5)) delivery.done()
        const waits = second?.consume(0, next.take, 100)
        await first?.close()
        await waits
        await next.atLeast(5)
        deepEqual(next.numbers.slice(-5), range(6, 10))
      }),
  },
  {
    name: 'no more than the bound is in hand',
    check: (ground) =>
      withCarriers(ground, 1, async ([open]) => {
        const got = new Got()
        await publishAll(open as OpenCarrier, range(1, 50))
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
    check: (ground) =>
      withCarriers(ground, 2, async ([asker, owner], { features }) => {
        equal(asker?.request !== undefined, features.replies)
        if (asker?.request === undefined) return
        await owner?.consume(0, (delivery) => delivery.done(delivery.wantsReply ? `re: ${delivery.body}` : undefined), 10)
        let confirmed = 0
        const numbers = range(1, 50)
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
      }),
  },
  {
    name: 'while the broker is away it takes nothing, and afterwards goes on with all that is not done, in order',
    check: (ground) =>
      withCarriers(ground, 1, async ([open], { features }) => {
        const got = new Got()
        let current: number[] = []
        const take = (delivery: Delivery): void => {
          got.take(delivery)
          current.push(Number(delivery.body))
        }
        await publishAll(open as OpenCarrier, range(1, 20))
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
        deepEqual(again, range(6, 22))
        // Whoever throws away what came before, when it is told to, has each that is left once.
        deepEqual(
          current.filter((number) => number > 5 && number < 99),
          range(6, 22),
        )
      }),
  },
  {
    name: 'a message of the greatest size passes, and a greater one is refused',
    check: (ground) =>
      withCarriers(ground, 1, async ([open], { features }) => {
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
      }),
  },
  {
    name: 'what waits at the broker is bounded, and counted',
    check: (ground) =>
      withCarriers(
        ground,
        1,
        async ([open]) => {
          let taken = 0
          await rejects(
            async () => {
              for (; taken < 10_000; taken += 100) await publishAll(open as OpenCarrier, range(taken, taken + 99))
            },
            (error: unknown) => isTwofoldError(error, 'BACKLOG_FULL'),
          )
          ok(taken >= 100)
          const waiting = await open?.waiting([0, 1])
          ok((waiting?.get(0) ?? 0) >= taken, `${waiting?.get(0)} are counted of ${taken}`)
          equal(waiting?.get(1), 0)
        },
        1000 * PARTITIONS,
      ),
  },
  {
    name: 'whoever closes it waits for what is under way',
    check: (ground) =>
      withCarriers(ground, 2, async ([leaving, staying]) => {
        const published = range(1, 200).map(async (number) => leaving?.publish(message(number)))
        await leaving?.close()
        await Promise.all(published)
        const got = new Got()
        await staying?.consume(0, got.take, 1000)
        await got.atLeast(200)
        deepEqual(got.numbers, range(1, 200))
      }),
  },
]
