// The caller's Idempotency-Key: read, scoped, hashed. It is never the command's id.
import { hash } from 'node:crypto'
import { parseItem } from 'structured-headers'
import type { Claim } from '../../contract/envelope.ts'
import { TwofoldError } from '../../errors.ts'
import { excerptOf } from './problem.ts'

/** What a key stands for: bare keys have little entropy, so that without the scope one caller could be told another's answer. */
interface KeyScope {
  /** The caller's tenant; undefined where there are none. */
  readonly tenant: string | undefined
  /** The caller's subject; undefined for one we do not know. */
  readonly subject: string | undefined
  readonly service: string
  readonly command: string
}

/** The request as far as a repeated one must be the same. */
interface KeyedRequest {
  readonly method: string
  /** Path and query string as they were sent. */
  readonly url: string
  /**
   * The body as it was sent, in canonical form. Not what became of it: that depends on the contract, and a deploy that changes the contract
   * makes no other request of a repeated one.
   */
  readonly body: string
  /** If-Match and If-None-Match as they were sent. */
  readonly ifMatch: string | undefined
  readonly ifNoneMatch: string | undefined
}

/**
 * The key in a header: a structured-field string (`"abc"`, draft-ietf-httpapi-idempotency-key-header) or the bare form (`abc`).
 * @throws TwofoldError INVALID_IDEMPOTENCY_KEY unless it is 1 to 255 visible ASCII characters.
 */
export function idempotencyKeyOf(header: string | readonly string[] | undefined): string | undefined {
  if (header === undefined) return undefined
  const text = (typeof header === 'string' ? header : header.join(', ')).trim()
  const key = text.startsWith('"') ? structured(text) : text
  if (key !== undefined && /^[\x21-\x7e]{1,255}$/.test(key)) return key
  throw new TwofoldError(
    'INVALID_IDEMPOTENCY_KEY',
    `the Idempotency-Key is ${excerptOf(text)}; send one string of 1 to 255 visible ASCII characters without spaces, in double quotes or bare, ` +
      'such as "8e03978e-40d5-43dd-bc93-6894a57f9324"',
  )
}

/** The claim of a keyed request. Lists as JSON, so that no two different ones encode to the same text. */
export function claimOf(key: string, scope: KeyScope, request: KeyedRequest): Claim {
  // A list for a known caller, so that nobody can call himself what an unknown one is called.
  const caller = scope.subject === undefined ? 'anonymous' : [scope.subject]
  return {
    hash: hash('sha256', JSON.stringify([scope.tenant ?? '', caller, scope.service, scope.command, key])),
    fingerprint: hash(
      'sha256',
      JSON.stringify([request.method, request.url, request.body, request.ifMatch ?? null, request.ifNoneMatch ?? null]),
    ),
  }
}

function structured(text: string): string | undefined {
  try {
    const [value] = parseItem(text)
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}
