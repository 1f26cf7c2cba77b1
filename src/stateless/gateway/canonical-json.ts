// JSON text that does not depend on the order of fields, so that two equal requests have one fingerprint.

/** JSON text with the fields of every object sorted. `value` came from `JSON.parse`, so it holds nothing that JSON cannot say. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  let text = ''
  for (const name of Object.keys(value).toSorted()) {
    text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${canonicalJson((value as Record<string, unknown>)[name])}`
  }
  return `{${text}}`
}
