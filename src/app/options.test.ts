import { expect, test } from 'vitest'
import { TwofoldError } from '../errors.ts'
import { optionsFromEnvironment, resolveOptions, type StartOptions } from './options.ts'

test('crash points are armed by the environment; what cannot be armed stops the start with a sentence', () => {
  const options = optionsFromEnvironment({ TWOFOLD_CRASH: 'engine.commit:3:kill' })
  expect(resolveOptions(options).crash).toEqual([{ point: 'engine.commit', pass: 3, action: 'kill' }])
  expect(resolveOptions(optionsFromEnvironment({ TWOFOLD_CRASH: '' })).crash).toEqual([])
  expect(() => optionsFromEnvironment({ TWOFOLD_CRASH: 'engine.commit' })).toThrow("TWOFOLD_CRASH: 'engine.commit' is not name:n:action")
  expect(() => resolveOptions({ crash: 'nowhere:1:kill' })).toThrow("crash: 'nowhere' is no crash point")
})

test.each<[string, Record<string, string>, string]>([
  ['an unknown carrier', { TWOFOLD_CARRIER: 'rabbit' }, `TWOFOLD_CARRIER is 'rabbit'; it must be postgres, rabbitmq or kafka`],
  [
    'an address where the carrier belongs',
    { TWOFOLD_CARRIER: 'amqp://user:secret@host' },
    `TWOFOLD_CARRIER is 'amqp://***@host'; it must be postgres, rabbitmq or kafka`,
  ],
  ['a wrong WHEN_AWAY', { TWOFOLD_WHEN_AWAY: 'keep' }, `TWOFOLD_WHEN_AWAY is 'keep'; it must be refuse or log`],
  [
    'an address of RabbitMQ without its scheme',
    { AMQP_URL: '127.0.0.1:5672' },
    `AMQP_URL is '127.0.0.1:5672'; it must read amqp://user:password@host:5672/vhost or amqps://…`,
  ],
  [
    'the address of its pages',
    { AMQP_URL: 'http://user:secret@host:15672' },
    `AMQP_URL is 'http://***@host:15672'; it must read amqp://user:password@host:5672/vhost or amqps://…, with # as %23, ? as %3F, @ as %40 and / as %2F in the password`,
  ],
  ['a port that no host has', { AMQP_URL: 'amqp://host:99999' }, `AMQP_URL is 'amqp://host:99999'; it must read`],
  [
    'a password with a #, whose rest would be taken for nothing',
    { AMQP_URL: 'amqp://user:12#secret@host' },
    `AMQP_URL is 'amqp://***@host'; it must read`,
  ],
  ['a password with a slash', { AMQP_URL: 'amqp://user:sec/ret@host' }, `AMQP_URL is 'amqp://***@host'; it must read`],
  ['a broker without a port', { KAFKA_BROKERS: 'one:9092,two' }, `KAFKA_BROKERS is 'two' (among 2); each broker must read host:port`],
  [
    'a port that no broker has',
    { KAFKA_BROKERS: 'one:99999' },
    `KAFKA_BROKERS is 'one:99999'; each broker must read host:port, with a port from 1 to 65535`,
  ],
  [
    'a password among the brokers',
    { KAFKA_BROKERS: 'user:secret@one:9092' },
    `KAFKA_BROKERS is '***@one:9092'; each broker must read host:port`,
  ],
  ['a comma at the end', { KAFKA_BROKERS: 'one:9092,' }, `KAFKA_BROKERS is '' (among 2); each broker must read host:port`],
  [
    'an address of PostgreSQL with another scheme',
    { DATABASE_URL: 'mysql://user:secret@host/db' },
    `DATABASE_URL is 'mysql://***@host/db'; it must read postgres://`,
  ],
  [
    'a password behind the address',
    { DATABASE_URL: 'http://host/db?user=u&password=secret' },
    `DATABASE_URL is 'http://host/db?user=u&password=***'`,
  ],
])('%s is one sentence with what may stand there, and without a password', (_, environment, sentence) => {
  const message = messageOf(() => optionsFromEnvironment(environment))
  expect(message).toContain(sentence)
  expect(message).not.toMatch(/sec\/?ret/)
})

test('an empty variable counts as unset, and what fits is taken as it is', () => {
  const names = ['DATABASE_URL', 'TWOFOLD_CARRIER', 'AMQP_URL', 'KAFKA_BROKERS', 'TWOFOLD_WHEN_AWAY']
  const unset = optionsFromEnvironment(Object.fromEntries(names.map((name) => [name, ''])))
  expect(resolveOptions(unset)).toMatchObject({ carrier: 'postgres', whenAway: 'refuse', brokers: { kafkaBrokers: ['127.0.0.1:9092'] } })
  const given = {
    TWOFOLD_CARRIER: 'kafka',
    AMQP_URL: 'amqps://u:p%23@host/v',
    KAFKA_BROKERS: 'one:1, [::1]:65535',
    TWOFOLD_WHEN_AWAY: 'log',
  }
  expect(resolveOptions(optionsFromEnvironment(given))).toMatchObject({
    carrier: 'kafka',
    whenAway: 'log',
    brokers: { amqpUrl: 'amqps://u:p%23@host/v', kafkaBrokers: ['one:1', '[::1]:65535'] },
  })
})

test('every wrong setting is told at once', () => {
  const environment = { TWOFOLD_CARRIER: 'a', AMQP_URL: 'b', KAFKA_BROKERS: 'c', TWOFOLD_WHEN_AWAY: 'd', PORT: 'e', LOG_LEVEL: 'f' }
  const message = messageOf(() => optionsFromEnvironment(environment))
  for (const [name, value] of Object.entries(environment)) expect(message).toContain(`${name} is '${value}'`)
})

test.each<[string, unknown, string]>([
  [
    'an empty object',
    {},
    'carrier is an empty object, which is no carrier: it lacks name, features, open; it must be postgres, rabbitmq or kafka',
  ],
  [
    'settings instead of a carrier',
    { name: 'rabbitmq', url: 'amqp://u:secret@h' },
    'carrier is an object with name, url, which is no carrier: it lacks features, open',
  ],
  ['nothing in place of one', null, 'carrier is null; it must be postgres, rabbitmq or kafka'],
  ['an empty name', '', "carrier is ''; it must be postgres, rabbitmq or kafka"],
])('a carrier that is %s is one sentence', (_, carrier, sentence) => {
  const message = messageOf(() => resolveOptions({ carrier } as StartOptions))
  expect(message).toContain(sentence)
  expect(message).not.toContain('secret')
})

test('options that no compiler has seen are told like any others, all together', () => {
  const options = { carrier: 'rabbit', amqpUrl: '', kafkaBrokers: 'one:9092', whenAway: {}, port: 99_999, url: 5 }
  const message = messageOf(() => resolveOptions(options as unknown as StartOptions))
  expect(message.split('; ').filter((part) => / is /.test(part))).toEqual([
    'port is 99999',
    `url is 5`,
    "carrier is 'rabbit'",
    "amqpUrl is ''",
    "kafkaBrokers is 'one:9092'",
    'whenAway is an object',
  ])
  expect(messageOf(() => resolveOptions({ kafkaBrokers: [] }))).toBe(
    'kafkaBrokers is empty; it must name one or several brokers as host:port',
  )
})

function messageOf(use: () => unknown): string {
  try {
    use()
  } catch (error) {
    if (error instanceof TwofoldError) return error.message
    throw error
  }
  throw new Error('nothing was wrong with it')
}
