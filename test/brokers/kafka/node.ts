// A Kafka node for tests: fetched with Maven, one KRaft node that is broker and controller, with a small heap, on ports and in a folder of
// its own. Nothing on the machine is touched; what was started is stopped.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../support/free-port.ts'

const here = resolve(fileURLToPath(import.meta.url), '..')
/** What CI runs; the adapter is tried with 3.9 too, see docs/decisions/0020-kafka.md. */
export const KAFKA_VERSION = '4.4.0'
const readyMsMax = 60_000
const stopMsMax = 15_000

export interface KafkaOptions {
  /** Default `KAFKA_VERSION`. */
  readonly version?: string
  /** Where clients find it. Default: a free port. */
  readonly port?: number
  /** Which port it tells clients to come to, where a proxy stands before it. Default: its own. */
  readonly advertisedPort?: number
  /** Where its data lies; it is kept when the node stops. Default: a folder of its own, removed with the node. */
  readonly folder?: string
  /** Settings of the broker, as in `server.properties`. */
  readonly settings?: Readonly<Record<string, string>>
  readonly heapMiB?: number
  /** It is to be fast in the long run, not ready soon. Default false. */
  readonly isLongLived?: boolean
}

/** For a node that is killed and started again: it is taken in again once its former self has been silent for so long. */
export const backSoon = { 'broker.session.timeout.ms': '4000', 'broker.heartbeat.interval.ms': '500' }

export interface KafkaNode {
  /** For `KAFKA_BROKERS`: where clients are told to come, a proxy's port included. */
  readonly brokers: string
  /** The node itself. */
  readonly port: number
  readonly pid: number | undefined
  /** Ends it the hard way, as a crash does; the data stays. */
  kill(): Promise<void>
  /** Ends it in order; the data stays. */
  shutDown(): Promise<void>
  /** Starts it anew with the same data, at the same port; nothing where it runs. */
  start(): Promise<void>
  stop(): Promise<void>
}

/** Whether its jars are there already: then it can be started without a network. */
export function isKafkaFetched(version: string = KAFKA_VERSION): boolean {
  return existsSync(jarsOf(version))
}

/** `TWOFOLD_BROKERS`: where brokers for tests lie; a copy of the sources (test/planted) uses those of the repository. */
function jarsOf(version: string): string {
  return join(process.env['TWOFOLD_BROKERS'] ?? join(here, '../../../.twofold/brokers'), `kafka-${version}`)
}

/** Fetches the jars where they are not there yet. Resolves with their folder. */
export async function fetchKafka(version: string = KAFKA_VERSION): Promise<string> {
  const jars = jarsOf(version)
  if (existsSync(jars)) return jars
  const folder = dirname(jars)
  await mkdir(folder, { recursive: true })
  // Renamed when it is whole: a fetch that was cut off leaves nothing that looks like one, and two at a time do not mix.
  const part = await mkdtemp(join(folder, 'part-'))
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies'
  const args = ['-B', '-q', '-f', join(here, 'pom.xml'), `-Dkafka.version=${version}`, goal, `-DoutputDirectory=${part}`]
  const maven = spawn('mvn', args, { stdio: ['ignore', 'inherit', 'inherit'] })
  const [code] = (await once(maven, 'close')) as [number | null]
  if (code !== 0) {
    await rm(part, { recursive: true, force: true })
    throw new Error(`Maven did not fetch Kafka ${version}: mvn ended with code ${code}`)
  }
  await rename(part, jars).catch(async (error: unknown) => {
    await rm(part, { recursive: true, force: true })
    if (!existsSync(jars)) throw error
  })
  return jars
}

/** Starts a node and waits until it answers. */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaNode> {
  const jars = await fetchKafka(options.version)
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'twofold-kafka-')))
  await mkdir(folder, { recursive: true })
  const port = options.port ?? (await freePort())
  const advertisedPort = options.advertisedPort ?? port
  const properties = join(folder, 'server.properties')
  const settings = { ...settingsOf(folder, port, advertisedPort, await freePort()), ...options.settings }
  await writeFile(
    properties,
    Object.entries(settings)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  )
  const java = javaWith(jars, folder, options)
  if (!existsSync(join(folder, 'data/meta.properties')))
    await java.run('kafka.tools.StorageTool', [
      'format',
      '--config',
      properties,
      '--cluster-id',
      'dHdvZm9sZC10ZXN0cy0wMQ',
      '--ignore-formatted',
    ])
  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    if (isAlive(child)) return
    child = java.start('kafka.Kafka', [properties])
    await untilReady(child, port, join(folder, 'broker.log'))
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (!isAlive(child)) return
    const closed = once(child, 'close')
    child.kill(signal)
    const late = delay(stopMsMax, 'late' as const, { ref: false })
    if ((await Promise.race([closed, late])) !== 'late') return
    child.kill('SIGKILL')
    await closed
  }
  try {
    await start()
  } catch (error) {
    await end('SIGKILL')
    throw error
  }
  return {
    brokers: `127.0.0.1:${advertisedPort}`,
    port,
    get pid() {
      return child?.pid
    },
    kill: () => end('SIGKILL'),
    shutDown: () => end('SIGTERM'),
    start,
    async stop() {
      await end('SIGTERM')
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
    },
  }
}

function settingsOf(folder: string, port: number, advertisedPort: number, controllerPort: number): Record<string, string> {
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'INSIDE',
    'listener.security.protocol.map': 'CLIENTS:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT',
    listeners: `CLIENTS://127.0.0.1:${port},INSIDE://127.0.0.1:0,CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `CLIENTS://127.0.0.1:${advertisedPort},INSIDE://127.0.0.1:0`,
    'log.dirs': join(folder, 'data'),
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    // Two cores.
    'num.network.threads': '2',
    'num.io.threads': '2',
    'log.cleaner.dedupe.buffer.size': '10485760',
  }
}

interface Java {
  start(main: string, args: readonly string[]): ChildProcess
  run(main: string, args: readonly string[]): Promise<void>
}

function javaWith(jars: string, folder: string, { heapMiB = 512, isLongLived = false }: KafkaOptions): Java {
  const log = join(folder, 'broker.log')
  const start = (main: string, args: readonly string[]): ChildProcess => {
    const quick = isLongLived ? [] : ['-XX:TieredStopAtLevel=1']
    const flags = [`-Xmx${heapMiB}m`, '-XX:+UseSerialGC', ...quick, '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']
    const output = openSync(log, 'a')
    return spawn('java', [...flags, '-cp', `${jars}/*`, main, ...args], { stdio: ['ignore', output, output], cwd: folder })
  }
  return {
    start,
    async run(main, args) {
      const [code] = (await once(start(main, args), 'close')) as [number | null]
      if (code !== 0) throw new Error(`${main} ended with code ${code}:\n${await endOf(log)}`)
    },
  }
}

function isAlive(child: ChildProcess | undefined): child is ChildProcess {
  return child !== undefined && child.exitCode === null && child.signalCode === null
}

/** A broker that listens does not answer yet: the first whole answer is that it knows its own versions. */
async function untilReady(child: ChildProcess, port: number, log: string): Promise<void> {
  const until = Date.now() + readyMsMax
  while (Date.now() < until) {
    if (!isAlive(child)) throw new Error(`Kafka ended before it was ready:\n${await endOf(log)}`)
    if (await answers(port)) return
    await delay(100)
  }
  throw new Error(`Kafka did not answer at port ${port} within ${readyMsMax} ms:\n${await endOf(log)}`)
}

/** Asks for the topics (Metadata, version 1, of none) and waits for an answer that names a broker. */
async function answers(port: number): Promise<boolean> {
  const request = Buffer.from([0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0])
  return new Promise((settle) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(request))
    socket.setTimeout(2_000, () => socket.destroy())
    socket.on('error', () => undefined)
    // Length, correlation id, and how many brokers there are.
    socket.once('data', (answer) => {
      settle(answer.length >= 12 && answer.readInt32BE(8) > 0)
      socket.destroy()
    })
    socket.once('close', () => settle(false))
  })
}

async function endOf(log: string): Promise<string> {
  return (await readFile(log, 'utf8').catch(() => '')).slice(-4_000)
}
