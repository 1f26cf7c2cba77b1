// What the tests of calls between instances share: engines that do what a test says, doors to them, and callers.
import { createServer, type AddressInfo, type Socket } from 'node:net'
import type { Envelope } from '../../contract/envelope.ts'
import type { CallContext, DirectCarrier, DirectResult } from '../../ports/direct-carrier.ts'
import type { Cluster } from '../../ports/instances.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import type { Logger } from '../../runtime/logger.ts'
import { DirectCalls } from './direct-calls.ts'
import { Directory } from './directory.ts'
import { Door } from './door.ts'

export const SECRET = 'a secret of all instances'
export const slots: SlotMap = { partitionCount: 2, partitionOf: Array.from({ length: 4096 }, (_, slot) => slot % 2) }

export const closing: (() => Promise<unknown>)[] = []

/** After each test. */
export async function closeAll(): Promise<void> {
  for (const close of closing.splice(0).toReversed()) await close()
}

export const said: string[] = []
const say = (fields: object, message: string): void => void said.push(`${message} ${JSON.stringify(fields)}`)
const log: Logger = { debug: say, info: say, warn: say, error: say }

let made = 0
export function envelope(key: string): Envelope {
  made += 1
  return { id: `00000000-0000-7000-8000-${String(made).padStart(12, '0')}`, service: 'ledger', command: 'note', keys: [key], input: '{}' }
}

export function keyIn(partition: number): string {
  for (let at = 0; ; at += 1) if (partitionOf(slots, 'ledger', `key-${at}`) === partition) return `key-${at}`
}

export function finished({ id, service, command, keys }: Envelope, body = JSON.stringify(keys)): DirectResult {
  const outcome = { id, service, command, status: 'succeeded' as const, code: undefined, body, version: 1, partition: 0, eventSeq: 1 }
  return { status: 'finished', outcome: { ...outcome, finishedAt: new Date(1_700_000_000_000) } }
}

/** An engine that does what a test says, and keeps what it was given. */
export class Engine implements DirectCarrier {
  readonly called: { envelope: Envelope; signal: AbortSignal | undefined; context: CallContext | undefined }[] = []
  answer: (envelope: Envelope) => DirectResult | Promise<DirectResult> = (given) => finished(given)
  holds = (_partition: number): boolean => true

  reaches({ service, keys }: Envelope): boolean {
    return this.holds(partitionOf(slots, service, keys[0] ?? ''))
  }

  async call(given: Envelope, signal?: AbortSignal, context?: CallContext): Promise<DirectResult> {
    this.called.push({ envelope: given, signal, context })
    return this.answer(given)
  }
}

export interface Opened {
  readonly id: string
  readonly address: string
}

export async function open(
  id: string,
  engine: Engine,
  options: { secret?: string; ownerOf?: () => string | undefined } = {},
): Promise<Opened & { door: Door }> {
  const { secret = SECRET, ownerOf = () => undefined } = options
  const door = new Door({ instanceId: id, engine, ownerOf, host: '127.0.0.1', port: 0, secret, now: Date.now, log })
  await door.start()
  closing.push(() => door.stop())
  return { id, address: door.address ?? '', door }
}

/** Where connections are taken, and nothing is said on them. */
export async function mute(): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => void sockets.add(socket.on('error', () => undefined)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export interface Calls {
  readonly calls: DirectCalls
  readonly directory: Directory
  /** What the next look at the cluster finds. */
  readonly atNextLook: (cluster: Cluster) => void
  /** That look. */
  readonly change: (cluster: Cluster) => void
}

/** Calls from an instance that knows these ones, the first as owner of everything. */
export function callsTo(opened: readonly Opened[]): Calls {
  let cluster: Cluster = {
    instances: opened.map(({ id, address }) => ({ id, address, roles: ['stateful'], alive: true, leaseLeftMs: 1000 })),
    partitions: [0, 1].map((partition) => ({ partition, owner: opened[0]?.id, epoch: '1' })),
  }
  const directory: Directory = new Directory(() => directory.update(cluster))
  directory.update(cluster)
  const calls = new DirectCalls({ instanceId: 'caller', directory, own: undefined, slots, secret: SECRET, now: Date.now, log })
  void calls.start()
  closing.push(() => calls.stop())
  const atNextLook = (next: Cluster): void => void (cluster = next)
  const change = (changed: Cluster): void => {
    atNextLook(changed)
    directory.update(changed)
  }
  return { calls, directory, atNextLook, change }
}
