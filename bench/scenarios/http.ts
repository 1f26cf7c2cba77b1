// The whole app behind HTTP, in a process of its own, and nothing but Fastify beside it.
import type pg from 'pg'
import { verifyBank } from '../bank.ts'
import { withKafkaNode, withQueuesRemoved } from '../brokers.ts'
import { withCpu, type Cpu } from '../cpu.ts'
import type { Job, JobDone } from '../http/job.ts'
import { withHttpServer, type HttpServer } from '../http/processes.ts'
import { finished, resultOf, withDatabase, type Result, type Scenario, type Setting } from '../scenario.ts'

const CONNECTIONS = 128

/** Code is compiled by how often it runs: before so many requests nothing is measured, or before so many seconds where they come slowly. */
const WARM_UP_REQUESTS = 40_000
const WARM_UP_SECONDS_MAX = 10
/** A broker that has just started compiles its own code too. */
const WARM_UP_SECONDS_MAX_BROKER = 40

/** Of what a closed load reaches on this machine at this moment: there is work to do, and nobody waits for processors. */
const OPEN_SHARE = 1 / 3

/** So light that each command is alone. */
const LIGHT_RATE = 100

/** A job but for where it goes and how long it takes; `share`: the rate is that part of what the warm-up reached. */
type Plan = Omit<Job, 'port' | 'seconds'> & { readonly share?: number; readonly warmUpSecondsMax?: number }

export const fastifyBare: Scenario = {
  name: 'fastify-bare',
  run: ({ server, seconds }) =>
    withDatabase(server, (_, client) =>
      withHttpServer(['bare'], async (bare) => {
        const job = { command: 'credits', connections: CONNECTIONS } as const
        await warmUp(bare, job)
        const load = await measuredLoad(bare, client, { ...job, seconds })
        return [{ ...httpResult('fastify-bare', load), baseline: true, lacks: 'everything: it answers what it was sent' }]
      }),
    ),
}

export const httpAccept = httpScenario('http-accept', { command: 'later-credits', connections: CONNECTIONS })

export const httpSync: readonly Scenario[] = [1, 8, 64, 128, 256].map((connections) =>
  httpScenario(`http-sync-${connections}`, { command: 'credits', connections }),
)

/** The owner of all keys in a process of its own, under the loads of `http-sync-1` and `http-sync-128`: the call between them is what differs. */
export const direct: readonly Scenario[] = [1, CONNECTIONS].map((connections) =>
  httpScenario(`direct-two-processes-${connections}`, { command: 'credits', connections }, withTwoProcesses),
)

/** Each with an Idempotency-Key: its claim is looked for before, and stored with the command. */
export const httpKeyed: readonly Scenario[] = [
  httpScenario('http-accept-keyed', { command: 'later-credits', connections: CONNECTIONS, keyed: true }),
  httpScenario('http-sync-keyed', { command: 'credits', connections: CONNECTIONS, keyed: true }),
]

/** `http-accept` through a broker: what carries the commands is what differs. Kafka is a node of the scenario's own. */
export const httpAcceptKafka = httpScenario(
  'http-accept-kafka',
  { command: 'later-credits', connections: CONNECTIONS, warmUpSecondsMax: WARM_UP_SECONDS_MAX_BROKER },
  withKafka,
)

/** The same through RabbitMQ, at AMQP_URL or where it listens by itself. */
export const httpAcceptRabbitMq = httpScenario(
  'http-accept-rabbitmq',
  { command: 'later-credits', connections: CONNECTIONS, warmUpSecondsMax: WARM_UP_SECONDS_MAX_BROKER },
  withRabbitMq,
)

/** Latencies at a rate that does not wait for answers. */
export const httpOpen: readonly Scenario[] = [
  httpScenario('http-open-accept', { command: 'later-credits', connections: CONNECTIONS, share: OPEN_SHARE }),
  httpScenario('http-open-sync', { command: 'credits', connections: CONNECTIONS, share: OPEN_SHARE }),
  httpScenario('http-accept-visible', { command: 'later-credits', connections: 8, rate: LIGHT_RATE, untilVisible: true }),
]

/** Starts what takes the requests, and stops it when `use` is over. */
type Serving = <Value>(url: string, client: pg.Client, use: (server: HttpServer) => Promise<Value>) => Promise<Value>

function withOneProcess<Value>(url: string, _: pg.Client, use: (server: HttpServer) => Promise<Value>): Promise<Value> {
  return withHttpServer(['app', url], use)
}

function withKafka<Value>(url: string, _: pg.Client, use: (server: HttpServer) => Promise<Value>): Promise<Value> {
  return withKafkaNode(() => withHttpServer(['app', url, 'kafka'], use))
}

function withRabbitMq<Value>(url: string, _: pg.Client, use: (server: HttpServer) => Promise<Value>): Promise<Value> {
  return withQueuesRemoved(url, () => withHttpServer(['app', url, 'rabbitmq'], use))
}

async function withTwoProcesses<Value>(url: string, client: pg.Client, use: (server: HttpServer) => Promise<Value>): Promise<Value> {
  const appended = async (): Promise<string> => (await client.query('select last_value from twofold._command_seq')).rows[0].last_value
  return withHttpServer(['stateful', url], () =>
    withHttpServer(['stateless', url], (server) => {
      const load = async (job: Omit<Job, 'port'>): Promise<JobDone> => {
        const before = await appended()
        const done = await server.load(job)
        // While the two get to know each other commands take the log; but what is measured must be calls.
        if (job.seconds > 1 && (await appended()) !== before)
          throw new Error('some commands went through the log, so this is no figure of calls')
        return done
      }
      return use({ ...server, load })
    }),
  )
}

function httpScenario(name: string, plan: Plan, serving: Serving = withOneProcess): Scenario {
  return { name, run: (setting) => measured(name, plan, setting, serving) }
}

async function measured(
  name: string,
  { share, warmUpSecondsMax, ...job }: Plan,
  setting: Setting,
  serving: Serving,
): Promise<readonly Result[]> {
  return withDatabase(setting.server, (url, client) =>
    serving(url, client, async (app) => {
      const before = await warmUp(app, job, warmUpSecondsMax)
      await finished(client, before.sent)
      const planned = share === undefined ? job : { ...job, rate: Math.ceil(before.perSecond * share) }
      const load = await measuredLoad(app, client, { ...planned, seconds: setting.seconds }, before.sent)
      await verifyBank(client, { done: before.sent + load.sent, cents: before.cents + load.cents })
      return [httpResult(name, load, planned.rate)]
    }),
  )
}

/** `perSecond`: what its last second reached. */
async function warmUp(
  server: HttpServer,
  { command, keyed }: Plan,
  secondsMax = WARM_UP_SECONDS_MAX,
): Promise<Pick<JobDone, 'sent' | 'cents' | 'perSecond'>> {
  const until = performance.now() + secondsMax * 1000
  let all = { sent: 0, cents: 0, perSecond: 0 }
  while (all.sent < WARM_UP_REQUESTS && performance.now() < until) {
    const { sent, cents, perSecond } = await server.load({
      command,
      ...(keyed === undefined ? {} : { keyed }),
      connections: CONNECTIONS,
      seconds: 1,
    })
    all = { sent: all.sent + sent, cents: all.cents + cents, perSecond }
  }
  return all
}

/** Durable is not enough: what counts is committed effects, the last one included. */
async function measuredLoad(server: HttpServer, client: pg.Client, job: Omit<Job, 'port'>, before = 0): Promise<JobDone & Cpu> {
  const untilDone = async (): Promise<JobDone> => {
    const started = performance.now()
    const load = await server.load(job)
    if (job.command === 'credits') return load
    await finished(client, before + load.sent)
    return { ...load, perSecond: load.sent / ((performance.now() - started) / 1000) }
  }
  return withCpu(client, untilDone, ({ sent }) => sent, server.pid)
}

/** A rate that was given says nothing about speed: it is told as `rate`, and no ratio is made of it. */
function httpResult(name: string, load: JobDone & Cpu, rate?: number): Result {
  const { perSecond, ...result } = resultOf(name, load)
  const { loadCpuUs } = load
  if (rate !== undefined) return { ...result, figures: { loadCpuUs, rate } }
  return { ...result, ...(perSecond === undefined ? {} : { perSecond }), figures: { loadCpuUs } }
}
