// Kafka's requests that are used, each in the oldest version that has what is needed: what 3.9 and every 4.x answer. The library's own
// producer and consumer are not used; docs/decisions/0020-kafka.md says why.
import {
  apiVersionsV3,
  createTopicsV7,
  describeConfigsV4,
  fetchV13,
  findCoordinatorV4,
  initProducerIdV4,
  listOffsetsV7,
  metadataV12,
  offsetCommitV8,
  offsetFetchV8,
  produceV9,
} from '@platformatic/kafka'

export const requests = {
  apiVersions: apiVersionsV3.api,
  createTopics: createTopicsV7.api,
  describeConfigs: describeConfigsV4.api,
  fetch: fetchV13.api,
  findCoordinator: findCoordinatorV4.api,
  initProducerId: initProducerIdV4.api,
  listOffsets: listOffsetsV7.api,
  metadata: metadataV12.api,
  offsetCommit: offsetCommitV8.api,
  offsetFetch: offsetFetchV8.api,
  produce: produceV9.api,
} as const

/** The error codes that are told apart, by Kafka's own names. */
export const codes = {
  NONE: 0,
  OFFSET_OUT_OF_RANGE: 1,
  UNKNOWN_TOPIC_OR_PARTITION: 3,
  LEADER_NOT_AVAILABLE: 5,
  NOT_LEADER_OR_FOLLOWER: 6,
  REQUEST_TIMED_OUT: 7,
  MESSAGE_TOO_LARGE: 10,
  NETWORK_EXCEPTION: 13,
  COORDINATOR_LOAD_IN_PROGRESS: 14,
  COORDINATOR_NOT_AVAILABLE: 15,
  NOT_COORDINATOR: 16,
  RECORD_LIST_TOO_LARGE: 18,
  NOT_ENOUGH_REPLICAS: 19,
  NOT_ENOUGH_REPLICAS_AFTER_APPEND: 20,
  TOPIC_AUTHORIZATION_FAILED: 29,
  GROUP_AUTHORIZATION_FAILED: 30,
  CLUSTER_AUTHORIZATION_FAILED: 31,
  TOPIC_ALREADY_EXISTS: 36,
  OUT_OF_ORDER_SEQUENCE_NUMBER: 45,
  DUPLICATE_SEQUENCE_NUMBER: 46,
  INVALID_PRODUCER_EPOCH: 47,
  KAFKA_STORAGE_ERROR: 56,
  UNKNOWN_PRODUCER_ID: 59,
  FENCED_LEADER_EPOCH: 74,
  UNKNOWN_LEADER_EPOCH: 75,
  OFFSET_NOT_AVAILABLE: 78,
  THROTTLING_QUOTA_EXCEEDED: 89,
  UNKNOWN_TOPIC_ID: 100,
} as const

/** Kafka's name of an error code, as far as it is told apart. */
export function nameOf(code: number): string {
  return Object.entries(codes).find(([, value]) => value === code)?.[0] ?? `error ${code}`
}

/** What is over by itself: a leader that moves, a broker that starts, replicas that catch up. The same request is sent again. */
const passing: ReadonlySet<number> = new Set([
  codes.UNKNOWN_TOPIC_OR_PARTITION,
  codes.LEADER_NOT_AVAILABLE,
  codes.NOT_LEADER_OR_FOLLOWER,
  codes.REQUEST_TIMED_OUT,
  codes.NETWORK_EXCEPTION,
  codes.COORDINATOR_LOAD_IN_PROGRESS,
  codes.COORDINATOR_NOT_AVAILABLE,
  codes.NOT_COORDINATOR,
  codes.NOT_ENOUGH_REPLICAS,
  codes.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  codes.KAFKA_STORAGE_ERROR,
  codes.FENCED_LEADER_EPOCH,
  codes.UNKNOWN_LEADER_EPOCH,
  codes.OFFSET_NOT_AVAILABLE,
  codes.THROTTLING_QUOTA_EXCEEDED,
  codes.UNKNOWN_TOPIC_ID,
])

export function isPassing(code: number): boolean {
  return passing.has(code)
}

/** The broker no longer knows the numbers of this producer, or counts otherwise: it has to begin a new count. */
const miscounted: ReadonlySet<number> = new Set([
  codes.OUT_OF_ORDER_SEQUENCE_NUMBER,
  codes.INVALID_PRODUCER_EPOCH,
  codes.UNKNOWN_PRODUCER_ID,
])

export function isMiscounted(code: number): boolean {
  return miscounted.has(code)
}
