// The process that is measured: the bank with every role or one of them, or nothing but Fastify. Tells its port to the process that started it.
import fastify from 'fastify'
import { start, type CarrierName } from 'twofold'
import { bankApp } from '../bank.ts'

interface Served {
  readonly url: string
  stop(): Promise<void>
}

/** `carrier`: what takes commands between the two sides; its broker is where the environment says. */
const [what, url = '', carrier = 'postgres'] = process.argv.slice(2)

const served = what === 'bare' ? await bare() : await app()
process.on('disconnect', () => void served.stop().then(() => process.exit(0)))
process.send?.({ port: Number(new URL(served.url).port) })

function app(): Promise<Served> {
  const roles = what === 'stateless' || what === 'stateful' ? ([what] as const) : undefined
  const { AMQP_URL: amqpUrl, KAFKA_BROKERS: kafka } = process.env
  const kafkaBrokers = kafka?.split(',')
  return start(bankApp, { url, port: 0, logLevel: 'warn', roles, carrier: carrier as CarrierName, kafkaBrokers, amqpUrl })
}

/** No schema, no hook, no log: what the HTTP server alone costs. */
async function bare(): Promise<Served> {
  const server = fastify()
  server.post('/accounts/:account/credits', (request, reply) => {
    const { cents } = request.body as { cents: number }
    return reply.send({ cents })
  })
  return { url: await server.listen({ port: 0, host: '127.0.0.1' }), stop: () => server.close() }
}
