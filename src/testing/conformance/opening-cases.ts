// Cases of how a carrier is opened: for which database, and while the broker is away.
import { deepEqual, ok } from 'node:assert/strict'
import { isTwofoldError } from '../../errors.ts'
import type { OpenCarrier } from '../../ports/carrier.ts'
import { isLog, type Case } from './case.ts'
import { connected, contextOf, Got, message, publishAll } from './connected.ts'
import { eventually } from './eventually.ts'

const OTHER_DATABASE_ID = '11111111'

export const openingCases: readonly Case[] = [
  {
    name: 'where the broker may be away, it is opened all the same, and used once it is there',
    topic: 'connection loss',
    saysNothing: ({ features }) =>
      isLog(features) ? 'the log is the database, without which nothing starts (`features.claimsWithAppend`: it is PostgreSQL)' : undefined,
    check: connected(0, async (_, carrier, ground) => {
      await ground.cut()
      const opening = carrier.open({ ...contextOf(ground.app), instanceId: 'instance-0', mayBeAway: true })
      const early = await opening
        .then((open) => open.publish(message(9)))
        .then(
          () => undefined,
          (error: unknown) => error,
        )
      await ground.restore()
      const open = await opening
      try {
        ok(isTwofoldError(early, 'UNAVAILABLE'), `what is published while it is away is refused, and not ${String(early)}`)
        const got = new Got()
        await open.consume(0, got.take, 10)
        await eventually('it takes messages', () => !open.isAway)
        await publishAll(open, [1, 2])
        await got.atLeast(2)
        deepEqual(got.numbers, [1, 2])
      } finally {
        await open.close()
      }
    }),
  },
  {
    name: 'another database under the name of the same app gets none of its messages',
    topic: 'two consumers',
    saysNothing: ({ features }) =>
      isLog(features) ? 'the log lies in the database itself (`features.claimsWithAppend`: it is PostgreSQL)' : undefined,
    check: connected(1, async ([open], carrier, { app }) => {
      const other = await carrier.open({ ...contextOf(app), databaseId: OTHER_DATABASE_ID, instanceId: 'instance-0' })
      try {
        const [got, others] = [new Got(), new Got()]
        await other.consume(0, others.take, 10)
        await publishAll(open as OpenCarrier, [1, 2])
        await publishAll(other, [3])
        await open?.consume(0, got.take, 10)
        await got.atLeast(2)
        await others.atLeast(1)
        deepEqual([got.numbers, others.numbers], [[1, 2], [3]])
      } finally {
        await other.close()
      }
    }),
  },
]
