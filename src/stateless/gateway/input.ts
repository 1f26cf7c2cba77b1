// One validated input out of path, query string and body.
import type { FastifyRequest } from 'fastify'
import type { AnyCommand } from '../../contract/command.ts'
import type { AnyQuery } from '../../contract/query.ts'
import type { Route } from '../../contract/route.ts'
import { check, jsonSchemaOf, pointerSegment, type Fault } from '../../contract/schema.ts'
import { canonicalJson } from './canonical-json.ts'
import { compileCoercion } from './coerce.ts'
import { invalidInput } from './problem.ts'
import { queryStringOf } from './query-string.ts'
import { addTextFaults } from './text-faults.ts'
import { compileUnknownFields } from './unknown-fields.ts'

/**
 * Reads the input of a request: what the schema makes of all that was given. The request's body is filled up by it.
 * @throws TwofoldError INVALID_INPUT with all faults, BAD_REQUEST for a broken query string.
 */
type ReadInput = (request: FastifyRequest) => unknown

/** Compiles the reading of one command's or query's input. */
export function compileInput(part: AnyCommand | AnyQuery, route: Route): ReadInput {
  const schema = jsonSchemaOf(part.input, 'input')
  const coerce = compileCoercion(schema)
  const unknownFields = compileUnknownFields(schema)
  return (request) => {
    const faults: Fault[] = []
    const sent = fieldsOf(request.body)
    const parameters = request.params as Readonly<Record<string, string>>
    for (const name of route.parameters) put(sent, name, coerce(name, parameters[name] ?? ''), faults)
    for (const [name, given] of queryStringOf(request.url)) put(sent, name, coerce(name, given), faults)
    addTextFaults(sent, faults)
    unknownFields?.(sent, faults)
    const checked = check(part.input, sent)
    if (checked.faults) faults.push(...checked.faults)
    if (faults.length > 0) throw invalidInput(faults)
    return (checked as { value: unknown }).value
  }
}

/** The body's own object is filled up and not copied: nobody else has it. */
function fieldsOf(body: unknown): Record<string, unknown> {
  if (body === undefined) return {}
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>
  throw invalidInput([{ path: '', message: 'the body must be a JSON object' }])
}

function put(sent: Record<string, unknown>, name: string, value: unknown, faults: Fault[]): void {
  const fault = (message: string): number => faults.push({ path: `/${pointerSegment(name)}`, message })
  // Assigning it would change the object's prototype instead of adding a field.
  if (name === '__proto__') fault('unknown field')
  else if (!Object.hasOwn(sent, name)) sent[name] = value
  else if (canonicalJson(sent[name]) !== canonicalJson(value)) {
    fault('given more than once (path, query string, body) with different values')
  }
}
