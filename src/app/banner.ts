// What a person sees when an app has started: where it is, what it does, what to try next.
import type { ExampleRequest } from './define-app.ts'

export interface Started {
  readonly name: string
  readonly url: string
  readonly moved: boolean
  readonly roles: readonly string[]
  /** The data folder of the embedded PostgreSQL, or the server's address without its password. */
  readonly database: string
  /** What carries commands from the stateless to the stateful side. */
  readonly carrier: string
  readonly examples: readonly ExampleRequest[]
}

/** The lines to print. Every `curl` line works when pasted into a POSIX shell. */
export function bannerOf(started: Started): string {
  const { name, url, moved, roles, database, carrier, examples } = started
  const tryOut = roles.includes('stateless') ? [...examples, { method: 'GET', path: '/openapi.json' } as const].slice(0, 3) : []
  const requests = tryOut.length > 0 ? tryOut : [{ method: 'GET', path: '/readyz' } as const]
  return [
    '',
    `  ${name} is running`,
    '',
    `  address   ${url}${moved ? '   (port 3000 was taken)' : ''}`,
    `  roles     ${roles.join(', ')}`,
    `  data      ${database}`,
    `  carrier   ${carrier}`,
    '',
    '  try',
    ...requests.map((request) => `    ${curl(url, request)}`),
    '',
    '  Ctrl-C stops it',
    '',
  ].join('\n')
}

function curl(url: string, { method, path, body }: ExampleRequest): string {
  const words = ['curl']
  if (method !== 'GET' && !(method === 'POST' && body !== undefined)) words.push('-X', method)
  if (body !== undefined) words.push('-H', quoted('content-type: application/json'), '-d', quoted(JSON.stringify(body)))
  return [...words, /[^\w/:.-]/.test(path) ? quoted(url + path) : url + path].join(' ')
}

/** In single quotes nothing is special to a shell but the single quote itself. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}
