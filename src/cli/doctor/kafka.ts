// Looks at Kafka and at the topic of the app that lives in the database, where Kafka carries its commands.
import { HOUR_MS, RETENTION_HOURS_MIN } from '../../adapters/postgres/outcome-tables.ts'
import type { ExaminedKafka } from '../../adapters/kafka/examine.ts'
import type { TopicNames } from '../../adapters/kafka/topology.ts'
import { bounded, type Check, type Finding } from './check.ts'
import { countOf, durationOf } from './figures.ts'
import { openSession } from './session.ts'

export const kafkaCheckNames = ['kafka', 'kafka.topic']

/** A command may be under way for so long whatever its service says; how much longer is written in the app alone. */
const CARRIED_MS_MIN = (RETENTION_HOURS_MIN - 1) * HOUR_MS

/** `databaseUrl`: of the database whose app is meant; without one, or before its first start, only the brokers are looked at. */
export async function lookAtKafka(brokers: readonly string[], databaseUrl: string | undefined): Promise<Check[]> {
  const app = databaseUrl === undefined ? undefined : await appOf(databaseUrl).catch(() => undefined)
  let found: ExaminedKafka | undefined
  const reached = await bounded('kafka', async () => {
    // Loaded when it is needed: whoever does not use Kafka need not have its package.
    const { examineKafka } = await import('../../adapters/kafka/examine.ts')
    found = await examineKafka({ brokers }, { app: 'twofold', databaseId: '', partitionCount: 1, ...app, carriedMsMax: CARRIED_MS_MIN })
    return { status: 'ok', found: `Kafka answers at ${brokers.join(', ')}: ${countOf(found.brokerCount, 'broker')}, new enough` }
  })
  return found === undefined || app === undefined ? [reached] : [reached, { name: 'kafka.topic', ...topicFinding(found) }]
}

function topicFinding({ topic }: ExaminedKafka): Finding {
  if (topic === undefined) return { status: 'ok', found: 'no topic yet: the next start makes it' }
  const { name, faults, warnings, settings, replicas, waiting } = topic
  // Longer than that may be what the app asks for: its retentionHours are not written in the database.
  const known = warnings.filter((warning) => !/^\S.* keeps messages for (ever|\d+ ms): should/.test(warning))
  const [first] = [...faults, ...known]
  if (first !== undefined) {
    const at = first.lastIndexOf(': ')
    return { status: faults.length > 0 ? 'fault' : 'warning', found: first.slice(0, at), advice: first.slice(at + 2) }
  }
  const retentionMs = Number(settings.get('retention.ms'))
  const kept = retentionMs < 0 ? 'for ever' : `for ${durationOf(retentionMs)}`
  const found = `topic ${name} is on ${countOf(replicas, 'broker')}, kept ${kept}; commands that wait in it: ${waiting}`
  return { status: 'ok', found }
}

async function appOf(url: string): Promise<TopicNames> {
  const session = await openSession(url)
  try {
    return await session.row('select name as app, database_id as "databaseId", partition_count as "partitionCount" from twofold._app')
  } finally {
    await session.end()
  }
}
