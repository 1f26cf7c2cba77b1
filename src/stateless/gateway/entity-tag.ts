// Entity tags: the version of the state behind an answer (RFC 9110 §8.8.3).

/** The strong tag of a version. */
export function entityTag(version: number): string {
  return `"${version}"`
}

/** Whether an If-None-Match header names this tag: a list or `*`, compared weakly as the standard demands here. */
export function noneMatchNames(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false
  if (header.trim() === '*') return true
  return [...header.matchAll(/(?:W\/)?("[^"]*")/g)].some((match) => match[1] === tag)
}
