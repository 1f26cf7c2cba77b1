// The channels that amqplib opens in this process, to have the broker close one of them, or to see what is done with it.
import { connect, type Channel, type ChannelModel, type ConfirmChannel } from 'amqplib'
import { vi } from 'vitest'
import { amqpUrl } from './rabbitmq.ts'

export interface BrokerChannels {
  /** Those that publish, in the order in which they were opened. */
  readonly publishing: ConfirmChannel[]
  /** All others. */
  readonly others: Channel[]
}

/** Keeps every channel that is opened from here on, until `vi.restoreAllMocks()`. */
export async function watchChannels(): Promise<BrokerChannels> {
  const channels: BrokerChannels = { publishing: [], others: [] }
  const prototype = await prototypeOf(() => undefined)
  const create = Reflect.get(prototype, 'createChannel')
  const createConfirm = Reflect.get(prototype, 'createConfirmChannel')
  vi.spyOn(prototype, 'createChannel').mockImplementation(async function (this: ChannelModel) {
    const channel = await create.call(this)
    channels.others.push(channel)
    return channel
  })
  vi.spyOn(prototype, 'createConfirmChannel').mockImplementation(async function (this: ChannelModel) {
    const channel = await createConfirm.call(this)
    channels.publishing.push(channel)
    return channel
  })
  return channels
}

/** Calls `before` once, just before the next channel is closed, and `after` once the broker has been asked to. */
export async function aroundNextClose(before: () => void, after: () => void): Promise<void> {
  let prototype: Channel | undefined
  await prototypeOf((channel) => (prototype = channel))
  if (prototype === undefined) return
  const close = Reflect.get(prototype, 'close')
  vi.spyOn(prototype, 'close').mockImplementationOnce(function (this: Channel) {
    before()
    const answer = close.call(this)
    after()
    return answer
  })
}

/** Has the broker close it: nobody publishes to an exchange that is not there. */
export function breakChannel(channel: Channel | undefined): void {
  channel?.publish('twofold-has-no-such-exchange', '', Buffer.alloc(0))
}

async function prototypeOf(see: (channelPrototype: Channel) => void): Promise<ChannelModel> {
  const connection = await connect(amqpUrl)
  const channel = await connection.createChannel()
  see(Object.getPrototypeOf(channel) as Channel)
  await connection.close()
  return Object.getPrototypeOf(connection) as ChannelModel
}
