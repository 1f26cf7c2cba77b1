// What a key may be, and which slot it falls into. Both are fixed for ever: a slot that moved would give a key two owners.

/** How many slots there are. Slots map to partitions; their number never changes. */
export const SLOT_COUNT = 4096

/** The longest key, in UTF-8 bytes. */
export const KEY_BYTES_MAX = 255

/** The most entities one command may change. */
export const KEYS_PER_COMMAND_MAX = 16

const utf8 = new TextEncoder()

/** Says what is wrong with a key, or `undefined`. PostgreSQL refuses NUL, and lone surrogates would make two keys one. */
export function keyFault(key: unknown): string | undefined {
  if (typeof key !== 'string') return `a key must be a string, not ${key === null ? 'null' : typeof key}`
  if (key.length === 0) return 'a key must not be empty'
  if (key.includes('\0')) return 'a key must not contain the NUL character'
  if (!key.isWellFormed()) return 'a key must be well-formed Unicode (it has a lone surrogate)'
  const bytes = key.length > KEY_BYTES_MAX / 3 ? utf8.encode(key).length : 0
  return bytes > KEY_BYTES_MAX ? `a key is at most ${KEY_BYTES_MAX} bytes long, this one is ${bytes}` : undefined
}

/** The slot of a key: FNV-1a (32 bit) over the UTF-8 bytes of `service\0key`, modulo `SLOT_COUNT`. */
export function slotOf(service: string, key: string): number {
  const hash = hashedAscii(hashedAscii(hashedAscii(FNV_OFFSET, service), '\0'), key)
  return ((hash ?? hashedBytes(utf8.encode(`${service}\0${key}`))) >>> 0) % SLOT_COUNT
}

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** Undefined where the text has more than ASCII: its bytes are not its characters. */
function hashedAscii(from: number | undefined, text: string): number | undefined {
  if (from === undefined) return undefined
  let hash = from
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at)
    if (unit > 0x7f) return undefined
    hash = Math.imul(hash ^ unit, FNV_PRIME)
  }
  return hash
}

function hashedBytes(bytes: Uint8Array): number {
  let hash = FNV_OFFSET
  for (const byte of bytes) hash = Math.imul(hash ^ byte, FNV_PRIME)
  return hash
}
