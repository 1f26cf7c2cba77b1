// What instances say to each other: one line for everything, in one HTTP request that lasts as long as their connection.
// Caller to owner: a command with its deadline, `X` and an id nobody waits for any more, or a ping.
// Owner to caller: a result, in the order in which commands finish, or the answer to a ping.
import { createHash } from 'node:crypto'
import { decodeEnvelope, encodeEnvelope, type Envelope } from '../../contract/envelope.ts'
import type { DirectResult } from '../../ports/direct-carrier.ts'
import { restored } from '../../ports/direct-result.ts'

/** Raised when the lines change: instances that speak differently call each other through the log. */
export const PATH = '/twofold/direct/2'

/** Names the instance that is meant: another one may have its address by now. */
export const INSTANCE_HEADER = 'twofold-instance'

/** A longer command goes through the log. */
export const LINE_CHARACTERS_MAX = 4 * 1024 * 1024

/** Whoever asked for a longer result is told to look for it where it is stored. */
export const RESULT_CHARACTERS_MAX = 2 * LINE_CHARACTERS_MAX

/** So many commands of one caller, of so many characters together, may be without their result at one owner; beyond it they go through the log. */
export const PENDING_MAX = 10_000
export const PENDING_CHARACTERS_MAX = 64 * 1024 * 1024

/** So much of results may wait for a caller that does not read them; beyond it, it is told the same. */
export const RESULTS_CHARACTERS_MAX = 64 * 1024 * 1024

export const PING = 'P'

/** `moved`: the command belongs to another instance, to this one if its name is known. */
export type OwnerResult = DirectResult | { readonly status: 'moved'; readonly owner?: string | undefined }

/** A command as it travels. `deadline` is on the clock of the database, in milliseconds since 1970. */
export interface Call {
  readonly envelope: Envelope
  readonly deadline: number | undefined
}

export function encodeCall({ envelope, deadline }: Call): string {
  return `C${deadline ?? ''}\t${encodeEnvelope(envelope)}`
}

export function decodeCall(line: string): Call {
  const tab = line.indexOf('\t')
  const deadline = line.slice(1, tab)
  return { envelope: decodeEnvelope(line.slice(tab + 1)), deadline: deadline === '' ? undefined : Number(deadline) }
}

export function encodeResult(id: string, result: OwnerResult): string {
  return `R${id}${JSON.stringify(result)}`
}

export function decodeResult(line: string): { readonly id: string; readonly result: OwnerResult } {
  return { id: line.slice(1, 1 + ID_LENGTH), result: restored(JSON.parse(line.slice(1 + ID_LENGTH)) as OwnerResult) }
}

/** What a caller shows. A digest, because a secret may hold what a header cannot. */
export function credential(secret: string): string {
  return `Bearer ${createHash('sha256').update(secret).digest('base64url')}`
}

const ID_LENGTH = 36
