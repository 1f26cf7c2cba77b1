// A RabbitMQ node for tests: the one that is installed on this machine, started beside whatever runs there already, with a name, ports, a
// folder and a registry of names (epmd) of its own. So it can be stopped, or killed, and started again. What was started is stopped.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'amqplib'
import { freePort } from '../../support/free-port.ts'

const readyMsMax = 90_000
const stopMsMax = 15_000
/** A queue that is there for a moment. */
const READY = 'twofold.ready'

/** Debian's own; what it has in PATH wants to be root, and puts everything where the machine's node has it. */
const DEBIANS = '/usr/lib/rabbitmq/bin'

export interface RabbitMqNode {
  /** For `AMQP_URL`. */
  readonly url: string
  readonly pid: number | undefined
  /** Ends it the hard way, as a crash does; the data stays. */
  kill(): Promise<void>
  /** Ends it in order; the data stays. */
  shutDown(): Promise<void>
  /** Starts it anew with the same data, at the same port; nothing where it runs. */
  start(): Promise<void>
  /** Has `rabbitmqctl` do something, such as `['add_vhost', 'shop']`. */
  control(args: readonly string[]): Promise<void>
  /** Ends it, and removes its data. */
  stop(): Promise<void>
}

/** Whether nodes can be started here. */
export function isRabbitMqInstalled(): boolean {
  return serverProgram() !== undefined && programIn('epmd') !== undefined
}

function serverProgram(): string | undefined {
  return programIn('rabbitmq-server', [DEBIANS])
}

function programIn(name: string, before: readonly string[] = []): string | undefined {
  const folders = [...before, ...(process.env['PATH'] ?? '').split(delimiter)]
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}

export interface RabbitMqOptions {
  /** Where it listens. Default: a free port. */
  readonly port?: number
}

/** Starts a node and waits until it answers. */
export async function startRabbitMq(options: RabbitMqOptions = {}): Promise<RabbitMqNode> {
  const [server, epmd] = [serverProgram(), programIn('epmd')]
  if (server === undefined || epmd === undefined)
    throw new Error('RabbitMQ is not installed here: test/brokers/rabbitmq/install.sh does it')
  const folder = await mkdtemp(join(tmpdir(), 'twofold-rabbitmq-'))
  const [port, namesPort, distributionPort] = [options.port ?? (await freePort()), await freePort(), await freePort()]
  const log = join(folder, 'broker.log')
  const environment = await environmentOf(folder, port, namesPort, distributionPort)
  const spawned = (program: string, args: readonly string[]): ChildProcess => {
    const output = openSync(log, 'a')
    const child = spawn(program, args, { env: environment, stdio: ['ignore', output, output], cwd: folder })
    child.on('error', () => undefined)
    return child
  }
  const names = spawned(epmd, ['-port', String(namesPort), '-address', '127.0.0.1'])
  const url = `amqp://guest:guest@127.0.0.1:${port}`
  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    if (isAlive(child)) return
    child = spawned(server, [])
    await untilReady(child, url, log)
  }
  const removed = async (): Promise<void> => {
    await ended(names, 'SIGTERM')
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await start()
  } catch (error) {
    await ended(child, 'SIGKILL')
    await removed()
    throw error
  }
  return {
    url,
    get pid() {
      return child?.pid
    },
    kill: () => ended(child, 'SIGKILL'),
    shutDown: () => ended(child, 'SIGTERM'),
    start,
    async control(args) {
      const ctl = spawned(programIn('rabbitmqctl', [DEBIANS]) ?? 'rabbitmqctl', args)
      const [code] = (await once(ctl, 'close')) as [number | null]
      if (code !== 0) throw new Error(`rabbitmqctl ${args[0]} ended with code ${code}:\n${await endOf(log)}`)
    },
    async stop() {
      await ended(child, 'SIGTERM')
      await removed()
    },
  }
}

/** Nothing of the machine's own settings: what is not said here is as RabbitMQ comes. */
async function environmentOf(folder: string, port: number, namesPort: number, distributionPort: number): Promise<Record<string, string>> {
  const [settings, plugins] = [join(folder, 'rabbitmq.conf'), join(folder, 'enabled_plugins')]
  await writeFile(settings, `listeners.tcp.local = 127.0.0.1:${port}\nlog.console.level = warning\n`)
  await writeFile(plugins, '[].\n')
  return {
    PATH: process.env['PATH'] ?? '',
    LANG: 'C.UTF-8',
    // Where its cookie lies.
    HOME: folder,
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_EPMD_PORT: String(namesPort),
    ERL_FLAGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    // The script becomes the node, so that a signal to the one is a signal to the other.
    RUNNING_UNDER_SYSTEMD: 'true',
    RABBITMQ_NODENAME: `twofold-${port}@localhost`,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_CONFIG_FILE: settings,
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none'),
    RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
  }
}

function isAlive(child: ChildProcess | undefined): child is ChildProcess {
  return child?.pid !== undefined && child.exitCode === null && child.signalCode === null
}

async function ended(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (!isAlive(child)) return
  const closed = once(child, 'close')
  child.kill(signal)
  const late = delay(stopMsMax, 'late' as const, { ref: false })
  if ((await Promise.race([closed, late])) !== 'late') return
  child.kill('SIGKILL')
  await closed
}

/** A port that is open says little: it is ready once it makes a quorum queue. */
async function untilReady(child: ChildProcess, url: string, log: string): Promise<void> {
  const until = Date.now() + readyMsMax
  while (Date.now() < until) {
    if (!isAlive(child)) throw new Error(`RabbitMQ ended before it was ready:\n${await endOf(log)}`)
    if (await answers(url)) return
    await delay(100)
  }
  throw new Error(`RabbitMQ did not answer within ${readyMsMax} ms:\n${await endOf(log)}`)
}

async function answers(url: string): Promise<boolean> {
  const connection = await connect(url, { timeout: 5_000 }).catch(() => undefined)
  if (connection === undefined) return false
  connection.on('error', () => undefined)
  try {
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    await channel.assertQueue(READY, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await channel.deleteQueue(READY)
    return true
  } catch {
    return false
  } finally {
    await connection.close().catch(() => undefined)
  }
}

async function endOf(log: string): Promise<string> {
  return (await readFile(log, 'utf8').catch(() => '')).slice(-4_000)
}
