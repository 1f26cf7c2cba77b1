// How a command may be answered: succeeded, accepted, rejected, or refused by Twofold itself.
import type { AnyCommand } from '../contract/command.ts'
import { jsonSchemaOf, type Schema } from '../contract/schema.ts'
import { jsonBody, passingProblem, problem, refTo, type Responses } from './parts.ts'
import type { SchemaCollection } from './schema-collection.ts'

/** What there is of a command. */
interface Has {
  readonly hasBody: boolean
  /** Of its service's state. */
  readonly hasVersions: boolean
}

/** All ways in which a command may be answered. */
export function commandResponses(command: AnyCommand, schemas: SchemaCollection, has: Has): Responses {
  const name = `${command.service}.${command.name}`
  const outcomeHeaders = {
    ...(has.hasVersions ? { ETag: { description: 'The version of the entity after the command.', schema: { type: 'string' } } } : {}),
    'Twofold-Command-Id': { schema: { type: 'string', format: 'uuid' } },
    'Twofold-Consistency-Token': {
      description: 'Given to a query, its answer includes what this command did.',
      schema: { type: 'string' },
    },
  }
  const succeeded: Responses = command.reply
    ? {
        200: {
          ...jsonBody('The command has succeeded.', schemas.add(`${name}.reply`, jsonSchemaOf(command.reply, 'output'))),
          headers: outcomeHeaders,
        },
      }
    : { 204: { description: 'The command has succeeded; it has no reply.', headers: outcomeHeaders } }
  const optimistic = command.optimistic
    ? schemas.add(`${name}.optimistic`, jsonSchemaOf(command.optimistic, 'output'))
    : refTo('AcceptedCommand')
  return {
    ...succeeded,
    202: {
      ...jsonBody('The command is durable and will be carried out; its outcome is at `Location`.', optimistic),
      headers: {
        Location: { description: 'The status of the command.', schema: { type: 'string' } },
        'Retry-After': { schema: { type: 'integer' } },
        'Twofold-Command-Id': { schema: { type: 'string', format: 'uuid' } },
      },
    },
    ...refusals(command, schemas, has),
    500: problem('The command failed for good, or the service has a fault.'),
    503: passingProblem(
      'The service is overloaded, stopping, or cannot reach its database or broker: see `Retry-After`. Nothing was taken, unless the code is `IN_DOUBT`: then the command may take effect, and its outcome is at `/commands/{commandId}`.',
    ),
  }
}

/** A contract may give its rejections a status that Twofold answers with as well: then the body is the one or the other. */
function refusals(command: AnyCommand, schemas: SchemaCollection, { hasBody, hasVersions }: Has): Responses {
  const ofBody: Responses<string> = hasBody ? { 413: 'The body is too large.', 415: 'The body is not JSON.' } : {}
  const ofCondition: Responses<string> =
    command.ifMatch === 'required' ? { 428: 'Neither If-Match nor If-None-Match says which version is to be changed.' } : {}
  const ofVersion: Responses<string> = hasVersions
    ? { 412: 'The entity is not as If-Match or If-None-Match demands; nothing has changed.' }
    : {}
  const own: Responses<string> = {
    400: hasVersions
      ? 'The request is malformed, or its Idempotency-Key is.'
      : 'The request is malformed, its Idempotency-Key is, or it has a condition, although there are no versions here.',
    409: 'The first request with this Idempotency-Key is still running.',
    ...ofVersion,
    422: 'The input does not fit, or the Idempotency-Key was used for another request.',
    429: 'The service has as many commands waiting as it takes, in all or for this key; nothing was taken. See `Retry-After`.',
    ...ofBody,
    ...ofCondition,
  }
  const problems = Object.entries(own).map(([status, description]) => [status, problemOf(status)(description)])
  const rejections = [...Map.groupBy(Object.entries(command.rejections), ([, { status }]) => status)].map(([status, group]) => {
    const bodies = group.map(([code, { schema }]) => rejectionBody(command, code, schema, schemas))
    const words = `Rejected: ${group.map(([code]) => code).join(', ')}. Nothing has changed.`
    const shared = own[status]
    if (shared !== undefined) return [status, problemOf(status)(`${words} Or: ${shared}`, { anyOf: [...bodies, refTo('Problem')] })]
    return [status, problem(words, bodies.length === 1 ? bodies[0] : { oneOf: bodies })]
  })
  return Object.fromEntries([...problems, ...rejections]) as Responses
}

function problemOf(status: number | string): typeof problem {
  return Number(status) === 429 ? passingProblem : problem
}

function rejectionBody(command: AnyCommand, code: string, schema: Schema | undefined, schemas: SchemaCollection): object {
  const data = schema && schemas.add(`${command.service}.${command.name}.${code}.data`, jsonSchemaOf(schema, 'output'))
  const own = {
    type: 'object',
    required: ['code', ...(data ? ['data'] : [])],
    properties: { code: { const: code }, ...(data ? { data } : {}) },
  }
  return { allOf: [refTo('Problem'), own] }
}
