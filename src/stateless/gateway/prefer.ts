// The Prefer header (RFC 7240): may the answer come later, and how long would the client wait?

/** What of the header concerns us; unknown preferences are ignored, as the standard says. */
export interface Preferences {
  readonly respondAsync: boolean
  /** Seconds; undefined: not given, or not a whole number. */
  readonly wait: number | undefined
}

const none: Preferences = { respondAsync: false, wait: undefined }

// One element of the list; a comma inside quotes separates nothing.
const ELEMENT = /(?:"(?:[^"\\]|\\.)*"?|[^",])+/g
// token [ = word ], where a word is a token or a quoted string; parameters after it (`; …`) concern none of ours.
const PREFERENCE = /^[\t ]*([\w!#$%&'*+.^|~`-]+)[\t ]*(?:=[\t ]*(?:("(?:[^"\\]|\\.)*"|[\w!#$%&'*+.^|~`-]+)[\t ]*)?)?(?:;|$)/

/** Reads the header. Of a preference given twice the first counts (RFC 7240 §2). */
export function preferencesOf(header: string | readonly string[] | undefined): Preferences {
  if (header === undefined) return none
  const text = typeof header === 'string' ? header : header.join(',')
  const found = new Map<string, string>()
  for (const [element] of text.matchAll(ELEMENT)) {
    const match = PREFERENCE.exec(element)
    const name = match?.[1]?.toLowerCase()
    if (name !== undefined && !found.has(name)) found.set(name, unquoted(match?.[2] ?? ''))
  }
  const wait = found.get('wait')
  return {
    // A value would make it another preference; an empty one is the same as none.
    respondAsync: found.get('respond-async') === '',
    wait: wait !== undefined && /^\d+$/.test(wait) ? Math.min(Number(wait), Number.MAX_SAFE_INTEGER) : undefined,
  }
}

function unquoted(word: string): string {
  return word.startsWith('"') ? word.slice(1, -1).replaceAll(/\\(.)/g, '$1') : word
}
