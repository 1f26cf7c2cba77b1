// A look at Kafka from outside of a running app, which changes nothing.
import { clusterOf, reachedOr, type KafkaCarrierOptions } from './carrier.ts'
import type { Cluster } from './cluster.ts'
import { kafkaFeatures } from './features.ts'
import { committedOffsets, edgeOf } from './offsets.ts'
import { checkVersions, describeTopic, judgeTopic, type TopicNames, type TopicState } from './topology.ts'

export interface ExaminedTopic extends TopicState {
  readonly name: string
  readonly faults: readonly string[]
  readonly warnings: readonly string[]
  /** How many commands wait in it. */
  readonly waiting: number
}

export interface ExaminedKafka {
  readonly brokerCount: number
  /** Undefined: it is not there yet. */
  readonly topic: ExaminedTopic | undefined
}

/** @throws TwofoldError BROKER_UNREACHABLE, INVALID_TOPOLOGY (the broker is too old) */
export function examineKafka(options: KafkaCarrierOptions, app: TopicNames & { readonly carriedMsMax: number }): Promise<ExaminedKafka> {
  const cluster = clusterOf(options, { ...app, instanceId: 'doctor' })
  return reachedOr(options, async () => {
    try {
      await checkVersions(cluster)
      await cluster.refresh()
      const { brokerCount, topicId } = cluster
      return { brokerCount, topic: topicId === undefined ? undefined : await examineTopic(cluster, app) }
    } finally {
      await cluster.close()
    }
  })
}

async function examineTopic(
  cluster: Cluster,
  app: { readonly partitionCount: number; readonly carriedMsMax: number },
): Promise<ExaminedTopic> {
  const state = await describeTopic(cluster)
  const judged = judgeTopic(cluster.topic, state, { ...app, messageBytesMax: kafkaFeatures.messageBytesMax })
  return { ...state, ...judged, name: cluster.topic, waiting: await waitingIn(cluster) }
}

async function waitingIn(cluster: Cluster): Promise<number> {
  const partitions = Array.from({ length: cluster.partitionCount }, (_, at) => at)
  const done = await committedOffsets(cluster, partitions)
  const [firsts, ends] = await Promise.all([edgeOf(cluster, partitions, 'first'), edgeOf(cluster, partitions, 'end')])
  return partitions.reduce(
    (sum, each) => sum + Math.max(0, (ends.get(each) ?? 0) - Math.max(done.get(each) ?? 0, firsts.get(each) ?? 0)),
    0,
  )
}
