// A Kafka node for tests and for people: `npm run kafka`.
import { parseArgs } from 'node:util'
import { fetchKafka, KAFKA_VERSION, startKafka } from './node.ts'

const usage = `usage: npm run kafka -- [options]
Starts a Kafka node on this machine, prints its address once it answers, and stops it with Ctrl-C. Its data goes with it, unless it has a folder.
  --port <port>       where it listens (default: any free port)
  --folder <folder>   where its data lies, and is kept
  --version <version> of Kafka (default: ${KAFKA_VERSION})
  --fetch             only fetch it with Maven, where it is not there yet
  --while-stdin       stop it as soon as standard input ends, for programs that start it
`
const { values } = parseArgs({
  options: {
    version: { type: 'string' },
    port: { type: 'string' },
    folder: { type: 'string' },
    fetch: { type: 'boolean', default: false },
    'while-stdin': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) {
  process.stdout.write(usage)
} else if (values.fetch) {
  process.stdout.write(`${await fetchKafka(values.version)}\n`)
} else {
  await serve()
}

async function serve(): Promise<void> {
  const { version, port, folder } = values
  const stopped = Promise.withResolvers<void>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.resolve())
  if (values['while-stdin']) process.stdin.once('end', () => stopped.resolve()).resume()
  const node = await startKafka({
    ...(version !== undefined && { version }),
    ...(port !== undefined && { port: Number(port) }),
    ...(folder !== undefined && { folder }),
  })
  process.stdout.write(`KAFKA_BROKERS=${node.brokers}\n`)
  const awake = setInterval(() => undefined, 60_000)
  await stopped.promise
  clearInterval(awake)
  await node.stop()
  process.stdin.unref()
}
