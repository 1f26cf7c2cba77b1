// An address that somebody gave, as it may be shown.

/** Without user and password, however the address is mistaken: with a slash or an @ in the password, or without a scheme. */
export function withoutPassword(address: string): string {
  const [, scheme = ''] = /^(\s*[a-z][a-z\d+.-]*:\/\/)/i.exec(address) ?? []
  const at = address.lastIndexOf('@')
  const shown = at < 0 ? address : `${scheme}***${address.slice(at)}`
  return shown.replace(/([?&]\w*pass\w*=)[^&]*/gi, '$1***')
}
