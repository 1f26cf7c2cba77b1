// JSON text that does not depend on the order of fields, so that two equal requests have one fingerprint.
import { DEPTH_MAX, tooDeep } from './text-faults.ts'

/**
 * JSON text with the fields of every object sorted. `value` came from `JSON.parse`, so it holds nothing that JSON cannot say.
 * @throws TwofoldError INVALID_INPUT for what is nested deeper than any input may be.
 */
export function canonicalJson(value: unknown, depth = 0): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (depth === DEPTH_MAX) throw tooDeep()
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(',')}]`
  let text = ''
  for (const name of Object.keys(value).toSorted()) {
    text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${canonicalJson((value as Record<string, unknown>)[name], depth + 1)}`
  }
  return `{${text}}`
}
