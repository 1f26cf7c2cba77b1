// RabbitMQ, where it is the carrier: does it answer, can it do what is needed, may its user do it, and are the app's queues as they are to be.
import { withPackageOf } from '../../app/broker-packages.ts'
import { copiedDatabase } from '../../app/copied-database.ts'
import { appOf, type AppOfDatabase } from './app-of.ts'
import { bounded, faultOf, type Bound, type Check, type Finding } from './check.ts'
import { countOf } from './figures.ts'

export const rabbitmqCheckNames = ['rabbitmq', 'rabbitmq.queues']

/** `database`: where the app lives, if that is known: its name is part of its queues'. */
export async function lookAtRabbitMq(url: string, database: string | undefined): Promise<Check[]> {
  const bound: Bound = { of: `RabbitMQ at ${new URL(url).host}`, advice: 'start it, or correct AMQP_URL' }
  const broker = await bounded('rabbitmq', () => lookAtVersion(url), bound)
  if (broker.status === 'fault' || database === undefined) return [broker]
  const app = await appOf(database)
  // What is wrong with the database is said where that is looked at.
  if (app === 'unknown') return [broker]
  return [broker, await bounded('rabbitmq.queues', () => lookAtTopology(url, app), bound)]
}

/** Loaded here: whoever does not use RabbitMQ need not have its package. */
const look = () => withPackageOf('rabbitmq', () => import('../../adapters/rabbitmq/look.ts'))

async function lookAtVersion(url: string): Promise<Finding> {
  const { version, fault } = await (await look()).lookAtBroker(url)
  const found = `RabbitMQ ${version} at ${new URL(url).host}`
  return fault === undefined ? { status: 'ok', found } : { status: 'fault', found: `${found} ${fault.found}`, advice: fault.advice }
}

async function lookAtTopology(url: string, app: AppOfDatabase | undefined): Promise<Finding> {
  if (app === undefined)
    return { status: 'ok', found: 'no app has been started with this database: its queues are made at the first start' }
  if (app.isCopy) return faultOf(copiedDatabase(app.databaseId))
  const { app: name, partitionCount: count } = app
  const { missing, different, waiting, unserved, dead, deadQueue } = await (await look()).lookAtQueues(url, app)
  const [other] = different
  if (other !== undefined) {
    const found = different.length === 1 ? other : `${other}, and ${countOf(different.length - 1, 'further queue')} neither`
    return { status: 'fault', found, advice: 'remove it once it is empty: the next start makes it anew' }
  }
  if (missing.length === count) return { status: 'ok', found: `none of the queues of '${name}' is there: they are made at its start` }
  if (missing.length > 0) {
    const found = `${missing.length} of ${countOf(count, 'queue')} of '${name}' are missing, ${missing[0]} among them`
    return { status: 'fault', found, advice: 'start an instance: it declares them; and find out who removed them' }
  }
  const found = `${countOf(count, 'queue')} of '${name}', as Twofold makes them; ${countOf(waiting, 'command')} ${waiting === 1 ? 'waits' : 'wait'} in them`
  if (dead > 0)
    return {
      status: 'warning',
      found: `${found}; ${countOf(dead, 'message')} in ${deadQueue}`,
      advice: 'look who interferes with the queues',
    }
  if (waiting > 0 && unserved > 0)
    return {
      status: 'warning',
      found: `${found}; ${countOf(unserved, 'queue')} that nobody consumes`,
      advice: 'start an instance with the role stateful',
    }
  return { status: 'ok', found }
}
