// What a broker has to be and to have, looked at on each new connection: it may have been replaced meanwhile.
import type { ChannelModel } from 'amqplib'
import { TwofoldError } from '../../errors.ts'

/** Quorum queues dead-letter at least once from here on, and say how often they delivered. */
const VERSION_MIN: readonly [number, number] = [3, 10]

const NEEDED = ['publisher_confirms', 'basic.nack', 'consumer_cancel_notify', 'direct_reply_to', 'per_consumer_qos']

/** For what is opened for a moment, beside the channels that stay. */
const CHANNELS_SPARE = 16

/** What the broker says of itself. */
export interface BrokerProperties {
  readonly version: string
  readonly capabilities?: Readonly<Record<string, boolean>>
}

export interface BrokerFault {
  /** Continues "RabbitMQ 3.8.2". */
  readonly found: string
  readonly advice: string
}

export function propertiesOf({ connection }: ChannelModel): BrokerProperties {
  return connection.serverProperties
}

/** Why Twofold cannot work with it. */
export function faultOf({ version, capabilities }: BrokerProperties): BrokerFault | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1]))
    return { found: 'is too old', advice: `use RabbitMQ ${VERSION_MIN.join('.')} or newer` }
  const lacks = NEEDED.filter((name) => capabilities?.[name] !== true)
  return lacks.length === 0 ? undefined : { found: `lacks ${lacks.join(', ')}`, advice: 'use RabbitMQ itself' }
}

/** `channels`: so many stay open on this connection. @throws TwofoldError INVALID_TOPOLOGY */
export function checkBroker(connection: ChannelModel, channels: number): void {
  const properties = propertiesOf(connection)
  const fault = faultOf(properties)
  if (fault !== undefined) throw new TwofoldError('INVALID_TOPOLOGY', `RabbitMQ ${properties.version} ${fault.found}: ${fault.advice}`)
  const { channelMax } = connection.connection as unknown as { readonly channelMax: number }
  const needed = channels + CHANNELS_SPARE
  if (channelMax >= needed) return
  const message = `RabbitMQ allows ${channelMax} channels on a connection, and this app needs ${needed}: set channel_max in rabbitmq.conf to that or more`
  throw new TwofoldError('INVALID_TOPOLOGY', message)
}
