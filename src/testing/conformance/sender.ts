// Hands commands to what carries them, past the gateway: so a case has a say in their ids, in their partitions and in what goes out together.
import type { Envelope } from '../../contract/envelope.ts'
import { carriedMessage, type Carrier, type CarrierContext } from '../../ports/carrier.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import type { ConformanceGround } from './carrier-conformance.ts'

export interface Sender {
  /** Resolves once the command is durable. The same `id`: the same command, once more. */
  publish(account: string, number: number, id?: string): Promise<void>
  partitionOf(account: string): number
  /** Waits for what is under way. */
  close(): Promise<void>
}

interface Way {
  append(envelope: Envelope): Promise<unknown>
  close(): Promise<void>
}

/** An id as the gateway gives them. */
export function newCommandId(): string {
  const [time, random] = [Date.now().toString(16).padStart(12, '0'), crypto.randomUUID()]
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(15)}`
}

export async function senderTo({ url, options, app, carrier }: ConformanceGround, partitionCount: number): Promise<Sender> {
  // Loaded here: whoever only wants to test a handler needs no database.
  const { migrate } = await import('../../adapters/postgres/migrate.ts')
  const slots = await migrate(url, { appName: app, partitionCount })
  const logUrl = typeof options['url'] === 'string' ? options['url'] : url
  const way = carrier === undefined ? await toLog(logUrl, slots) : await toCarrier(carrier, { app, databaseId: slots.databaseId }, slots)
  return {
    async publish(account, number, id = newCommandId()) {
      const input = JSON.stringify({ account, number })
      await way.append({ id, service: 'accounts', command: 'tell', keys: [account], input })
    },
    partitionOf: (account) => partitionOf(slots, 'accounts', account),
    close: () => way.close(),
  }
}

async function toLog(url: string, slots: SlotMap): Promise<Way> {
  const { PostgresCommandLog } = await import('../../adapters/postgres/command-log.ts')
  const log = new PostgresCommandLog({ url, slots, signals: { ring: () => undefined } })
  return { append: (envelope) => log.append({ envelope }), close: () => log.stop() }
}

async function toCarrier(carrier: Carrier, names: Pick<CarrierContext, 'app' | 'databaseId'>, slots: SlotMap): Promise<Way> {
  const { partitionCount } = slots
  const limits: Pick<CarrierContext, 'leaseMs' | 'waitingMax' | 'carriedMsMax'> = {
    leaseMs: 2000,
    waitingMax: 5_000_000,
    carriedMsMax: 3_600_000,
  }
  const open = await carrier.open({ ...names, partitionCount, instanceId: 'sender', ...limits, warn: () => undefined })
  return {
    append: (envelope) => open.publish(carriedMessage(envelope, partitionOf(slots, envelope.service, envelope.keys[0] ?? ''))),
    close: () => open.close(),
  }
}
