// node --conditions=source test/brokers/kafka/start.ts [--version 3.9.1] [--port 9092] [--folder DIR]
// Starts a Kafka node for tests, prints its address once it answers, and stops it with Ctrl-C or when its standard input is closed by the
// program that started it (`--while-stdin`).
import { parseArgs } from 'node:util'
import { fetchKafka, startKafka } from './node.ts'

const { values } = parseArgs({
  options: {
    version: { type: 'string' },
    port: { type: 'string' },
    folder: { type: 'string' },
    fetch: { type: 'boolean', default: false },
    'while-stdin': { type: 'boolean', default: false },
  },
})

if (values.fetch) {
  process.stdout.write(`${await fetchKafka(values.version)}\n`)
} else {
  const node = await startKafka({
    ...(values.version !== undefined && { version: values.version }),
    ...(values.port !== undefined && { port: Number(values.port) }),
    ...(values.folder !== undefined && { folder: values.folder }),
  })
  process.stdout.write(`KAFKA_BROKERS=${node.brokers}\n`)
  const ended = new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
    if (values['while-stdin']) process.stdin.once('end', () => resolve()).resume()
    else setInterval(() => undefined, 60_000)
  })
  await ended
  await node.stop()
  process.exit(0)
}
