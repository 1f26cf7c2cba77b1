// The final word on a command as an HTTP answer. It is a function of what is stored, so that a repeated request gets the same bytes.
import type { AnyCommand } from '../../contract/command.ts'
import { PRECONDITION_FAILED, PRECONDITION_UNSUPPORTED } from '../../contract/condition.ts'
import { TwofoldError } from '../../errors.ts'
import type { StoredOutcome } from '../../ports/outcomes.ts'
import { formatToken } from '../../ports/projections.ts'
import { jsonAnswer, type Answer } from './answer.ts'
import { entityTag } from './entity-tag.ts'
import { noVersions } from './precondition.ts'
import { problemOf, rejectionProblem } from './problem.ts'

/**
 * Succeeded: 200 with the reply as it was stored, 204 where there is none. Rejected: the contract's status, with code and data, or 412,
 * or 400 for a condition that cannot be decided.
 * Dead: 500. All name the command and, unless it is dead, carry the entity's version and the consistency token.
 */
export function answerOfOutcome(command: AnyCommand, outcome: StoredOutcome, location: string): Answer {
  if (outcome.status === 'dead') {
    const message = 'the command was given up after its last attempt; an operator decides what becomes of it'
    return problemOf(new TwofoldError('COMMAND_DEAD', message, { commandId: outcome.id }))
  }
  const headers = headersOf(outcome)
  if (outcome.status === 'succeeded')
    return outcome.body === undefined ? { status: 204, headers, body: '' } : jsonAnswer(outcome.body, headers)
  if (outcome.code === PRECONDITION_FAILED) {
    const error = new TwofoldError('PRECONDITION_FAILED', preconditionWords(outcome.version), { commandId: outcome.id })
    const problem = problemOf(error, 412, { currentVersion: outcome.version })
    return { ...problem, headers: { ...problem.headers, ...headers } }
  }
  if (outcome.code === PRECONDITION_UNSUPPORTED) {
    const problem = problemOf(new TwofoldError('PRECONDITION_UNSUPPORTED', noVersions(outcome.service), { commandId: outcome.id }))
    return { ...problem, headers: { ...problem.headers, ...headers } }
  }
  const code = outcome.code ?? ''
  const problem = rejectionProblem({
    service: outcome.service,
    code,
    status: outcome.rejectedWith ?? statusOfRejection(command, code),
    data: outcome.body,
    commandId: outcome.id,
    location,
  })
  return { ...problem, headers: { ...problem.headers, ...headers } }
}

function preconditionWords(version: number): string {
  const now = version === 0 ? 'there is no such entity' : `the entity is at version ${version}`
  return `nothing was changed: ${now}, which is not what If-Match or If-None-Match demands`
}

/** The status that today's contract gives a rejection; 409 for one that only an older contract knew. */
export function statusOfRejection(command: AnyCommand, code: string): number {
  return Object.hasOwn(command.rejections, code) ? (command.rejections[code]?.status ?? 409) : 409
}

function headersOf(outcome: StoredOutcome): Record<string, string> {
  const headers: Record<string, string> = { 'twofold-command-id': outcome.id, 'twofold-consistency-token': formatToken(outcome) }
  if (outcome.version > 0) headers['etag'] = entityTag(outcome.version)
  return headers
}
