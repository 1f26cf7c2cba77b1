// The shop loses processes of both sides in the middle of 2,000 orders, whatever carries its commands.
import { afterEach, expect, test } from 'vitest'
import pg from 'pg'
import { Instances } from '../../examples/shop/replay/instances.ts'
import { hasKafka, kafkaForTests } from '../brokers/kafka/for-tests.ts'
import { amqpUrl, reaches, removeQueuesOf } from '../support/rabbitmq.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { addressOf, startProgram, until, type Program } from './program.ts'

const ORDERS = 2000
/** Two callers each: their deposits meet at one key. */
const WALLETS = ['w1', 'w2', 'w3', 'w1', 'w2', 'w3']
/** What an instance is told of its carrier, and how that is stopped. */
interface CarrierGround {
  readonly environment: Record<string, string>
  readonly stop: () => Promise<void>
}

const carriers: { readonly name: string; readonly start: () => Promise<CarrierGround> }[] = [
  { name: 'postgres', start: () => Promise.resolve({ environment: {}, stop: () => Promise.resolve() }) },
  ...((await reaches(amqpUrl, 5672)) ? [{ name: 'rabbitmq', start: overRabbitMq }] : []),
  ...(hasKafka ? [{ name: 'kafka', start: overKafka }] : []),
]

function overRabbitMq(): Promise<CarrierGround> {
  const { url } = database
  return Promise.resolve({ environment: { TWOFOLD_CARRIER: 'rabbitmq', AMQP_URL: amqpUrl }, stop: () => removeQueuesOf(url) })
}

async function overKafka(): Promise<CarrierGround> {
  const kafka = await kafkaForTests()
  return { environment: { TWOFOLD_CARRIER: 'kafka', KAFKA_BROKERS: kafka.brokers.join() }, stop: () => kafka.stop() }
}

let programs: Program[] = []
let database: TestDatabase
let ground: CarrierGround

afterEach(async () => {
  await Promise.all(programs.map((program) => program.end('SIGKILL')))
  programs = []
  await ground.stop()
  await database.drop()
})

function launch(role: 'stateless' | 'stateful' | 'subscribers'): Program {
  const environment = { DATABASE_URL: database.url, PORT: '0', LOG_LEVEL: 'warn', TWOFOLD_LEASE_MS: '2000', ...ground.environment }
  const program = startProgram(`examples/shop/${role}.ts`, environment)
  programs.push(program)
  return program
}

test.each(carriers)(
  '3 stateless, 2 stateful and 1 subscriber lose and double nothing while one of each side is ended ($name)',
  { timeout: 400_000 },
  async ({ start }) => {
    database = await testDatabase()
    ground = await start()
    const client = new pg.Client({ connectionString: database.url })
    const first = launch('stateful')
    await addressOf(first)
    const [second, subscriber, ...stateless] = [
      launch('stateful'),
      launch('subscribers'),
      launch('stateless'),
      launch('stateless'),
      launch('stateless'),
    ]
    const addresses = await Promise.all(stateless.map((program) => addressOf(program, 60_000)))
    await Promise.all([addressOf(second, 60_000), addressOf(subscriber, 60_000)])
    await client.connect()
    await until('both stateful instances own partitions', async () => {
      const { rows } = await client.query('select owner from twofold.partition where owner is not null group by owner')
      return rows.length === 2
    })

    const replay = startProgram('examples/shop/replay/main.ts', {}, [
      '--sample',
      String(ORDERS),
      '--concurrency',
      '64',
      ...addresses.flatMap((address) => ['--url', address]),
    ])
    programs.push(replay)
    const shop = new Instances(addresses)
    const deposited = Promise.all(WALLETS.map((walletId, caller) => deposits(shop, walletId, caller, () => isRunning(replay))))
    const count = async (table: string): Promise<number> =>
      Number((await client.query(`select count(*) from twofold.${table}`)).rows[0].count)
    await until('a quarter of the orders has an outcome', async () => (await count('outcome')) > ORDERS / 4, 120_000)
    expect(await second.end('SIGKILL')).toBe('SIGKILL')
    expect(await stateless[0]?.end('SIGTERM')).toBe(0)
    expect(await count('outcome'), 'the faults came while work was under way').toBeLessThan(ORDERS)

    expect(await replay.ended(200_000), replay.output()).toBe(0)
    const versions = await deposited
    expect(replay.output()).toContain('0 differences')
    expect(replay.output()).toMatch(/lost\s+0\b/)
    expect(replay.output()).toMatch(/duplicated\s+0\b/)

    expect(await count('waiting')).toBe(0)
    expect(await count('parked')).toBe(0)
    // A request that was taken twice would be a second command, rejected because its order is there.
    const outcomes = await client.query(`select count(*)::int as commands, count(*) filter (where status = 'succeeded')::int as succeeded
    from twofold.outcome where command = 'placeOrder'`)
    expect(outcomes.rows[0]).toEqual({ commands: ORDERS, succeeded: ORDERS })
    expect(await count(`entity where service = 'orders'`)).toBe(ORDERS)

    for (const walletId of new Set(WALLETS)) {
      const of = versions.filter((_, caller) => WALLETS[caller] === walletId).flat()
      expect(of.length, 'deposits went on all the time').toBeGreaterThan(20)
      // One more would be a deposit that took effect twice, one less a deposit that did not, the same one twice a race.
      expect(of.toSorted((a, b) => a - b)).toEqual(of.map((_, at) => at + 1))
      const wallet = await client.query(`select version::int, state from twofold.entity where service = 'wallets' and key = $1`, [walletId])
      expect(wallet.rows[0]).toEqual({ version: of.length, state: { balanceCents: of.length } })
    }
    // Each command of the shop that changes something emits one event, so an effect without its event would show, and the reverse.
    const torn = await client.query(`select service, key, version, events from twofold.entity full join
    (select service, key, count(*) as events from twofold.event group by service, key) as told using (service, key)
    where version is distinct from events`)
    expect(torn.rows, 'versions count the events').toEqual([])
    const gaps = await client.query(`select partition from twofold.event group by partition having max(seq) <> count(*) or min(seq) <> 1`)
    expect(gaps.rows, 'events are numbered without gaps').toEqual([])
    await client.end()
  },
)

function isRunning({ child }: Program): boolean {
  return child.exitCode === null && child.signalCode === null
}

/** Deposits a cent, and again when that has its outcome, for as long as `goOn`. Returns the versions that the deposits led to. */
async function deposits(shop: Instances, walletId: string, caller: number, goOn: () => boolean): Promise<number[]> {
  const versions: number[] = []
  while (goOn()) {
    // Sent to the next instance under the same key where one does not answer, so it is one deposit.
    const key = `"${walletId}-${caller}-${versions.length}"`
    const headers = { 'content-type': 'application/json', prefer: 'respond-async', 'idempotency-key': key }
    const accepted = await shop.request(`/wallets/${walletId}/deposits`, { method: 'POST', headers, body: '{"amountCents":1}' })
    expect(accepted.status).toBe(202)
    let outcome: Readonly<Record<string, unknown>> = { status: 'queued' }
    while (outcome['status'] === 'queued' || outcome['status'] === 'running') {
      outcome = (await shop.request(`${accepted.headers.location}?wait=10`)).body
    }
    expect(outcome).toMatchObject({ status: 'succeeded' })
    versions.push(Number(outcome['version']))
  }
  return versions
}
