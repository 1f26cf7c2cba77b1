// What a person reads where Kafka is set up badly: the same sentence from a start and from `twofold doctor`, each with the way out.
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { contextOf } from '../../../test/brokers/kafka/fixture.ts'
import { hasKafkaNode } from '../../../test/brokers/kafka/for-tests.ts'
import { startKafka, type KafkaNode } from '../../../test/brokers/kafka/node.ts'
import { freePort } from '../../../test/support/free-port.ts'
import { lookAtKafka } from '../../cli/doctor/kafka.ts'
import { kafkaCarrier, type KafkaCarrierOptions } from './carrier.ts'

/** What a start says; undefined: it starts. */
async function startSays(options: KafkaCarrierOptions, mayBeAway = false): Promise<string | undefined> {
  try {
    const open = await kafkaCarrier({ requestMsMax: 1500, ...options }).open({ ...contextOf(), mayBeAway })
    await open.close()
    return undefined
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string }
    return `${code}: ${message}`
  }
}

async function bothSay(broker: string, sentence: RegExp): Promise<void> {
  const [check, ...others] = await lookAtKafka([broker], undefined)
  expect(others).toEqual([])
  expect(check?.status).toBe('fault')
  const said = `${check?.found}: ${check?.advice}`
  expect(said).toMatch(sentence)
  expect(await startSays({ brokers: [broker] })).toBe(`BROKER_UNREACHABLE: ${said}`)
}

async function listening(server: Server): Promise<string> {
  server.on('connection', (socket) => socket.on('error', () => undefined).unref())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a closed port does not answer, and what is no Kafka is told from it', { timeout: 30_000 }, async () => {
  await bothSay('127.0.0.1:9', /^Kafka does not answer at 127\.0\.0\.1:9 \(connect ECONNREFUSED.*\): start it, or set KAFKA_BROKERS/)
  const http = createHttpServer()
  const at = await listening(http)
  await bothSay(
    at,
    new RegExp(`^what listens at ${at} does not answer as Kafka does in the clear and without a login .*: name Kafka's own port`),
  )
  http.close()
})

test('one that takes a connection and says nothing is named with its address, within the time of a look', { timeout: 30_000 }, async () => {
  const silent = createServer()
  const at = await listening(silent)
  await bothSay(at, new RegExp(`^what listens at ${at} does not answer as Kafka does .*\\(Request timed out\\)`))
  silent.close()
})

test('several that cannot be reached within the time of a look are named', { timeout: 30_000 }, async () => {
  // Nobody answers there (RFC 5737), and nobody refuses.
  const brokers = ['192.0.2.1:9092', '192.0.2.2:9092']
  const [check] = await lookAtKafka(brokers, undefined)
  expect(check).toMatchObject({ status: 'fault', advice: 'start it, or set KAFKA_BROKERS to where it is' })
  expect(check?.found).toMatch(
    /^Kafka (?:at 192\.0\.2\.1:9092, 192\.0\.2\.2:9092 does not answer within 5 s|does not answer at 192\.0\.2\.1:9092, 192)/,
  )
})

test('a port for TLS is told as such, and one without where TLS was set', { timeout: 30_000 }, async () => {
  // What a server that speaks TLS answers to whoever does not: an alert, "unexpected message".
  const tls = createServer((socket) => socket.once('data', () => socket.end(Buffer.from([21, 3, 3, 0, 2, 2, 10]))))
  const at = await listening(tls)
  await bothSay(at, new RegExp(`^Kafka at ${at} wants to be spoken to by TLS .*: set tls with kafkaCarrier of twofold/kafka`))
  tls.close()
  const http = createHttpServer()
  const clear = await listening(http)
  expect(await startSays({ brokers: [clear], tls: {} })).toMatch(
    new RegExp(`^BROKER_UNREACHABLE: what listens at ${clear} does not speak TLS .*: name the port for TLS, or leave tls out$`),
  )
  http.close()
})

test('options of kafkaCarrier that are none, or wrong, are told all together', () => {
  const options = { broker: ['a:1'], replicas: 0, brokers: ['a:99999', 'user:secret@b:1'] }
  expect(() => kafkaCarrier(options as unknown as KafkaCarrierOptions)).toThrow(
    expect.objectContaining({
      code: 'INVALID_OPTIONS',
      message:
        "kafkaCarrier: brokers is 'a:99999', '***@b:1'; each broker must read host:port, with a port from 1 to 65535 and nothing before the host; " +
        'broker is no option; they are brokers, tls, sasl, replicas, publishMsMax, requestMsMax; replicas is 0; it must be a whole number from 1',
    }) as Error,
  )
  expect(() => kafkaCarrier({} as KafkaCarrierOptions)).toThrow('kafkaCarrier: brokers is undefined; it must be a list of brokers')
})

describe.runIf(hasKafkaNode)('a Kafka that wants a login', () => {
  let node: KafkaNode
  let broker: string

  beforeAll(async () => {
    const [port, clear] = [await freePort(), await freePort()]
    broker = `127.0.0.1:${port}`
    // Whether it is ready is asked in the clear.
    node = await startKafka({ port: clear, settings: await withLoginAt(port, clear) })
  }, 180_000)
  afterAll(() => node?.stop(), 30_000)

  test('without one, with a wrong one and with the right one', { timeout: 60_000 }, async () => {
    await bothSay(
      broker,
      new RegExp(`^what listens at ${broker} does not answer as Kafka does in the clear and without a login .*set tls and sasl`),
    )
    const sasl = { mechanism: 'PLAIN', username: 'clerk', password: 'wrong-secret' } as const
    const said = await startSays({ brokers: [broker], sasl })
    expect(said).toMatch(
      new RegExp(`^BROKER_UNREACHABLE: Kafka at ${broker} does not take this login .*: correct mechanism, username and password of sasl$`),
    )
    expect(said).not.toContain('secret')
    expect(await startSays({ brokers: [broker], sasl }, true), 'also where it may be away').toBe(said)
    expect(await startSays({ brokers: ['127.0.0.1:9'] }, true), 'nobody is there').toBeUndefined()
    expect(await startSays({ brokers: [broker], sasl: { ...sasl, password: 'secret' }, requestMsMax: 5000 })).toBeUndefined()
  })

  test('a user who may not use the topic is told so, and of no topic that is otherwise', { timeout: 60_000 }, async () => {
    const said = await startSays({
      brokers: [broker],
      sasl: { mechanism: 'PLAIN', username: 'guest', password: 'secret' },
      requestMsMax: 5000,
    })
    expect(said).toMatch(
      new RegExp(
        `^BROKER_UNREACHABLE: this user has no right at Kafka \\(${broker}\\) to do what is needed \\(the topic test-.*: TOPIC_AUTHORIZATION_FAILED\\): give it`,
      ),
    )
  })
})

/** A further listener that takes nobody without a password. */
async function withLoginAt(port: number, clients: number): Promise<Record<string, string>> {
  const controller = await freePort()
  return {
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `LOGIN://127.0.0.1:${port},CLIENTS://127.0.0.1:${clients},INSIDE://127.0.0.1:0,CONTROLLER://127.0.0.1:${controller}`,
    'advertised.listeners': `LOGIN://127.0.0.1:${port},CLIENTS://127.0.0.1:${clients},INSIDE://127.0.0.1:0`,
    'listener.security.protocol.map': 'LOGIN:SASL_PLAINTEXT,CLIENTS:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'sasl.enabled.mechanisms': 'PLAIN',
    'listener.name.login.plain.sasl.jaas.config':
      'org.apache.kafka.common.security.plain.PlainLoginModule required user_clerk="secret" user_guest="secret";',
    // Who comes without a name comes from inside; a guest has no rights at all.
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': 'User:ANONYMOUS;User:clerk',
  }
}
