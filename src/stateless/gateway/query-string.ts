// The query string, read strictly: Node's and Fastify's parsers turn broken escapes into other text without a word.
import { TwofoldError } from '../../errors.ts'

const NO_FIELDS: ReadonlyMap<string, string | string[]> = new Map()

/**
 * The fields of a URL's query string in order; a field given several times is a list.
 * @throws TwofoldError BAD_REQUEST for a percent escape that is not UTF-8.
 */
export function queryStringOf(url: string): ReadonlyMap<string, string | string[]> {
  const start = url.indexOf('?')
  if (start === -1) return NO_FIELDS
  const fields = new Map<string, string | string[]>()
  for (const pair of url.slice(start + 1).split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = decode(equals === -1 ? pair : pair.slice(0, equals))
    const value = equals === -1 ? '' : decode(pair.slice(equals + 1))
    const before = fields.get(name)
    if (before === undefined) fields.set(name, value)
    else if (typeof before === 'string') fields.set(name, [before, value])
    else before.push(value)
  }
  return fields
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw new TwofoldError('BAD_REQUEST', `the query string has a broken percent escape in '${text.slice(0, 100)}'`)
  }
}
