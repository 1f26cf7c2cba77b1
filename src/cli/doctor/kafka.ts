// Looks at Kafka and at the topic of the app that lives in the database, where Kafka carries its commands.
import { HOUR_MS, RETENTION_HOURS_MIN } from '../../adapters/postgres/outcome-tables.ts'
import type { ExaminedKafka } from '../../adapters/kafka/examine.ts'
import { withPackageOf } from '../../app/broker-packages.ts'
import { copiedDatabase } from '../../app/copied-database.ts'
import { appOf } from './app-of.ts'
import { bounded, faultOf, type Check, type Finding } from './check.ts'
import { countOf, durationOf } from './figures.ts'

export const kafkaCheckNames = ['kafka', 'kafka.topic']

/** A command may be under way for so long whatever its service says; how much longer is written in the app alone. */
const CARRIED_MS_MIN = (RETENTION_HOURS_MIN - 1) * HOUR_MS

/** A broker that takes a connection and says nothing is told as such, within the bound of a look. */
const REQUEST_MS_MAX = 3000

/** `databaseUrl`: of the database whose app is meant; without one, or before its first start, only the brokers are looked at. */
export async function lookAtKafka(brokers: readonly string[], databaseUrl: string | undefined): Promise<Check[]> {
  const found = databaseUrl === undefined ? undefined : await appOf(databaseUrl)
  const app = found === 'unknown' ? undefined : found
  const at = brokers.join(', ')
  let examined: ExaminedKafka | undefined
  const look = async (): Promise<Finding> => {
    // Loaded when it is needed: whoever does not use Kafka need not have its package.
    const { examineKafka } = await withPackageOf('kafka', () => import('../../adapters/kafka/examine.ts'))
    const options = { brokers, requestMsMax: REQUEST_MS_MAX }
    examined = await examineKafka(options, { app: 'twofold', databaseId: '', partitionCount: 1, ...app, carriedMsMax: CARRIED_MS_MIN })
    return { status: 'ok', found: `Kafka answers at ${at}: ${countOf(examined.brokerCount, 'broker')}, new enough` }
  }
  const reached = await bounded('kafka', look, { of: `Kafka at ${at}`, advice: 'start it, or set KAFKA_BROKERS to where it is' })
  if (examined === undefined || app === undefined) return [reached]
  const finding = app.isCopy ? faultOf(copiedDatabase(app.databaseId)) : topicFinding(examined)
  return [reached, { name: 'kafka.topic', ...finding }]
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
