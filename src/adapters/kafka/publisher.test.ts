// What is told of batches that Kafka answers in ways that a node does not at will.
import { afterEach, expect, test } from 'vitest'
import { within } from '../../../test/support/within.ts'
import type { Cluster } from './cluster.ts'
import { codes } from './protocol.ts'
import { Publisher } from './publisher.ts'

/** What the broker says of a partition's batch: an error code, or nothing. */
type Said = number | 'nothing'

interface Sent {
  readonly partition: number
  readonly at: number
}

const opened: Publisher[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((publisher) => publisher.close()))
})

/** A publisher to a broker that answers as `says` does, one request at a time. */
function publisherTo(says: (partition: number, time: number) => Said): { readonly publisher: Publisher; readonly sent: Sent[] } {
  const sent: Sent[] = []
  const cluster = {
    topic: 't',
    requestMsMax: 1000,
    isAway: false,
    leaderOf: () => 1,
    onMended: () => undefined,
    refresh: () => Promise.resolve(),
    trouble: () => undefined,
    askAny: () => Promise.resolve({ producerId: 1n }),
    ask(...[, , , , , messages]: readonly [string, number, object, number, number, readonly { partition: number }[]]) {
      const partitions = [...new Set(messages.map(({ partition }) => partition))]
      const said = partitions.map((index) => {
        sent.push({ partition: index, at: performance.now() })
        return { index, errorCode: says(index, sent.filter(({ partition }) => partition === index).length), errorMessage: null }
      })
      if (said.some(({ errorCode }) => errorCode === 'nothing')) return Promise.reject(new Error('the connection was lost'))
      return Promise.resolve({ responses: [{ partitionResponses: said }] })
    },
  }
  const publisher = new Publisher({
    cluster: cluster as unknown as Cluster,
    messageBytesMax: 1000,
    warn: () => undefined,
    publishMsMax: 5000,
  })
  opened.push(publisher)
  return { publisher, sent }
}

const publish = (publisher: Publisher, partition = 0): Promise<void> => publisher.publish({ id: '', partition, key: 'k', body: 'b' })

/** Of Kafka's own: not over by itself. */
const FORBIDDEN = 29

test('what Kafka refuses at once was not taken', async () => {
  const { publisher } = publisherTo(() => FORBIDDEN)
  await expect(publish(publisher)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
})

test('what Kafka refuses after it had not answered may have been taken the first time', async () => {
  const { publisher, sent } = publisherTo((_, time) => (time === 1 ? 'nothing' : FORBIDDEN))
  await expect(publish(publisher)).rejects.toMatchObject({ code: 'IN_DOUBT' })
  expect(sent).toHaveLength(2)
})

test('what Kafka stores after it had not answered is confirmed', async () => {
  const { publisher } = publisherTo((_, time) => (time === 1 ? 'nothing' : codes.DUPLICATE_SEQUENCE_NUMBER))
  await expect(publish(publisher)).resolves.toBeUndefined()
})

test('a partition whose replicas do not keep up holds up no other one, and is sent again until it is taken', async () => {
  let isBehind = true
  const { publisher, sent } = publisherTo((partition) => (partition === 0 && isBehind ? codes.NOT_ENOUGH_REPLICAS : codes.NONE))
  const slow = publish(publisher, 0)
  const others = async (): Promise<void> => {
    for (let count = 0; count < 60; count += 1) await publish(publisher, 1)
  }
  await within('the other partition goes on', others(), 4000)
  isBehind = false
  await within('it is taken', slow, 4000)
  expect(sent.filter(({ partition }) => partition === 0).length).toBeGreaterThan(1)
})

test('where the broker does not answer nothing is sent to it for a while', async () => {
  const { publisher, sent } = publisherTo((_, time) => (time < 6 ? 'nothing' : codes.NONE))
  await publish(publisher)
  const pauses = sent.slice(1).map(({ at }, index) => at - (sent[index]?.at ?? 0))
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(1)
})
