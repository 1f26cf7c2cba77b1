// RabbitMQ as tests find it: at AMQP_URL, or where it listens by itself.
import { connect as connectTcp } from 'node:net'
import { connect } from 'amqplib'

export const amqpUrl = process.env['AMQP_URL'] ?? 'amqp://guest:guest@127.0.0.1:5672'

/** Whether something answers there. */
export function reaches(url: string, defaultPort: number): Promise<boolean> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve) => {
    const socket = connectTcp({ host: hostname, port: Number(port === '' ? defaultPort : port), timeout: 1000 })
    const answer = (yes: boolean) => (): void => {
      socket.destroy()
      resolve(yes)
    }
    socket.on('connect', answer(true)).on('error', answer(false)).on('timeout', answer(false))
  })
}

/** Whether RabbitMQ is there. Where it is not, it is printed that `what` is not tested. */
export async function hasRabbitMq(what: string): Promise<boolean> {
  const isThere = await reaches(amqpUrl, 5672)
  if (!isThere) console.log(`RabbitMQ does not answer at ${new URL(amqpUrl).host}: ${what} is NOT tested`)
  return isThere
}

/** Removes the queues of an app with one of these numbers of partitions. */
export async function removeQueues(app: string, counts: readonly number[], url: string = amqpUrl): Promise<void> {
  const connection = await connect(url)
  try {
    const channel = await connection.createChannel()
    for (const count of counts) {
      for (let partition = 0; partition < count; partition += 1) await channel.deleteQueue(`${app}.commands.${count}.${partition}`)
    }
    await channel.deleteQueue(`${app}.commands.dead`)
  } finally {
    await connection.close()
  }
}
