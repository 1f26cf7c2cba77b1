// OpenAPI 3.1 from contracts: the same source as the router, so the document cannot promise another service than the one that runs.
import type { AnyCommand } from '../contract/command.ts'
import type { AnyContract } from '../contract/define-contract.ts'
import type { AnyQuery } from '../contract/query.ts'
import { routeOf } from '../contract/route.ts'
import { jsonSchemaOf } from '../contract/schema.ts'
import { commandResponses } from './command-responses.ts'
import { commandStatus, ownSchemas } from './own-resources.ts'
import { header, jsonBody, parameter, problem } from './parts.ts'
import { Paths } from './paths.ts'
import { SchemaCollection } from './schema-collection.ts'
import { splitInput, type SplitInput } from './split-input.ts'

export interface OpenapiOptions {
  readonly title: string
  readonly version: string
  readonly contracts: readonly AnyContract[]
  /** Services whose state has no versions: their commands take no conditions. Default: none. */
  readonly withoutVersions?: ReadonlySet<string> | undefined
  /** Where all paths are mounted, such as `/api`. Default: at the root. */
  readonly prefix?: string | undefined
}

/** The document of all commands and queries of these contracts, and of the status resource of commands. */
export function openapiDocument({ title, version, contracts, withoutVersions, prefix = '' }: OpenapiOptions): object {
  const schemas = new SchemaCollection(ownSchemas)
  const paths = new Paths()
  paths.add({ method: 'GET', path: '/commands/:id', parameters: ['id'] }, () => commandStatus)
  for (const contract of contracts) {
    const terms = { retentionHours: contract.retentionHours, hasVersions: withoutVersions?.has(contract.name) !== true }
    for (const command of Object.values(contract.commands))
      paths.add(routeOf(command), (names) => commandOperation(command, terms, names, schemas))
    for (const query of Object.values(contract.queries)) paths.add(routeOf(query), (names) => queryOperation(query, names, schemas))
  }
  const mountedAt = prefix.replace(/\/+$/, '')
  return {
    openapi: '3.1.0',
    info: { title, version },
    ...(mountedAt === '' ? {} : { servers: [{ url: mountedAt }] }),
    tags: contracts.map((contract) => ({ name: contract.name })),
    paths: paths.all,
    components: { schemas: schemas.all },
  }
}

/** What a service says of all of its commands. */
interface Terms {
  readonly retentionHours: number
  readonly hasVersions: boolean
}

function commandOperation(
  command: AnyCommand,
  { retentionHours, hasVersions }: Terms,
  names: readonly string[],
  schemas: SchemaCollection,
): object {
  const { service, name, respond } = command
  const split = splitInput(command)
  return {
    operationId: `${service}.${name}`,
    tags: [service],
    'x-twofold': { service, command: name, respond, retentionHours },
    parameters: [
      ...pathParameters(split, names, schemas),
      header(
        'Idempotency-Key',
        `Names this request: a repetition has no second effect and gets the first answer, for at least ${retentionHours} hours from when the command finished. A string of 1 to 255 visible ASCII characters without spaces, in double quotes or bare.`,
        command.idempotency === 'required',
      ),
      ...(hasVersions
        ? [
            header('If-Match', 'The ETag of the version to be changed, or `*` for any; otherwise 412 (RFC 9110).'),
            header('If-None-Match', '`*`: the command may create an entity and not change one; otherwise 412.'),
          ]
        : []),
      header('Prefer', '`respond-async` asks for a 202 at once, `wait=N` for the outcome within N seconds (RFC 7240).'),
    ],
    ...(split.hasRest
      ? {
          requestBody: {
            required: split.restRequired,
            content: { 'application/json': { schema: schemas.add(`${service}.${name}.input`, split.rest) } },
          },
        }
      : {}),
    responses: commandResponses(command, schemas, { hasBody: split.hasRest, hasVersions }),
  }
}

function queryOperation(query: AnyQuery, names: readonly string[], schemas: SchemaCollection): object {
  const split = splitInput(query)
  const search = split.others.map(({ name, schema, required }) => parameter('query', name, schemas.inline(schema, split.input), required))
  return {
    operationId: `${query.service}.${query.name}`,
    tags: [query.service],
    'x-twofold': { service: query.service, query: query.name },
    parameters: [
      ...pathParameters(split, names, schemas),
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

/** `names` is what the document calls them; what the input calls them stands beside where that is another name. */
function pathParameters({ inPath, input }: SplitInput, names: readonly string[], schemas: SchemaCollection): object[] {
  return inPath.map(({ name, schema }, at) => {
    const called = names[at] ?? name
    const description = called === name ? {} : { description: `The field \`${name}\` of the input.` }
    return { ...parameter('path', called, schemas.inline(schema, input), true), ...description }
  })
}
