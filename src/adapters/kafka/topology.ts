// The topic of an app's commands: made where it is missing, and checked at every start.
import { TwofoldError } from '../../errors.ts'
import type { CarrierContext } from '../../ports/carrier.ts'
import { pause } from '../../runtime/backoff.ts'
import { answerOf, type Cluster } from './cluster.ts'
import { codes, nameOf, requests } from './protocol.ts'

export interface TopicOptions {
  readonly partitionCount: number
  /** So large a message may be. */
  readonly messageBytesMax: number
  /** So long a command may be under way, in milliseconds. */
  readonly carriedMsMax: number
  /** On how many brokers each message is kept. Default: 3, or as many as there are. */
  readonly replicas?: number | undefined
}

/** What Kafka adds to one message at most: the batch around it, lengths and numbers. */
export const OVERHEAD_BYTES = 64 << 10
const READY_MS_MAX = 10_000
const TOPIC_RESOURCE = 2

/** How the topic is; values as Kafka gives them. */
export interface TopicState {
  readonly partitionCount: number
  readonly replicas: number
  readonly settings: ReadonlyMap<string, string>
}

/** What an app's topic is named by. */
export type TopicNames = Pick<CarrierContext, 'app' | 'databaseId' | 'partitionCount'>

/**
 * With the database in it: its outcomes say what has run, so no other one may take these commands. And with the count: another count is another topic,
 * so that no key's commands lie in two partitions of one.
 */
export function topicName({ app, databaseId, partitionCount }: TopicNames): string {
  return `${app}.commands.${databaseId}.${partitionCount}`
}

/** Makes sure that there is a topic that loses nothing. Resolves with what is worth a warning. @throws TwofoldError INVALID_TOPOLOGY */
export async function ensureTopic(cluster: Cluster, options: TopicOptions): Promise<string[]> {
  await cluster.refresh()
  if (cluster.topicId === undefined) await createTopic(cluster, options)
  const state = await describeTopic(cluster)
  const { faults, warnings } = judgeTopic(cluster.topic, state, options)
  if (faults.length > 0) throw new TwofoldError('INVALID_TOPOLOGY', faults.join('; '))
  return warnings
}

async function createTopic(cluster: Cluster, { partitionCount, messageBytesMax, carriedMsMax, replicas }: TopicOptions): Promise<void> {
  const replicationFactor = replicas ?? Math.min(3, cluster.brokerCount)
  const settings = {
    'cleanup.policy': 'delete',
    'retention.ms': String(carriedMsMax),
    'retention.bytes': '-1',
    'max.message.bytes': String(messageBytesMax + OVERHEAD_BYTES),
    // A confirmed command is on two brokers, and one of three may fail.
    'min.insync.replicas': String(replicationFactor >= 3 ? 2 : 1),
    'unclean.leader.election.enable': 'false',
  }
  const configs = Object.entries(settings).map(([name, value]) => ({ name, value }))
  const topic = { name: cluster.topic, numPartitions: partitionCount, replicationFactor, assignments: [], configs }
  const answer = await answerOf(cluster.askAny(requests.createTopics, [topic], READY_MS_MAX, false))
  const { errorCode, errorMessage } = answer.topics[0] ?? { errorCode: codes.NONE, errorMessage: null }
  if (errorCode !== codes.NONE && errorCode !== codes.TOPIC_ALREADY_EXISTS) {
    const reason = errorMessage ?? nameOf(errorCode)
    const way = `make it with ${partitionCount} partitions, or let this user make topics`
    throw new TwofoldError('INVALID_TOPOLOGY', `Kafka does not make the topic ${cluster.topic} (${reason}): ${way}`)
  }
  await untilLed(cluster)
}

/** A new topic takes a moment to be known everywhere. */
async function untilLed(cluster: Cluster): Promise<void> {
  for (const until = performance.now() + READY_MS_MAX; ; await pause(50)) {
    await cluster.refresh()
    const count = cluster.partitionCount
    if (count > 0 && Array.from({ length: count }, (_, at) => at).every((each) => cluster.leaderOf(each) !== undefined)) return
    if (performance.now() > until) throw new TwofoldError('INVALID_TOPOLOGY', `the topic ${cluster.topic} has partitions without a leader`)
  }
}

export async function describeTopic(cluster: Cluster): Promise<TopicState> {
  const asked = [{ resourceType: TOPIC_RESOURCE, resourceName: cluster.topic, configurationKeys: null }] as const
  const answer = await answerOf(cluster.askAny(requests.describeConfigs, [...asked], false, false))
  const configs = answer.results[0]?.configs ?? []
  return {
    partitionCount: cluster.partitionCount,
    replicas: cluster.replicas,
    settings: new Map(configs.flatMap(({ name, value }) => (value === null || value === undefined ? [] : [[name, value] as const]))),
  }
}

/** `faults` lose commands or make them unusable; `warnings` may, some day. */
export function judgeTopic(
  topic: string,
  { partitionCount, replicas, settings }: TopicState,
  options: TopicOptions,
): { readonly faults: string[]; readonly warnings: string[] } {
  const number = (name: string): number | undefined => {
    const value = settings.get(name)
    return value === undefined ? undefined : Number(value)
  }
  const faults: string[] = []
  const warnings: string[] = []
  if (partitionCount !== options.partitionCount)
    faults.push(
      `the topic ${topic} has ${partitionCount} partitions, and this app has ${options.partitionCount}: partitions are never added to it; ` +
        `delete the topic once it is empty, and it is made anew`,
    )
  const policy = settings.get('cleanup.policy')
  if (policy !== undefined && policy !== 'delete')
    faults.push(`the topic ${topic} has cleanup.policy=${policy}, which drops commands of a key that has newer ones: set it to delete`)
  const bytes = number('max.message.bytes')
  if (bytes !== undefined && bytes < options.messageBytesMax)
    faults.push(
      `the topic ${topic} takes messages of ${bytes} bytes, and commands may have ${options.messageBytesMax}: ` +
        `set max.message.bytes=${options.messageBytesMax + OVERHEAD_BYTES}`,
    )
  const inSync = number('min.insync.replicas')
  if (inSync !== undefined && inSync > replicas)
    faults.push(`the topic ${topic} has min.insync.replicas=${inSync} and is kept on ${replicas} brokers: nothing can be confirmed`)
  const retentionMs = number('retention.ms')
  if (retentionMs !== undefined && retentionMs >= 0 && retentionMs < options.carriedMsMax)
    warnings.push(
      `the topic ${topic} keeps messages for ${retentionMs} ms: commands that wait longer are deleted without having run; ` +
        `set retention.ms=${options.carriedMsMax}`,
    )
  if (retentionMs !== undefined && (retentionMs < 0 || retentionMs > options.carriedMsMax))
    warnings.push(
      `the topic ${topic} keeps messages for ${retentionMs < 0 ? 'ever' : `${retentionMs} ms`}: should its offsets be lost, what is older than ` +
        `${options.carriedMsMax} ms is delivered again and becomes a dead letter; set retention.ms=${options.carriedMsMax}`,
    )
  const sizeMax = number('retention.bytes')
  if (sizeMax !== undefined && sizeMax >= 0)
    warnings.push(`the topic ${topic} deletes what is over ${sizeMax} bytes, run or not: set retention.bytes=-1`)
  return { faults, warnings }
}

/** @throws TwofoldError INVALID_TOPOLOGY where the broker is too old (or, one day, too new) */
export async function checkVersions(cluster: Cluster): Promise<void> {
  const { apiKeys } = await cluster.askAny(requests.apiVersions, 'twofold', '1')
  const offered = new Map(apiKeys.map((each) => [each.apiKey, each]))
  for (const [name, { key, version }] of Object.entries(requests)) {
    const found = offered.get(key)
    if (found === undefined || found.minVersion > version || found.maxVersion < version) {
      const range = found === undefined ? 'not at all' : `in the versions ${found.minVersion} to ${found.maxVersion}`
      throw new TwofoldError(
        'INVALID_TOPOLOGY',
        `the broker offers ${name} ${range}, and version ${version} is needed: use Kafka 3.9 or newer`,
      )
    }
  }
}
