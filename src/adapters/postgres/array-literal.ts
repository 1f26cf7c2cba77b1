// PostgreSQL array literals, for `unnest`: pg's own encoder looks at each element's type, which costs more than the statement's parse.

/** A `text[]`; `undefined` becomes NULL. */
export function textArray(values: readonly (string | undefined)[]): string {
  // As a rule: keys and names, which are joined as they are, without a text of its own for each.
  if (values.length > 0 && values.every(needsNoEscape)) return `{"${values.join('","')}"}`
  return `{${values.map((value) => (value === undefined ? 'NULL' : `"${escaped(value)}"`)).join(',')}}`
}

/** An array of numbers or of texts that need no quotes, such as uuids. */
export function plainArray(values: readonly (number | string)[]): string {
  return `{${values.join(',')}}`
}

/**
 * Texts of JSON, to be taken apart by `string_to_array($n, E'\x1e', '')`; `undefined` becomes NULL. JSON has no raw control characters, so
 * nothing has to be escaped: of a batch's texts these are the long ones, full of quotes.
 */
export function jsonTexts(values: readonly (string | undefined)[]): string {
  return values.map((value) => value ?? '').join('\x1e')
}

function needsNoEscape(value: string | undefined): boolean {
  return value !== undefined && !value.includes('"') && !value.includes('\\')
}

function escaped(value: string): string {
  // Two passes with plain strings beat one with a regular expression where a text is full of quotes, as JSON is.
  const slashed = value.includes('\\') ? value.replaceAll('\\', String.raw`\\`) : value
  return slashed.includes('"') ? slashed.replaceAll('"', String.raw`\"`) : slashed
}
