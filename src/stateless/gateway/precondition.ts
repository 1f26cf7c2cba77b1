// If-Match and If-None-Match of a command (RFC 9110 §13.1).
import type { IncomingHttpHeaders } from 'node:http'
import type { AnyCommand } from '../../contract/command.ts'
import type { Condition } from '../../contract/condition.ts'
import { TwofoldError } from '../../errors.ts'
import { excerptOf } from './problem.ts'

const TAG = /(?:W\/)?"[^"]*"/
// Elements of a list may be empty (§5.6.1).
const TAGS = new RegExp(`^[\\s,]*${TAG.source}(?:\\s*,[\\s,]*${TAG.source})*[\\s,]*$`)

/**
 * What the request demands of the command's home entity; undefined: nothing. `hasVersions`: false where the state of the service has none. A
 * condition must not be passed over (§13.1.1), and to call it false would send its caller in search of a version that there is not: the request
 * is refused as what it is, one that this service cannot be asked.
 * @throws TwofoldError BAD_REQUEST for a header that cannot be read or both at once; PRECONDITION_REQUIRED where the contract wants one;
 * PRECONDITION_UNSUPPORTED where there are no versions.
 */
export function conditionOf(headers: IncomingHttpHeaders, command: AnyCommand, hasVersions = true): Condition | undefined {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers
  if (!hasVersions && (ifMatch ?? ifNoneMatch) !== undefined)
    throw new TwofoldError('PRECONDITION_UNSUPPORTED', noVersions(command.service))
  if (ifMatch !== undefined && ifNoneMatch !== undefined) throw malformed('If-Match and If-None-Match exclude each other; send one of them')
  if (ifMatch !== undefined) return ifMatch.trim() === '*' ? 'present' : { versions: versionsOf(ifMatch) }
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.trim() === '*') return 'absent'
    throw malformed(
      `If-None-Match is ${excerptOf(ifNoneMatch)}; of a command it must be *, which lets it create an entity and not change one`,
    )
  }
  if (command.ifMatch !== 'required') return undefined
  const message = `command '${command.service}.${command.name}' must say which version it changes: send If-Match with the ETag, or If-None-Match: * to create`
  throw new TwofoldError('PRECONDITION_REQUIRED', message)
}

/** Weak tags and tags that are no version match nothing: If-Match compares strongly (§13.1.1). */
function versionsOf(header: string): number[] {
  if (!TAGS.test(header)) throw malformed(`If-Match is ${excerptOf(header)}; send * or entity tags in double quotes, such as "5"`)
  return [...header.matchAll(/(W\/)?"([^"]*)"/g)].flatMap(([, weak, tag = '']) =>
    weak === undefined && /^[1-9]\d{0,14}$/.test(tag) ? [Number(tag)] : [],
  )
}

export function noVersions(service: string): string {
  return `nothing was done: service '${service}' has no versions, so neither If-Match nor If-None-Match can be decided; send the command without them`
}

function malformed(message: string): TwofoldError {
  return new TwofoldError('BAD_REQUEST', message)
}
