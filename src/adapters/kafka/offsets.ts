// Where partitions begin and end, and how far each is done: the offsets committed under the name of the topic.
//
// They are committed without being a member of a group, so Kafka fences nobody, and a former owner's commit may come late. That is harmless:
// whoever commits an offset has seen everything below it committed in PostgreSQL. A late one can only be too low, which costs a second
// delivery and nothing else.
import { answerOf, type Cluster } from './cluster.ts'
import { codes, isPassing, nameOf, requests } from './protocol.ts'

export type Edge = 'first' | 'end'

/** What `ListOffsets` calls them. */
const edges: Readonly<Record<Edge, bigint>> = { first: -2n, end: -1n }

/** The offsets of `partitions`; one that cannot be asked is left out. */
export async function edgeOf(cluster: Cluster, partitions: readonly number[], edge: Edge): Promise<Map<number, number>> {
  const byLeader = Map.groupBy(partitions, (partition) => cluster.leaderOf(partition))
  const found = new Map<number, number>()
  await Promise.all(
    [...byLeader].map(async ([leader, led]) => {
      if (leader === undefined) return
      const asked = led.map((partitionIndex) => ({ partitionIndex, currentLeaderEpoch: -1, timestamp: edges[edge] }))
      const topics = [{ name: cluster.topic, partitions: asked }]
      const answer = await answerOf(cluster.ask('control', leader, requests.listOffsets, -1, 0, topics))
      for (const { partitionIndex, errorCode, offset } of answer.topics[0]?.partitions ?? [])
        if (errorCode === codes.NONE) found.set(partitionIndex, Number(offset))
    }),
  )
  return found
}

/**
 * How far `partitions` are done; one of which nothing was committed yet is left out. With each offset stands which topic it is of: one that was committed
 * late, of a topic that was removed meanwhile, says nothing of its successor. (An operator's own tools write nothing there.)
 */
export async function committedOffsets(cluster: Cluster, partitions: readonly number[]): Promise<Map<number, number>> {
  const topics = [{ name: cluster.topic, partitionIndexes: [...partitions] }]
  const asked = [{ groupId: cluster.group, memberId: null, memberEpoch: -1, topics }]
  const answer = await answerOf(cluster.askCoordinator(requests.offsetFetch, asked, false))
  const [group] = answer.groups
  const listed = group?.topics[0]?.partitions ?? []
  // A partition without an offset must be told from one that could not be read: the one begins at the very first message.
  const failed = [group?.errorCode ?? codes.NONE, ...listed.map(({ errorCode }) => errorCode)].find((code) => code !== codes.NONE)
  if (failed !== undefined) {
    if (isPassing(failed)) cluster.forgetCoordinator()
    throw new Error(`the committed offsets of ${cluster.group} cannot be read: ${nameOf(failed)}`)
  }
  return new Map(
    listed.flatMap(({ partitionIndex, committedOffset, metadata }) => {
      const isOfThisTopic = metadata === null || metadata === '' || metadata === cluster.topicId
      return committedOffset < 0n || !isOfThisTopic ? [] : [[partitionIndex, Number(committedOffset)] as const]
    }),
  )
}

/** Says how far partitions are done. Resolves with those that the broker has noted. */
export async function commitOffsets(cluster: Cluster, offsets: ReadonlyMap<number, number>): Promise<number[]> {
  const partitions = [...offsets].map(([partitionIndex, offset]) => ({
    partitionIndex,
    committedOffset: BigInt(offset),
    committedLeaderEpoch: -1,
    committedMetadata: cluster.topicId ?? '',
  }))
  const topics = [{ name: cluster.topic, partitions }]
  // Generation -1 and no member: a consumer outside of any group's membership.
  const answer = await answerOf(cluster.askCoordinator(requests.offsetCommit, cluster.group, -1, '', null, topics))
  const listed = answer.topics[0]?.partitions ?? []
  const refused = listed.find(({ errorCode }) => errorCode !== codes.NONE)
  if (refused !== undefined && isPassing(refused.errorCode)) cluster.forgetCoordinator()
  const noted = listed.filter(({ errorCode }) => errorCode === codes.NONE).map(({ partitionIndex }) => partitionIndex)
  if (refused !== undefined && noted.length === 0) throw new Error(`offsets of ${cluster.group} were refused: ${nameOf(refused.errorCode)}`)
  return noted
}
