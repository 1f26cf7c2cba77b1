// `twofold doctor`: looks at everything an app stands on and says of each thing whether it will do, and what to do where it will not.
import { InvalidArgumentError, type Command } from 'commander'
import { AMQP_URL, KAFKA_BROKERS, optionsFromEnvironment, type StartOptions } from '../../app/options.ts'
import { shownUrl } from '../../adapters/postgres/preflight.ts'
import { carriers, promiseOf } from '../doctor/carriers.ts'
import { bounded, faultOf, type Check } from '../doctor/check.ts'
import { lookAtEmbedded } from '../doctor/embedded.ts'
import { kafkaCheckNames, lookAtKafka } from '../doctor/kafka.ts'
import { lookAtMachine } from '../doctor/machine.ts'
import { isSound, jsonReport, textReport } from '../doctor/report.ts'
import { lookAtRabbitMq, rabbitmqCheckNames } from '../doctor/rabbitmq.ts'
import { lookAtServer, serverCheckNames } from '../doctor/server.ts'
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
    .option('--url <url>', 'the PostgreSQL server to look at; without it DATABASE_URL, or else the embedded one', postgresUrl)
    .option('--json', 'print { ok, checks: [{ name, status, found, advice? }] }')
    .action(async ({ url, json }: { readonly url?: string; readonly json?: boolean }) => {
      const checks = await examine(url, terminal)
      terminal.write(json === true ? jsonReport(checks) : textReport(checks, terminal))
      terminal.exitCode(isSound(checks) ? 0 : 1)
    })
}

function postgresUrl(value: string): string {
  if (/^postgres(ql)?:$/.test(URL.parse(value)?.protocol ?? '')) return value
  throw new InvalidArgumentError('It must read postgres://user:password@host:5432/database.')
}

async function examine(url: string | undefined, terminal: Terminal): Promise<Check[]> {
  const node = await bounded('node', () => Promise.resolve(lookAtMachine(terminal.nodeVersion)))
  return [node, ...(await examineDatabase(url, terminal)), ...carriers.map(promiseOf)]
}

/** The database an app started here would use: the one that was named, or the embedded one. */
async function examineDatabase(named: string | undefined, { environment }: Terminal): Promise<Check[]> {
  let settings: ReturnType<typeof optionsFromEnvironment>
  try {
    settings = optionsFromEnvironment(environment)
  } catch (error) {
    // With a wrong setting it is not known which database was meant.
    const wrong = { name: 'environment', ...faultOf(error) }
    return named === undefined ? [wrong] : [wrong, ...(await lookAtServer(named))]
  }
  const url = named ?? settings.url
  if (url !== undefined) {
    const by = named === undefined ? 'DATABASE_URL' : '--url, in place of DATABASE_URL,'
    const environmentCheck: Check = { name: 'environment', status: 'ok', found: `${by} names ${shownUrl(url)}` }
    return [environmentCheck, ...(await lookAtServer(url)), ...(await examineBroker(settings, url))]
  }
  const dataDir = settings.dataDir ?? '.twofold'
  const environmentCheck: Check = { name: 'environment', status: 'ok', found: `no DATABASE_URL: the embedded PostgreSQL in ${dataDir}` }
  let running: string | undefined
  const embedded = await bounded('embedded', async () => {
    const { url: found, ...finding } = await lookAtEmbedded(dataDir)
    running = found
    return finding
  })
  const server = running === undefined ? [] : await lookAtServer(running)
  return [environmentCheck, embedded, ...server, ...(await examineBroker(settings, running))]
}

/** The broker that carries commands, where one does. */
async function examineBroker({ carrier, amqpUrl, kafkaBrokers }: StartOptions, databaseUrl: string | undefined): Promise<Check[]> {
  if (carrier === 'rabbitmq') return lookAtRabbitMq(amqpUrl ?? AMQP_URL, databaseUrl)
  return carrier === 'kafka' ? lookAtKafka(kafkaBrokers ?? KAFKA_BROKERS, databaseUrl) : []
}
