// Bells between loops, in this process and in others. A ring is a hint: whoever sleeps on one also polls, so a lost ring costs time only.
import pg from 'pg'
import { backoffMs, pause } from '../../runtime/backoff.ts'
import type { Logger } from '../../runtime/logger.ts'
import type { Service } from '../../runtime/service.ts'
import { connectionSettings } from './database.ts'

/** `command`: the log has more. `outcome`, `event`: a batch was committed. `partition`: ownership may change. `cursor`: a subscriber moved. */
export type Channel = 'command' | 'outcome' | 'event' | 'partition' | 'cursor'

const CHANNELS: readonly Channel[] = ['command', 'outcome', 'event', 'partition', 'cursor']

/** Rings to other processes are gathered this long: one NOTIFY for all of them. */
const GATHER_MS = 5

export interface SignalsOptions {
  readonly url: string
  readonly log: Logger
  /** Whether anybody else is there to hear. */
  readonly hasPeers: () => boolean
}

/**
 * Local listeners are called at once. Other processes get a NOTIFY from a connection of its own, never from inside a data
 * transaction: a NOTIFY in a committing transaction takes a lock that serializes all commits of the whole server.
 */
export class Signals implements Service {
  readonly #options: SignalsOptions
  readonly #listeners = new Map<Channel, Set<(what: string) => void>>(CHANNELS.map((channel) => [channel, new Set()]))
  readonly #gathered = new Set<Channel>()
  readonly #stopping = new AbortController()
  #client: pg.Client | undefined
  #sending: NodeJS.Timeout | undefined
  #loop: Promise<void> | undefined

  constructor(options: SignalsOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    await this.#connect().catch((error: unknown) => this.#warn(error))
    this.#loop = this.#keepConnected()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    clearTimeout(this.#sending)
    if (this.#gathered.size > 0) await this.#send()
    await this.#client?.end().catch(() => undefined)
    await this.#loop
  }

  /** Calls `wake` at every ring of the channel, with what the ring says: mostly nothing, `''`. Returns how to stop listening. */
  listen(channel: Channel, wake: (what: string) => void): () => void {
    this.#listeners.get(channel)?.add(wake)
    return () => void this.#listeners.get(channel)?.delete(wake)
  }

  ring(channel: Channel): void {
    this.#wakeLocal(channel)
    this.ringOthers(channel)
  }

  /** For what this process has been told already. */
  ringOthers(channel: Channel): void {
    // Ownership is rung for others even when none is known: the one who just came is not known yet.
    if (channel !== 'partition' && !this.#options.hasPeers()) return
    this.#gathered.add(channel)
    // Partitions that change hands are served by nobody meanwhile.
    this.#sending ??= setTimeout(() => void this.#send(), channel === 'partition' ? 0 : GATHER_MS)
  }

  #wakeLocal(channel: Channel, what = ''): void {
    for (const wake of this.#listeners.get(channel) ?? []) wake(what)
  }

  async #send(): Promise<void> {
    this.#sending = undefined
    const channels = [...this.#gathered]
    this.#gathered.clear()
    const text = channels.map((channel) => `notify twofold_${channel}`).join(';')
    await this.#client?.query(text).catch(() => undefined)
  }

  async #keepConnected(): Promise<void> {
    for (let attempt = 1; !this.#stopping.signal.aborted; attempt += 1) {
      const client = this.#client
      if (client !== undefined) {
        attempt = 1
        await new Promise<void>((resolve) => client.once('end', resolve))
        this.#client = undefined
      }
      await pause(50 + backoffMs(attempt, { minMs: 100, maxMs: 2000 }), this.#stopping.signal)
      if (!this.#stopping.signal.aborted) await this.#connect().catch((error: unknown) => this.#warn(error))
    }
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({ ...connectionSettings(this.#options.url, 'twofold signals'), statement_timeout: 5000 })
    // An error is followed by `end`, which is what the loop waits for.
    client.on('error', () => undefined)
    try {
      await this.#listen(client)
    } catch (error) {
      await client.end().catch(() => undefined)
      throw error
    }
    this.#client = client
    // Whatever rang while nobody was connected was missed.
    for (const channel of CHANNELS) this.#wakeLocal(channel)
  }

  async #listen(client: pg.Client): Promise<void> {
    await client.connect()
    let own = 0
    client.on('notification', ({ channel, processId, payload }) => {
      if (processId !== own) this.#wakeLocal(channel.replace('twofold_', '') as Channel, payload)
    })
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    own = rows[0]?.pid ?? 0
    await client.query(`set synchronous_commit = off; ${CHANNELS.map((channel) => `listen twofold_${channel}`).join(';')}`)
  }

  #warn(error: unknown): void {
    this.#options.log.debug({ reason: String(error) }, 'cannot listen to other processes; polling goes on')
  }
}
