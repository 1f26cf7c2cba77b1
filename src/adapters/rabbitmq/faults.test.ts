// What a person reads where RabbitMQ is set up badly: the same sentence from a start and from `twofold doctor`, each with the way out.
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { connect, type Options } from 'amqplib'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasRabbitMqNode } from '../../../test/brokers/rabbitmq/for-tests.ts'
import { startRabbitMq, type RabbitMqNode } from '../../../test/brokers/rabbitmq/node.ts'
import { until } from '../../../test/e2e/program.ts'
import { testDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { proxyTo } from '../../../test/support/proxy.ts'
import { amqpUrl, hasRabbitMq, removeQueues } from '../../../test/support/rabbitmq.ts'
import { lookAtRabbitMq } from '../../cli/doctor/rabbitmq.ts'
import type { Check } from '../../cli/doctor/check.ts'
import type { CarrierContext } from '../../ports/carrier.ts'
import { migrate } from '../postgres/migrate.ts'
import { isAway } from './faults.ts'
import { rabbitmqCarrier } from './rabbitmq-carrier.ts'
import { deadQueueName, queueArguments, queueName } from './topology.ts'

const app = `faults-${process.pid}`
const warnings: string[] = []
const context: CarrierContext = {
  app,
  databaseId: '0123abcd',
  partitionCount: 2,
  instanceId: 'i',
  leaseMs: 2000,
  carriedMsMax: 1000,
  waitingMax: 4000,
  warn: (_, message) => warnings.push(message),
}

/** The database that doctor looks into is that of the queues. */
async function takesIts({ url }: TestDatabase): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('update twofold._app set database_id = $1', [context.databaseId])
  await client.end()
}

/** What a start says; undefined: it starts. */
async function startSays(url: string): Promise<string | undefined> {
  try {
    const open = await rabbitmqCarrier(url).open(context)
    await open.close()
    return undefined
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message: string }
    return `${code}: ${message}`
  }
}

function sentenceOf({ found, advice }: Check): string {
  return `${found}: ${advice}`
}

async function listening(server: Server): Promise<string> {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Both say the same, and nobody's password. */
async function bothSay(url: string, sentence: RegExp): Promise<void> {
  const [check] = await lookAtRabbitMq(url, undefined)
  expect(check?.status).toBe('fault')
  expect(await startSays(url)).toBe(`BROKER_UNREACHABLE: ${check && sentenceOf(check)}`)
  expect(check && sentenceOf(check)).toMatch(sentence)
  expect(JSON.stringify(check)).not.toContain('secret')
}

test('a closed port, and a name that nobody has, do not answer', async () => {
  const wayOut = 'start it, correct AMQP_URL, or set TWOFOLD_WHEN_AWAY=log, so that PostgreSQL takes commands meanwhile'
  await bothSay('amqp://user:secret@127.0.0.1:9', new RegExp(`^RabbitMQ does not answer at 127.0.0.1:9 .*ECONNREFUSED.*: ${wayOut}$`))
  await bothSay('amqp://user:secret@nowhere.invalid', /^RabbitMQ does not answer at nowhere\.invalid .*ENOTFOUND/)
})

test('what answers and refuses is not away, whatever digits the address has', () => {
  for (const said of ['connect ECONNREFUSED 127.0.0.1:15403', 'connect ETIMEDOUT 10.40.3.53:5301', 'getaddrinfo ENOTFOUND rabbit-403'])
    expect(isAway(new Error(said)), said).toBe(true)
  const refusals = [
    'Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - Login was refused"',
    `Operation failed: QueueDeclare; 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - access to queue 'q' refused"`,
    'Connection closed: 530 (NOT-ALLOWED) with message "NOT_ALLOWED - vhost / not found"',
    'Expected ConnectionOpenOk; got <ConnectionClose channel:0>',
  ]
  for (const said of refusals) expect(isAway(new Error(said)), said).toBe(false)
})

test('what speaks something else is told from RabbitMQ: HTTP, or no TLS where the address says TLS', async () => {
  const http = createHttpServer()
  const at = await listening(http)
  await bothSay(`amqp://user:secret@${at}`, new RegExp(`^what listens at ${at} does not speak AMQP 0-9-1 in the clear.*5672 with amqp://`))
  await bothSay(`amqps://user:secret@${at}`, new RegExp(`^what listens at ${at} does not speak TLS \\(\\w+\\): with amqps://`))
  http.close()
})

test('what takes a connection and says nothing does not answer either', { timeout: 30_000 }, async () => {
  const silent = createServer()
  silent.on('connection', (socket) => socket.on('error', () => undefined).unref())
  const at = await listening(silent)
  const [check] = await lookAtRabbitMq(`amqp://user:secret@${at}`, undefined)
  expect(check).toMatchObject({ status: 'fault', found: expect.stringMatching(new RegExp(`^RabbitMQ does not answer at ${at} `)) })
  silent.close()
})

describe.runIf(await hasRabbitMq('what is said where it is set up badly'))('a RabbitMQ that answers', () => {
  let database: TestDatabase

  beforeAll(async () => {
    database = await testDatabase()
    await migrate(database.url, { appName: app, partitionCount: 2 })
    await takesIts(database)
  })
  afterAll(async () => {
    await removeQueues(context)
    const connection = await connect(amqpUrl)
    const channel = await connection.createChannel()
    // What a doctor would leave behind that makes what it looks at.
    await channel.deleteQueue(queueName(context, 2))
    await connection.close()
    await database.drop()
  })

  /** Leaves the app with a queue that somebody has made so. */
  async function made(partition: number, options: Options.AssertQueue): Promise<void> {
    await removeQueues(context)
    const connection = await connect(amqpUrl)
    const channel = await connection.createChannel()
    await channel.assertQueue(queueName(context, partition), { durable: true, ...options })
    await connection.close()
  }

  async function queues(): Promise<Check | undefined> {
    const [, check] = await lookAtRabbitMq(amqpUrl, database.url)
    return check
  }

  test('an instance that waits for a broker says why that does not let it in, as soon as it answers', { timeout: 30_000 }, async () => {
    const proxy = await proxyTo(amqpUrl)
    const wrong = new URL(proxy.url)
    wrong.username = 'nobody'
    wrong.password = 'secret'
    await proxy.cut()
    const told: string[] = []
    const warn: CarrierContext['warn'] = (fields, message) => void told.push(`${message} ${JSON.stringify(fields)}`)
    const open = await rabbitmqCarrier(wrong.href).open({ ...context, mayBeAway: true, warn })
    try {
      await proxy.restore()
      await until('it is told', () =>
        told.some((line) => /^RabbitMQ answers, and cannot.*does not take user 'nobody' with this/.test(line)),
      )
      expect(told.join()).not.toContain('secret')
    } finally {
      await open.close()
      await proxy.close()
    }
  })

  test('a wrong password and a virtual host that is not there are told apart', async () => {
    const { host } = new URL(amqpUrl)
    const wrong = new URL(amqpUrl)
    wrong.username = 'nobody'
    wrong.password = 'secret'
    await bothSay(
      wrong.href,
      new RegExp(`^RabbitMQ at ${host} does not take user 'nobody' with this password .*: correct AMQP_URL, or set`),
    )
    const elsewhere = new URL(amqpUrl)
    elsewhere.pathname = '/no%2Fwhere'
    await bothSay(
      elsewhere.href,
      new RegExp(
        `^RabbitMQ at ${host} does not let user '.*' into virtual host 'no/where': .* \\(it closed the connection\\): correct AMQP_URL, or use`,
      ),
    )
  })

  test.each<[string, Options.AssertQueue, string]>([
    ['another type', { arguments: {} }, "made without 'x-dead-letter-exchange', which is to be ''"],
    ['no single active consumer', without('x-single-active-consumer'), "made without 'x-single-active-consumer', which is to be 'true'"],
    ['another delivery limit', otherwise({ 'x-delivery-limit': 20 }), "its 'x-delivery-limit' is '20' and not '1000000000'"],
    ['no delivery limit', without('x-delivery-limit'), "made without 'x-delivery-limit', which is to be '1000000000'"],
    [
      'another dead-letter strategy',
      otherwise({ 'x-dead-letter-strategy': 'at-most-once' }),
      "its 'x-dead-letter-strategy' is 'at-most-once' and not 'at-least-once'",
    ],
    ['another overflow', otherwise({ 'x-overflow': 'drop-head' }), "its 'x-overflow' is 'drop-head' and not 'reject-publish'"],
    [
      'an argument too many',
      otherwise({ 'x-queue-leader-locator': 'balanced' }),
      "its 'x-queue-leader-locator' is 'balanced' and not left out",
    ],
    [
      'another bound, behind which another overflow hides',
      otherwise({ 'x-max-length': 10, 'x-overflow': 'drop-head' }),
      "its 'x-overflow' is 'drop-head' and not 'reject-publish'",
    ],
  ])('a queue with %s stops the start, and doctor says the same', async (_, options, difference) => {
    await made(1, options)
    const check = await queues()
    const told = `the queue '${queueName(context, 1)}' of RabbitMQ is not as Twofold makes it`
    expect(check).toMatchObject({
      status: 'fault',
      found: expect.stringContaining(told),
      advice: expect.stringMatching(/^remove it once it is empty/),
    })
    expect(check?.found).toContain(difference)
    const said = await startSays(amqpUrl)
    expect(said).toMatch(new RegExp(`^INVALID_TOPOLOGY: ${told} \\(.*\\): remove it once it is empty`))
    expect(said).toContain(difference)
    expect(said).not.toContain('?')
  })

  test('a queue with another bound is kept, and told in the log', async () => {
    await made(0, otherwise({ 'x-max-length': 10 }))
    expect(await startSays(amqpUrl)).toBeUndefined()
    expect(warnings.at(-1)).toContain(`the queue '${queueName(context, 0)}' takes 10 commands and not 2000`)
    expect(await queues()).toMatchObject({ status: 'ok', found: expect.stringContaining('as Twofold makes them') })
  })

  test('a queue with the largest bound that there is is kept, too', async () => {
    await made(0, otherwise({ 'x-max-length': { '!': 'int64', value: '9223372036854775807' } }))
    expect(await startSays(amqpUrl)).toBeUndefined()
    expect(warnings.at(-1)).toContain(`the queue '${queueName(context, 0)}' takes 9223372036854775807 commands and not 2000`)
    expect(await queues()).toMatchObject({ status: 'ok', found: expect.stringContaining('as Twofold makes them') })
  })

  test('doctor makes no queue', async () => {
    await removeQueues(context)
    expect(await queues()).toMatchObject({ status: 'ok', found: `none of the queues of '${app}' is there: they are made at its start` })
    await made(1, { arguments: queueArguments(context) })
    expect(await queues()).toMatchObject({ status: 'fault', found: expect.stringContaining(`1 of 2 queues of '${app}' are missing`) })
    const connection = await connect(amqpUrl)
    for (const name of [queueName(context, 0), queueName(context, 2), deadQueueName(context)]) {
      const channel = await connection.createChannel()
      channel.on('error', () => undefined)
      await expect(channel.checkQueue(name)).rejects.toMatchObject({ code: 404 })
    }
    await connection.close()
  })
})

describe.runIf(hasRabbitMqNode)('a RabbitMQ with users of its own', () => {
  let node: RabbitMqNode
  let database: TestDatabase
  let url: string

  beforeAll(async () => {
    database = await testDatabase()
    await migrate(database.url, { appName: app, partitionCount: 2 })
    await takesIts(database)
    node = await startRabbitMq()
    await node.control(['add_user', 'clerk', 'secret'])
    const own = new URL(node.url)
    own.username = 'clerk'
    own.password = 'secret'
    url = own.href
  }, 120_000)
  afterAll(async () => {
    await node?.stop()
    await database?.drop()
  }, 30_000)

  const rights = (configure: string, write: string, read: string): Promise<void> =>
    node.control(['set_permissions', 'clerk', configure, write, read])

  test('a user without rights in the virtual host is not let in', { timeout: 60_000 }, async () => {
    await bothSay(
      url,
      /does not let user 'clerk' into virtual host '\/': it is not there, or the user has no rights in it .* '\/' 'clerk' '\.\*'/,
    )
  })

  test.each([
    ['make its queues', '^$', '.*', '.*', 'configure'],
    ['write to the default exchange', '.*', '^$', '.*', 'write'],
    ['read its queues', '.*', '.*', '^$', 'read'],
  ])('a user who may not %s is told which right is missing', { timeout: 60_000 }, async (_, configure, write, read, right) => {
    await rights(configure, write, read)
    const [broker, queues] = await lookAtRabbitMq(url, database.url)
    expect(broker?.status).toBe('ok')
    expect(queues).toMatchObject({
      status: 'fault',
      found: expect.stringMatching(
        new RegExp(`^user 'clerk' has no right to ${right} what it needs in virtual host '/' of .* \\(ACCESS_REFUSED - .*\\)$`),
      ),
      advice: expect.stringMatching(/^use rabbitmqctl set_permissions -p '\/' 'clerk' to let it configure, write and read/),
    })
    expect(JSON.stringify(queues)).not.toContain('secret')
  })

  test('a start says the same of the right to make its queues', { timeout: 60_000 }, async () => {
    await rights('^$', '.*', '.*')
    const [, queues] = await lookAtRabbitMq(url, database.url)
    const said = queues && sentenceOf(queues).replace(queueName(context, 2), deadQueueName(context))
    expect(await startSays(url)).toBe(`BROKER_UNREACHABLE: ${said}`)
  })
})

function otherwise(others: Record<string, string | number | object>): Options.AssertQueue {
  return { arguments: { ...queueArguments(context), ...others } }
}

function without(name: string): Options.AssertQueue {
  return { arguments: Object.fromEntries(Object.entries(queueArguments(context)).filter(([key]) => key !== name)) }
}
