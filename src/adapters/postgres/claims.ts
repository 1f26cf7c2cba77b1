// Claims without their commands, with group commit: what is claimed while one insert is under way shares the next. No timer waits for more.
import { decodeEnvelope, encodeEnvelope, type Claim, type Envelope } from '../../contract/envelope.ts'
import { TwofoldError } from '../../errors.ts'
import type { Claims } from '../../ports/claims.ts'
import type { LogEntry, StoredClaim } from '../../ports/command-log.ts'
import type { Database } from '../../ports/database.ts'
import { plainArray, textArray } from './array-literal.ts'
import { CLAIMS_BY_HASH, storedClaim, type ClaimRow } from './claim-rows.ts'
import { isDataError, translate } from './pg-errors.ts'

/** One insert takes at most so many claims and characters; a single larger one goes alone. */
const GROUP_MAX = 1000
const GROUP_CHARACTERS_MAX = 1024 * 1024

/** So many may wait in this process; beyond it callers are refused. */
const WAITING_MAX = 100_000

// In the order of their hashes, so that two groups with the same keys cannot lock each other out.
const CLAIM = `insert into twofold._claim (hash, fingerprint, command_id, answer, command, service)
  select * from unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[])
      t(hash, fingerprint, id, answer, command, service) order by hash
  on conflict do nothing returning command_id as id`

interface Asked {
  readonly entry: LogEntry
  readonly claim: Claim
  readonly command: string
  readonly resolve: (claim: StoredClaim | undefined) => void
  readonly reject: (error: unknown) => void
}

export class PostgresClaims implements Claims {
  readonly #database: Database
  readonly #asked: Asked[] = []
  #claiming = false

  constructor(database: Database) {
    this.#database = database
  }

  claim(entry: LogEntry): Promise<StoredClaim | undefined> {
    const { claim } = entry.envelope
    if (claim === undefined) return Promise.resolve(undefined)
    if (this.#asked.length >= WAITING_MAX) {
      const message = `${this.#asked.length} requests wait for their Idempotency-Keys to be stored, which is all this instance takes`
      return Promise.reject(new TwofoldError('OVERLOADED', message, { retryAfterSeconds: 1 }))
    }
    return new Promise((resolve, reject) => {
      this.#asked.push({ entry, claim, command: encodeEnvelope(entry.envelope), resolve, reject })
      if (!this.#claiming) void this.#claimAll()
    })
  }

  async commandOf(hash: string, commandId: string): Promise<Envelope | undefined> {
    const text = 'select command from twofold._claim where hash = $1 and command_id = $2'
    const { rows } = await this.#database.query<{ command: string | null }>(text, [hash, commandId])
    const command = rows[0]?.command ?? undefined
    return command === undefined ? undefined : decodeEnvelope(command)
  }

  async #claimAll(): Promise<void> {
    this.#claiming = true
    // Whatever is claimed in this turn of the event loop shares the first insert already.
    await new Promise(setImmediate)
    while (this.#asked.length > 0) await this.#claimGroup(this.#take())
    this.#claiming = false
  }

  #take(): Asked[] {
    let characters = 0
    const end = this.#asked.findIndex(({ command }, at) => {
      characters += command.length
      return at >= GROUP_MAX || (at > 0 && characters > GROUP_CHARACTERS_MAX)
    })
    return this.#asked.splice(0, end < 0 ? this.#asked.length : end)
  }

  async #claimGroup(group: readonly Asked[]): Promise<void> {
    try {
      const { rows } = await this.#database.query<{ id: string }>(CLAIM, [
        plainArray(group.map(({ claim }) => claim.hash)),
        plainArray(group.map(({ claim }) => claim.fingerprint)),
        plainArray(group.map(({ entry }) => entry.envelope.id)),
        textArray(group.map(({ entry }) => entry.answer && JSON.stringify(entry.answer))),
        textArray(group.map(({ command }) => command)),
        textArray(group.map(({ entry }) => entry.envelope.service)),
      ])
      const won = new Set(rows.map(({ id }) => id))
      const lost = group.filter(({ entry }) => !won.has(entry.envelope.id))
      const claims = await this.#read(lost.map(({ claim }) => claim.hash))
      for (const { entry, claim, resolve, reject } of group) {
        const stored = claims.get(claim.hash)
        if (won.has(entry.envelope.id)) resolve(undefined)
        else if (stored !== undefined) resolve(stored)
        else
          reject(
            new TwofoldError('UNAVAILABLE', 'the Idempotency-Key was given free in this very moment; try again', { retryAfterSeconds: 1 }),
          )
      }
    } catch (error) {
      if (isDataError(error) && group.length > 1) {
        const middle = group.length >> 1
        await this.#claimGroup(group.slice(0, middle))
        return this.#claimGroup(group.slice(middle))
      }
      for (const { reject } of group) reject(translate(error))
    }
  }

  async #read(hashes: readonly string[]): Promise<ReadonlyMap<string, StoredClaim>> {
    if (hashes.length === 0) return new Map()
    const { rows } = await this.#database.query<ClaimRow>(CLAIMS_BY_HASH, [plainArray(hashes)])
    return new Map(rows.map((row) => [row.hash, storedClaim(row)]))
  }
}
