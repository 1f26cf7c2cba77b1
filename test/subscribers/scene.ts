// What the tests of subscribers share: a fresh database, live instances, and events as the engine stores them.
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { z } from 'zod'
import { PostgresDatabase } from '../../src/adapters/postgres/database.ts'
import { PostgresEventLog } from '../../src/adapters/postgres/event-log.ts'
import { encodeEvents } from '../../src/adapters/postgres/event-rows.ts'
import { migrate } from '../../src/adapters/postgres/migrate.ts'
import { command } from '../../src/contract/command.ts'
import { defineContract } from '../../src/contract/define-contract.ts'
import { event } from '../../src/contract/event.ts'
import { encodeEvent, type EventRecord } from '../../src/ports/event-log.ts'
import type { Logger } from '../../src/runtime/logger.ts'
import type { Service } from '../../src/runtime/service.ts'
import { testDatabase } from '../support/database.ts'

/** More than a reactor handles at once. */
export const PARTITIONS = 12

/** The service the tests listen to. `paid` has had two shapes. */
export const shop = defineContract('shop', {
  commands: { buy: command({ input: z.object({ id: z.string() }), key: ({ id }) => id }) },
  events: {
    paid: event(z.object({ cents: z.number() })).next(z.object({ amount: z.object({ cents: z.number() }) }), ({ cents }) => ({
      amount: { cents },
    })),
    sent: event(z.object({ to: z.string() })),
  },
})

/** An event to append: `shop.sent` unless told otherwise. */
export type Given = Partial<EventRecord> & { readonly data: unknown }

export class Scene {
  #database: PostgresDatabase | undefined
  #drop: (() => Promise<void>) | undefined
  readonly #services: Service[] = []
  readonly #wakes = new Map<string, Set<() => void>>()
  readonly logged: { readonly level: string; readonly message: string }[] = []

  get database(): PostgresDatabase {
    if (this.#database === undefined) throw new Error('the scene is not open')
    return this.#database
  }

  async open(): Promise<void> {
    const created = await testDatabase()
    this.#drop = () => created.drop()
    const { url } = created
    await migrate(url, { appName: 'shop', partitionCount: PARTITIONS })
    this.#database = new PostgresDatabase({ url, applicationName: 'subscribers test', log: this.logger })
  }

  async close(): Promise<void> {
    await this.#database?.close()
    await this.#drop?.()
  }

  /** Joins an instance with a lease; `end()` lets the lease run out. */
  async instance(): Promise<{ readonly id: string; readonly log: PostgresEventLog; end(): Promise<void> }> {
    const id = randomUUID()
    await this.database.query(
      "insert into twofold._instance (id, roles, lease_until) values ($1, '{subscribers}', clock_timestamp() + interval '1 hour')",
      [id],
    )
    const log = new PostgresEventLog({ database: this.database, signals: this, instanceId: id, partitionCount: PARTITIONS })
    const end = async (): Promise<void> => {
      await this.database.query('update twofold._instance set lease_until = clock_timestamp() where id = $1', [id])
    }
    return { id, log, end }
  }

  /** Starts a service that is stopped at the end of the test. */
  async run(service: Service): Promise<Service> {
    this.#services.push(service)
    await service.start()
    return service
  }

  async stopAll(): Promise<void> {
    for (const service of this.#services.splice(0)) await service.stop()
    await this.database.query('truncate twofold._event, twofold._cursor, twofold._instance, twofold._dead_letter')
    this.logged.length = 0
  }

  /** Stores one row of events as the engine does, numbered from `first` (default: behind the last one), and wakes readers. */
  async append(partition: number, given: readonly Given[], first?: number): Promise<void> {
    const events = given.map((each) => ({ ...blank(), ...each }))
    const lines = events.map(({ id, version, key, data }, kind) => {
      const [, commandId = '', ordinal = ''] = /^(.*)-(\d+)$/.exec(id) ?? []
      return encodeEvent(kind, commandId, Number(ordinal), version, key, JSON.stringify(data))
    })
    await this.database.query(
      `insert into twofold._event (partition, seq, count, body)
       select $1, coalesce($2::bigint - 1, (select max(seq) from twofold._event where partition = $1), 0) + $3::int, $3::int, $4`,
      [partition, first ?? null, given.length, encodeEvents({ time: events[0]?.time ?? 0, kinds: events, lines })],
    )
    this.ring('event')
  }

  async positions(subscriber: string): Promise<readonly number[]> {
    const { rows } = await this.database.query<{ positions: string[] }>('select positions from twofold._cursor where subscriber = $1', [
      subscriber,
    ])
    return rows[0]?.positions.map(Number) ?? []
  }

  listen(channel: string, wake: () => void): () => void {
    const wakes = this.#wakes.get(channel) ?? new Set()
    this.#wakes.set(channel, wakes.add(wake))
    return () => wakes.delete(wake)
  }

  ring(channel: string): void {
    for (const wake of this.#wakes.get(channel) ?? []) wake()
  }

  get logger(): Logger {
    const at = (level: string) => (_fields: object, message: string) => void this.logged.push({ level, message })
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  }
}

/** A scene for the tests of a file. */
export function scene(): Scene {
  const opened = new Scene()
  beforeAll(() => opened.open())
  afterEach(() => opened.stopAll())
  afterAll(() => opened.close())
  return opened
}

function blank(): Omit<EventRecord, 'data'> {
  const commandId = randomUUID()
  return { id: `${commandId}-0`, service: 'shop', name: 'sent', shape: 1, key: 'k', version: 1, time: Date.now(), commandId }
}
