// The path of a call: a route with the input's fields put in.
import type { AnyCommand } from '../../contract/command.ts'
import type { AnyQuery } from '../../contract/query.ts'
import { routeOf } from '../../contract/route.ts'
import { pointerSegment } from '../../contract/schema.ts'
import { TwofoldError } from '../../errors.ts'

/**
 * Puts the input's fields into the path; `rest` is what is left for the body or the query string.
 * @throws TwofoldError INVALID_INPUT where a path cannot carry what is given: nothing, an object, `''`, `.` or `..`.
 */
export function fillRoute(
  part: AnyCommand | AnyQuery,
  input: Readonly<Record<string, unknown>>,
): { readonly method: string; readonly path: string; readonly rest: Readonly<Record<string, unknown>> } {
  const { method, path } = routeOf(part)
  const rest = { ...input }
  const filled = path.replaceAll(/:(\w+)/g, (_, name: string) => {
    const value = rest[name]
    delete rest[name]
    const segment = segmentOf(value)
    if (segment !== undefined) return segment
    const given = value === undefined ? 'missing' : JSON.stringify(value)
    const allowed = "it stands in the path, so give a number, a boolean, or a string other than '', '.' and '..'"
    const message = `'${name}' of '${part.service}.${part.name}' is ${given}; ${allowed}`
    throw new TwofoldError('INVALID_INPUT', message, { faults: [{ path: `/${pointerSegment(name)}`, message }] })
  })
  return { method, path: filled, rest }
}

/** Whoever sends a URL takes `.` and `..` out of its path, escaped or not: the request would go somewhere else. */
function segmentOf(value: unknown): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return undefined
  const text = String(value)
  return /^\.{0,2}$/.test(text) || !text.isWellFormed() ? undefined : encodeURIComponent(text)
}
