/** A text that comes from anywhere, as an error's does: PostgreSQL stores neither NUL nor lone surrogates. */
export function storableText(text: string): string {
  return text.replaceAll('\0', '\uFFFD').toWellFormed()
}
