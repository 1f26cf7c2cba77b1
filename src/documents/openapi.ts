// OpenAPI 3.1 from contracts: the same source as the router, so the document cannot promise another service than the one that runs.
import type { AnyCommand } from '../contract/command.ts'
import type { AnyContract } from '../contract/define-contract.ts'
import type { AnyQuery } from '../contract/query.ts'
import { routeOf } from '../contract/route.ts'
import { jsonSchemaOf, type JsonSchema } from '../contract/schema.ts'
import { commandStatusPath, ownSchemas } from './own-resources.ts'
import { header, jsonBody, parameter, problem, refTo, type Responses } from './parts.ts'
import { SchemaCollection } from './schema-collection.ts'

export interface OpenapiOptions {
  readonly title: string
  readonly version: string
  readonly contracts: readonly AnyContract[]
}

/** The document of all commands and queries of these contracts, and of the status resource of commands. */
export function openapiDocument({ title, version, contracts }: OpenapiOptions): object {
  const schemas = new SchemaCollection(ownSchemas)
  const paths: Record<string, Record<string, object>> = { '/commands/{id}': commandStatusPath }
  for (const contract of contracts) {
    for (const command of Object.values(contract.commands)) add(paths, command, commandOperation(command, schemas))
    for (const query of Object.values(contract.queries)) add(paths, query, queryOperation(query, schemas))
  }
  return {
    openapi: '3.1.0',
    info: { title, version },
    tags: contracts.map((contract) => ({ name: contract.name })),
    paths,
    components: { schemas: schemas.all },
  }
}

function add(paths: Record<string, Record<string, object>>, part: AnyCommand | AnyQuery, operation: object): void {
  const { method, path } = routeOf(part)
  const template = path.replaceAll(/:(\w+)/g, '{$1}')
  paths[template] = { ...paths[template], [method.toLowerCase()]: operation }
}

function commandOperation(command: AnyCommand, schemas: SchemaCollection): object {
  const { parameters, rest } = splitInput(command, schemas)
  const hasBody = Object.keys(rest.properties ?? {}).length > 0
  return {
    operationId: `${command.service}.${command.name}`,
    tags: [command.service],
    'x-twofold': { service: command.service, command: command.name, respond: command.respond },
    parameters: [
      ...parameters,
      header(
        'Idempotency-Key',
        'Names this request: a repetition has no second effect and gets the first answer. A string of 1 to 255 characters, in quotes or bare.',
      ),
      header('Prefer', '`respond-async` asks for a 202 at once, `wait=N` for the outcome within N seconds (RFC 7240).'),
    ],
    ...(hasBody
      ? {
          requestBody: {
            required: (rest.required ?? []).length > 0,
            content: { 'application/json': { schema: schemas.add(`${command.service}.${command.name}.input`, rest) } },
          },
        }
      : {}),
    responses: commandResponses(command, schemas, hasBody),
  }
}

function commandResponses(command: AnyCommand, schemas: SchemaCollection, hasBody: boolean): Responses {
  const name = `${command.service}.${command.name}`
  const outcomeHeaders = {
    ETag: { description: 'The version of the entity after the command.', schema: { type: 'string' } },
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
    400: problem('The request is malformed, or its Idempotency-Key is.'),
    ...rejectionResponses(command, schemas),
    ...bodyProblems(hasBody),
    422: problem('The input does not fit, or the Idempotency-Key was used for another request.'),
    500: problem('The command failed for good, or the service has a fault.'),
    503: problem('Nothing was taken: the service is overloaded, stopping, or cannot reach its database. See `Retry-After`.'),
  }
}

function bodyProblems(hasBody: boolean): Responses {
  return hasBody ? { 413: problem('The body is too large.'), 415: problem('The body is not JSON.') } : {}
}

/** Several rejections may share a status; then the body is one of theirs. */
function rejectionResponses(command: AnyCommand, schemas: SchemaCollection): Responses {
  const byStatus = Map.groupBy(Object.entries(command.rejections), ([, { status }]) => status)
  return Object.fromEntries(
    [...byStatus].map(([status, rejections]) => {
      const bodies = rejections.map(([code, { schema }]) => {
        const name = `${command.service}.${command.name}.${code}`
        const data = schema && schemas.add(`${name}.data`, jsonSchemaOf(schema, 'output'))
        const own = {
          type: 'object',
          required: ['code', ...(data ? ['data'] : [])],
          properties: { code: { const: code }, ...(data ? { data } : {}) },
        }
        return { allOf: [refTo('Problem'), own] }
      })
      const description = `Rejected: ${rejections.map(([code]) => code).join(', ')}. Nothing has changed.`
      return [
        status,
        { description, content: { 'application/problem+json': { schema: bodies.length === 1 ? bodies[0] : { oneOf: bodies } } } },
      ]
    }),
  ) as Responses
}

function queryOperation(query: AnyQuery, schemas: SchemaCollection): object {
  const { parameters, rest } = splitInput(query, schemas)
  const required = new Set(rest.required ?? [])
  const search = Object.entries(rest.properties ?? {}).map(([name, schema]) =>
    parameter('query', name, schemas.inline(schema, rest), required.has(name)),
  )
  return {
    operationId: `${query.service}.${query.name}`,
    tags: [query.service],
    'x-twofold': { service: query.service, query: query.name },
    parameters: [
      ...parameters,
      ...search,
      header('Twofold-Consistency-Token', 'The token of a command whose effects the answer must include.'),
      header('If-None-Match', 'The ETag of an earlier answer.'),
    ],
    responses: {
      200: {
        ...jsonBody('The answer.', schemas.add(`${query.service}.${query.name}.output`, jsonSchemaOf(query.output, 'output'))),
        headers: { ETag: { description: 'The version of the one entity that was read.', schema: { type: 'string' } } },
      },
      304: { description: 'Nothing has changed since the ETag of `If-None-Match`.' },
      400: problem('The request is malformed.'),
      404: problem('There is no such thing.'),
      422: problem('The input does not fit.'),
      500: problem('The service has a fault.'),
      503: problem('The database cannot be reached, or the read model has not caught up with the token.'),
    },
  }
}

/** The fields in the path become parameters; `rest` is the schema of what is left for the body or the query string. */
function splitInput(part: AnyCommand | AnyQuery, schemas: SchemaCollection): { parameters: object[]; rest: JsonSchema } {
  const input = jsonSchemaOf(part.input, 'input')
  const inPath = new Set(routeOf(part).parameters)
  const all = Object.entries(input.properties ?? {})
  const parameters = all
    .filter(([name]) => inPath.has(name))
    .map(([name, schema]) => parameter('path', name, schemas.inline(schema, input), true))
  const left = all.filter(([name]) => !inPath.has(name))
  const required = (input.required ?? []).filter((name) => !inPath.has(name))
  const { required: _all, ...others } = input
  return {
    parameters,
    rest: { additionalProperties: false, ...others, properties: Object.fromEntries(left), ...(required.length > 0 ? { required } : {}) },
  }
}
