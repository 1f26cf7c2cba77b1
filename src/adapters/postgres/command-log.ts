// The command log in PostgreSQL, with group commit: what arrives while one insert is under way forms the next. No timer waits for more.
import pg from 'pg'
import { encodeEnvelope } from '../../contract/envelope.ts'
import { isTwofoldError, TwofoldError } from '../../errors.ts'
import type { Appended, CommandLog, CommandLogFeatures, LogEntry, StoredAnswer, StoredClaim } from '../../ports/command-log.ts'
import { partitionOf, type SlotMap } from '../../ports/slots.ts'
import type { CrashPoints } from '../../runtime/crash-points.ts'
import type { Service } from '../../runtime/service.ts'
import { jsonTexts, plainArray, textArray } from './array-literal.ts'
import { CLAIMS_BY_HASH, storedClaim, type ClaimRow } from './claim-rows.ts'
import { connectionSettings } from './database.ts'
import { end } from './guarded-query.ts'
import { isDataError, translate } from './pg-errors.ts'
import { sent } from './sent.ts'

export interface CommandLogOptions {
  readonly url: string
  readonly slots: SlotMap
  readonly signals: { ring(channel: 'command'): void }
  /** Refuses what would be too much for the whole app; left out: nothing is. */
  readonly backlog?: { admitToLog(partition: number): void; appended(commands: number, bytes: number): void } | undefined
  readonly crash?: CrashPoints | undefined
}

/** One insert takes at most so many commands and characters; a single larger command goes alone. */
const FLUSH_COMMANDS_MAX = 4000
const FLUSH_CHARACTERS_MAX = 1024 * 1024

/** What may wait for its insert in this process; beyond it callers are refused. */
const WAITING_COMMANDS_MAX = 100_000
const WAITING_CHARACTERS_MAX = 64 * 1024 * 1024

interface Waiting {
  readonly entry: LogEntry
  readonly partition: number
  readonly line: string
  readonly settle: (appended: Appended) => void
  readonly fail: (error: unknown) => void
}

// Commands without a claim are packed here: a row per partition.
const APPEND = `insert into twofold._command (partition, first_id, last_id, count, body)
  select * from unnest($1::int[], $2::uuid[], $3::uuid[], $4::int[], string_to_array($5, E'\\x1e'))`

// Commands with a claim are packed by the database, because only it knows which claims were won. Claims are inserted in the order of
// their hashes, so that two flushes with the same keys cannot lock each other out.
const CLAIM_AND_APPEND = `with wanted as materialized (
    select * from unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::int[], $6::text[], $7::int[], $8::text[])
      t(hash, fingerprint, id, answer, partition, line, at, service)),
  won as (
    insert into twofold._claim (hash, fingerprint, command_id, answer, service)
      select hash, fingerprint, id, answer, service from wanted where hash is not null order by hash
      on conflict do nothing returning hash),
  mine as materialized (select * from wanted where hash is null or hash in (select hash from won)),
  appended as (
    insert into twofold._command (partition, first_id, last_id, count, body)
      select partition, min(id::text)::uuid, max(id::text)::uuid, count(*), string_agg(line, E'\\n' order by at) from mine group by partition)
  select id from mine`

const ANSWERED = 'select id from twofold._outcome where id = any($1::uuid[])'

export const postgresLogFeatures: CommandLogFeatures = { order: 'per-key', claimsWithAppend: true, findsById: true }

export class PostgresCommandLog implements CommandLog, Service {
  readonly name = 'postgres'
  readonly features = postgresLogFeatures
  readonly #options: CommandLogOptions
  #waiting: Waiting[] = []
  #waitingCharacters = 0
  #client: pg.Client | undefined
  #flushing: Promise<void> | undefined
  #stopped = false

  constructor(options: CommandLogOptions) {
    this.#options = options
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  /** Appends what waits, then closes. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#flushing
    await this.#disconnect()
  }

  append(entry: LogEntry): Promise<Appended> {
    return new Promise((resolve, reject) => {
      const line = encodeEnvelope(entry.envelope)
      if (this.#stopped)
        return reject(
          new TwofoldError('SHUTTING_DOWN', 'this instance is stopping; send the command to another one', { retryAfterSeconds: 1 }),
        )
      if (this.#waiting.length >= WAITING_COMMANDS_MAX || this.#waitingCharacters + line.length > WAITING_CHARACTERS_MAX) {
        const message = `${this.#waiting.length} commands wait to be stored by this instance, which is all it takes; try again in a moment`
        return reject(new TwofoldError('OVERLOADED', message, { retryAfterSeconds: 1 }))
      }
      const { service, keys } = entry.envelope
      const partition = partitionOf(this.#options.slots, service, keys[0] ?? '')
      if (entry.begun !== true) this.#options.backlog?.admitToLog(partition)
      this.#options.backlog?.appended(1, line.length)
      this.#waiting.push({ entry, partition, line, settle: resolve, fail: reject })
      this.#waitingCharacters += line.length
      this.#flushing ??= this.#flushAll()
    })
  }

  async #flushAll(): Promise<void> {
    // Whatever is appended in this turn of the event loop shares the first insert already.
    await new Promise(setImmediate)
    while (this.#waiting.length > 0) await this.#flush(this.#take())
    // In the very turn that found nothing: whoever appends in the next one must start a flush of its own.
    this.#flushing = undefined
  }

  #take(): Waiting[] {
    let count = 0
    let characters = 0
    for (const { line } of this.#waiting) {
      if (count >= FLUSH_COMMANDS_MAX || (count > 0 && characters + line.length > FLUSH_CHARACTERS_MAX)) break
      count += 1
      characters += line.length
    }
    this.#waitingCharacters -= characters
    return this.#waiting.splice(0, count)
  }

  /**
   * Stores a group. When the answer is lost, nobody knows whether it was stored: every caller is told IN_DOUBT, nothing is tried
   * again here, and a retry is safe because a keyed one meets its claim and the same id is answered only once.
   */
  async #flush(group: readonly Waiting[]): Promise<void> {
    let isSent = false
    try {
      const client = await this.#connected()
      const { crash } = this.#options
      isSent = true
      if (group.some(({ entry }) => entry.envelope.claim !== undefined))
        await sent(claimAndAppend(client, group), client, 'accept.append-sent', crash)
      else {
        await sent(append(client, group), client, 'accept.append-sent', crash)
        for (const waiting of group) waiting.settle({ status: 'appended' })
      }
      this.#options.signals.ring('command')
    } catch (error) {
      if (isDataError(error) && group.length > 1) {
        const middle = group.length >> 1
        await this.#flush(group.slice(0, middle))
        return this.#flush(group.slice(middle))
      }
      const failure = isSent ? inDoubt(translate(error)) : translate(error)
      if (!isDataError(error)) void this.#disconnect()
      for (const waiting of group) waiting.fail(failure)
    }
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client !== undefined) return this.#client
    const client = new pg.Client(connectionSettings(this.#options.url, 'twofold log'))
    client.on('error', () => {
      if (this.#client === client) this.#client = undefined
    })
    await client.connect()
    this.#client = client
    return client
  }

  async #disconnect(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    if (client !== undefined) await end(client)
  }
}

async function append(client: pg.Client, group: readonly Waiting[]): Promise<void> {
  const rows = [...Map.groupBy(group, (waiting) => waiting.partition)].map(([partition, packed]) => {
    const ids = packed.map(({ entry }) => entry.envelope.id).toSorted()
    return { partition, first: ids[0] ?? '', last: ids.at(-1) ?? '', count: packed.length, body: packed.map(({ line }) => line).join('\n') }
  })
  await client.query({
    name: 'twofold_append',
    text: APPEND,
    values: [
      plainArray(rows.map((row) => row.partition)),
      plainArray(rows.map((row) => row.first)),
      plainArray(rows.map((row) => row.last)),
      plainArray(rows.map((row) => row.count)),
      jsonTexts(rows.map((row) => row.body)),
    ],
  })
}

async function claimAndAppend(client: pg.Client, group: readonly Waiting[]): Promise<void> {
  const firsts = firstsByHash(group)
  const wanted = group
    .map((waiting, at) => ({ ...waiting, at, claim: waiting.entry.envelope.claim }))
    .filter(({ claim, at }) => claim === undefined || firsts.get(claim.hash) === group[at])
  const { rows } = await client.query<{ id: string }>({
    name: 'twofold_claim_and_append',
    text: CLAIM_AND_APPEND,
    values: [
      textArray(wanted.map(({ claim }) => claim?.hash)),
      textArray(wanted.map(({ claim }) => claim?.fingerprint)),
      plainArray(wanted.map(({ entry }) => entry.envelope.id)),
      textArray(wanted.map(({ entry }) => encodeAnswer(entry.answer))),
      plainArray(wanted.map(({ partition }) => partition)),
      textArray(wanted.map(({ line }) => line)),
      plainArray(wanted.map(({ at }) => at)),
      textArray(wanted.map(({ entry }) => entry.envelope.service)),
    ],
  })
  const appended = new Set(rows.map((row) => row.id))
  const losers = group.filter(({ entry }) => !appended.has(entry.envelope.id))
  const claims = await readClaims(client, losers)
  for (const waiting of await appendAgain(client, losers, claims)) appended.add(waiting.entry.envelope.id)
  for (const { entry, settle, fail } of group) {
    const claim = claims.get(entry.envelope.claim?.hash ?? '')
    if (appended.has(entry.envelope.id)) settle({ status: 'appended' })
    else if (claim) settle({ status: 'claimed', claim })
    else
      fail(new TwofoldError('UNAVAILABLE', 'the Idempotency-Key was given free in this very moment; try again', { retryAfterSeconds: 1 }))
  }
}

/** A claim that names this very command was made by an earlier try of the same call: the command is appended, unless it has been answered since. */
async function appendAgain(
  client: pg.Client,
  losers: readonly Waiting[],
  claims: ReadonlyMap<string, StoredClaim>,
): Promise<readonly Waiting[]> {
  const own = losers.filter(({ entry }) => claims.get(entry.envelope.claim?.hash ?? '')?.commandId === entry.envelope.id)
  if (own.length === 0) return []
  const { rows } = await client.query<{ id: string }>(ANSWERED, [plainArray(own.map(({ entry }) => entry.envelope.id))])
  const answered = new Set(rows.map((row) => row.id))
  const again = own.filter(({ entry }) => !answered.has(entry.envelope.id))
  if (again.length > 0) await append(client, again)
  return again
}

/** Of several requests with one key in the same group the first one counts; the others find its claim. */
function firstsByHash(group: readonly Waiting[]): Map<string, Waiting> {
  const firsts = new Map<string, Waiting>()
  for (const waiting of group) {
    const hash = waiting.entry.envelope.claim?.hash
    if (hash !== undefined && !firsts.has(hash)) firsts.set(hash, waiting)
  }
  return firsts
}

async function readClaims(client: pg.Client, losers: readonly Waiting[]): Promise<Map<string, StoredClaim>> {
  if (losers.length === 0) return new Map()
  const hashes = losers.flatMap(({ entry }) => entry.envelope.claim?.hash ?? [])
  const { rows } = await client.query<ClaimRow>({ name: 'twofold_claims', text: CLAIMS_BY_HASH, values: [plainArray(hashes)] })
  return new Map(rows.map((row) => [row.hash, storedClaim(row)]))
}

/** Where the server did not say that it failed, it may have stored it. */
function inDoubt(failure: unknown): unknown {
  if (!isTwofoldError(failure, 'UNAVAILABLE')) return failure
  const message = `PostgreSQL did not say whether it has stored the command (${reasonOf(failure)}); ask for it by its id`
  return new TwofoldError('IN_DOUBT', message, { cause: failure, retryAfterSeconds: 1 })
}

function reasonOf({ cause }: TwofoldError): string {
  return cause instanceof Error ? cause.message : String(cause)
}

function encodeAnswer(answer: StoredAnswer | undefined): string | undefined {
  return answer && JSON.stringify(answer)
}
