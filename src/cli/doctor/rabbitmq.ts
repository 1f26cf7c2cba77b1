// RabbitMQ, where it is the carrier: does it answer, can it do what is needed, and are the app's queues there.
import { bounded, type Check, type Finding } from './check.ts'
import { openSession } from './session.ts'

export const rabbitmqCheckNames = ['rabbitmq', 'rabbitmq.queues']

/** `database`: where the app lives, if that is known: its name is part of its queues'. */
export async function lookAtRabbitMq(url: string, database: string | undefined): Promise<Check[]> {
  const broker = await bounded('rabbitmq', () => lookAtVersion(url))
  if (broker.status === 'fault' || database === undefined) return [broker]
  return [broker, await bounded('rabbitmq.queues', () => lookAtTopology(url, database))]
}

async function lookAtVersion(url: string): Promise<Finding> {
  // Loaded here: whoever does not use RabbitMQ need not have its package.
  const { lookAtBroker } = await import('../../adapters/rabbitmq/look.ts')
  const { host } = new URL(url)
  try {
    const { version, fault } = await lookAtBroker(url)
    const found = `RabbitMQ ${version} at ${host}`
    return fault === undefined ? { status: 'ok', found } : { status: 'fault', found: `${found} ${fault.found}`, advice: fault.advice }
  } catch (error) {
    const reason = error instanceof Error && error.message !== '' ? error.message : String((error as { code?: unknown }).code)
    return { status: 'fault', found: `RabbitMQ does not answer at ${host} (${reason})`, advice: 'start it, or correct AMQP_URL' }
  }
}

async function lookAtTopology(url: string, database: string): Promise<Finding> {
  const { lookAtQueues } = await import('../../adapters/rabbitmq/look.ts')
  const session = await openSession(database)
  try {
    const [schema] = await session.rows<{ isThere: boolean }>(`select to_regclass('twofold._app') is not null as "isThere"`)
    // A schema from before there was an id is brought up to date by the next start, which makes the queues.
    const apps = `select name, partition_count as count, to_jsonb(a) ->> 'database_id' as "databaseId" from twofold._app a`
    const [app] = schema?.isThere === true ? await session.rows<{ name: string; count: number; databaseId: string | null }>(apps) : []
    if (app === undefined || app.databaseId === null)
      return { status: 'ok', found: 'no app has been started with this database: its queues are made at the first start' }
    const names = { app: app.name, databaseId: app.databaseId, partitionCount: app.count }
    const { missing, waiting, unserved, dead, deadQueue } = await lookAtQueues(url, names)
    if (missing.length === app.count)
      return { status: 'ok', found: `none of the queues of '${app.name}' is there: they are made at its start` }
    if (missing.length > 0) {
      const found = `${missing.length} of ${app.count} queues of '${app.name}' are missing, ${missing[0]} among them`
      return { status: 'fault', found, advice: 'start an instance: it declares them; and find out who removed them' }
    }
    const found = `${app.count} queues of '${app.name}', in which ${waiting} commands wait`
    if (dead > 0)
      return {
        status: 'warning',
        found: `${found}; ${dead} messages in ${deadQueue}`,
        advice: 'look who interferes with the queues',
      }
    if (waiting > 0 && unserved > 0)
      return {
        status: 'warning',
        found: `${found}; ${unserved} of them are consumed by nobody`,
        advice: 'start an instance with the role stateful',
      }
    return { status: 'ok', found }
  } finally {
    await session.end()
  }
}
