// What somebody gave as a setting, as it may be shown.

/** Without user and password, however the address is mistaken: with a slash or an @ in the password, or without a scheme. */
export function withoutPassword(address: string): string {
  const [, scheme = ''] = /^(\s*[a-z][a-z\d+.-]*:\/\/)/i.exec(address) ?? []
  const at = address.lastIndexOf('@')
  const shown = at < 0 ? address : `${scheme}***${address.slice(at)}`
  return shown.replace(/([?&]\w*pass\w*=)[^&]*/gi, '$1***')
}

/** A setting of any kind, for a sentence that says what is wrong with it. */
export function shownValue(value: unknown): string {
  if (typeof value === 'string') return `'${withoutPassword(value)}'`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  return String(value)
}
