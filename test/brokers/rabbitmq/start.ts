// A RabbitMQ node for tests and for people: `npm run rabbitmq`.
import { parseArgs } from 'node:util'
import { startRabbitMq } from './node.ts'

const usage = `usage: npm run rabbitmq -- [options]
Starts a RabbitMQ node beside the machine's own, prints its address once it answers, and stops it with Ctrl-C. Its data goes with it.
  --port <port>  where it listens (default: any free port)
  --while-stdin  stop it as soon as standard input ends, for programs that start it
`
const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    'while-stdin': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) process.stdout.write(usage)
else await serve()

async function serve(): Promise<void> {
  const { port } = values
  const stopped = Promise.withResolvers<void>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.resolve())
  if (values['while-stdin']) process.stdin.once('end', () => stopped.resolve()).resume()
  const node = await startRabbitMq(port === undefined ? {} : { port: Number(port) })
  process.stdout.write(`AMQP_URL=${node.url}\n`)
  const awake = setInterval(() => undefined, 60_000)
  await stopped.promise
  clearInterval(awake)
  await node.stop()
  process.stdin.unref()
}
