// `twofold doctor`: looks at everything an app stands on and says of each thing whether it will do, and what to do where it will not.
import type { Command } from 'commander'
import { AMQP_URL, KAFKA_BROKERS, optionsFromEnvironment, type StartOptions } from '../../app/options.ts'
import { shownUrl } from '../../adapters/postgres/preflight.ts'
import { carriers, promiseOf } from '../doctor/carriers.ts'
import { bounded, type Check } from '../doctor/check.ts'
import { lookAtEmbedded } from '../doctor/embedded.ts'
import { kafkaCheckNames, lookAtKafka } from '../doctor/kafka.ts'
import { lookAtMachine } from '../doctor/machine.ts'
import { isSound, jsonReport, textReport } from '../doctor/report.ts'
import { lookAtRabbitMq, rabbitmqCheckNames } from '../doctor/rabbitmq.ts'
import { lookAtServer, serverCheckNames } from '../doctor/server.ts'
import { withoutPassword } from '../../runtime/without-password.ts'
import type { Terminal } from '../terminal.ts'

/** All names that a check may bear; they stay the same from version to version. */
export const checkNames = [
  'node',
  'environment',
  'embedded',
  ...serverCheckNames,
  ...rabbitmqCheckNames,
  ...kafkaCheckNames,
  ...carriers.map((carrier) => promiseOf(carrier).name),
]

export function addDoctor(program: Command, terminal: Terminal): void {
  program
    .command('doctor')
    .description('look at Node, PostgreSQL, the app that lives there and the carriers, and say what to do; changes nothing')
    .option('--url <url>', 'the PostgreSQL server to look at; without it DATABASE_URL, or else the embedded one')
    .option('--json', 'print { ok, checks: [{ name, status, found, advice? }] }')
    .action(async ({ url, json }: { readonly url?: string; readonly json?: boolean }, command: Command) => {
      if (url !== undefined && !isPostgresUrl(url)) command.error(`error: --url is '${withoutPassword(url)}'; ${POSTGRES_URL}`)
      const checks = await examine(url, terminal)
      terminal.write(json === true ? jsonReport(checks) : textReport(checks, terminal))
      terminal.exitCode(isSound(checks) ? 0 : 1)
    })
}

const POSTGRES_URL = 'it must read postgres://user:password@host:5432/database'

function isPostgresUrl(value: string): boolean {
  return /^postgres(ql)?:$/.test(URL.parse(value)?.protocol ?? '')
}

async function examine(url: string | undefined, terminal: Terminal): Promise<Check[]> {
  const node = await bounded('node', () => Promise.resolve(lookAtMachine(terminal.nodeVersion)))
  return [node, ...(await examineDatabase(url, terminal)), ...carriers.map(promiseOf)]
}

/** The database an app started here would use: the one that was named, or the embedded one; and the broker that carries its commands. */
async function examineDatabase(named: string | undefined, { environment }: Terminal): Promise<Check[]> {
  let settings: ReturnType<typeof optionsFromEnvironment>
  try {
    settings = optionsFromEnvironment(environment)
  } catch (error) {
    // With a wrong setting it is not known which database was meant.
    const wrong: Check = {
      name: 'environment',
      status: 'fault',
      found: error instanceof Error ? error.message : String(error),
      advice: 'correct the variables named, or unset them',
    }
    return named === undefined ? [wrong] : [wrong, ...(await lookAtServer(named))]
  }
  const way = wayOf(settings)
  const url = named ?? settings.url
  if (url !== undefined) {
    const by = named === undefined ? 'DATABASE_URL' : '--url, in place of DATABASE_URL,'
    const environmentCheck: Check = { name: 'environment', status: 'ok', found: `${by} names ${shownUrl(url)}; ${way}` }
    const [server, broker] = await Promise.all([lookAtServer(url), examineBroker(settings, url)])
    return [environmentCheck, ...server, ...broker]
  }
  const dataDir = settings.dataDir ?? '.twofold'
  const found = `no DATABASE_URL: the embedded PostgreSQL in ${dataDir}; ${way}`
  const environmentCheck: Check = { name: 'environment', status: 'ok', found }
  let running: string | undefined
  const embedded = await bounded('embedded', async () => {
    const { url: address, ...finding } = await lookAtEmbedded(dataDir)
    running = address
    return finding
  })
  const [server, broker] = await Promise.all([running === undefined ? [] : lookAtServer(running), examineBroker(settings, running)])
  return [environmentCheck, embedded, ...server, ...broker]
}

/** Whoever names a broker and forgets to choose it should see that. */
function wayOf({ carrier, amqpUrl, kafkaBrokers, whenAway }: StartOptions): string {
  const name = typeof carrier === 'string' ? carrier : 'postgres'
  const unused = [
    ...(amqpUrl === undefined || name === 'rabbitmq' ? [] : ['AMQP_URL']),
    ...(kafkaBrokers === undefined || name === 'kafka' ? [] : ['KAFKA_BROKERS']),
    ...(whenAway === undefined || name !== 'postgres' ? [] : ['TWOFOLD_WHEN_AWAY']),
  ]
  const note = unused.length === 0 ? '' : `, so ${unused.join(' and ')} ${unused.length === 1 ? 'is' : 'are'} not used`
  return `commands go by ${name} (TWOFOLD_CARRIER)${note}`
}

/** The broker that carries commands, where one does. */
async function examineBroker({ carrier, amqpUrl, kafkaBrokers }: StartOptions, databaseUrl: string | undefined): Promise<Check[]> {
  if (carrier === 'rabbitmq') return lookAtRabbitMq(amqpUrl ?? AMQP_URL, databaseUrl)
  return carrier === 'kafka' ? lookAtKafka(kafkaBrokers ?? KAFKA_BROKERS, databaseUrl) : []
}
