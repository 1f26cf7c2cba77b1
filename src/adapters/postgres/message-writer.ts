// What a round trip says, as one buffer: the messages of PostgreSQL's extended query protocol, one behind the other. `pg` makes a buffer of
// each and hands them to the socket one by one, which takes twice the time.
// https://www.postgresql.org/docs/current/protocol-message-formats.html

/** What most round trips need, and how much is kept for the next one. In bytes. */
const SIZE_MIN = 2048
const SIZE_KEPT_MAX = 65_536

/** A character takes three bytes at most. Of a longer text they are counted, so that it does not take thrice its room. */
const COUNTED_FROM = 1000

/** A value as `pg` prepares it: a text, bytes, or NULL. */
export type PreparedValue = string | Buffer | null

export class MessageWriter {
  #bytes = Buffer.allocUnsafe(SIZE_MIN)
  #length = 0
  /** Where the length of the message under way stands. */
  #lengthAt = 0

  /** Forgets the statement of this name; none of that name is no error. */
  close(name: string): void {
    this.#begin('C')
    this.#byte('S'.charCodeAt(0))
    this.#name(name)
    this.#end()
  }

  parse(name: string, text: string): void {
    this.#begin('P')
    this.#name(name)
    this.#name(text)
    this.#int16(0)
    this.#end()
  }

  /** Rows come as texts. */
  bind(statement: string, values: readonly PreparedValue[]): void {
    this.#begin('B')
    this.#name('')
    this.#name(statement)
    this.#int16(values.length)
    for (const value of values) this.#int16(typeof value === 'object' && value !== null ? 1 : 0)
    this.#int16(values.length)
    for (const value of values) this.#value(value)
    this.#int16(0)
    this.#end()
  }

  /** Asks for the columns of what was bound last. */
  describe(): void {
    this.#begin('D')
    this.#byte('P'.charCodeAt(0))
    this.#name('')
    this.#end()
  }

  /** Runs what was bound last, to its end. */
  execute(): void {
    this.#begin('E')
    this.#name('')
    this.#int32(0)
    this.#end()
  }

  sync(): void {
    this.#begin('S')
    this.#end()
  }

  /** All since the last call. */
  take(): Buffer {
    const taken = Buffer.from(this.#bytes.subarray(0, this.#length))
    this.reset()
    return taken
  }

  /** Forgets all since the last call of `take`. */
  reset(): void {
    this.#length = 0
    if (this.#bytes.length > SIZE_KEPT_MAX) this.#bytes = Buffer.allocUnsafe(SIZE_MIN)
  }

  #begin(kind: string): void {
    this.#byte(kind.charCodeAt(0))
    this.#lengthAt = this.#length
    this.#int32(0)
  }

  /** The length counts itself and not the kind. */
  #end(): void {
    this.#bytes.writeInt32BE(this.#length - this.#lengthAt, this.#lengthAt)
  }

  #byte(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
  }

  #int16(value: number): void {
    this.#reserve(2)
    this.#length = this.#bytes.writeUInt16BE(value, this.#length)
  }

  #int32(value: number): void {
    this.#reserve(4)
    this.#length = this.#bytes.writeInt32BE(value, this.#length)
  }

  #value(value: PreparedValue): void {
    if (value === null) return this.#int32(-1)
    const at = this.#length
    this.#int32(0)
    if (typeof value === 'string') this.#text(value)
    else {
      this.#reserve(value.length)
      this.#length += value.copy(this.#bytes, this.#length)
    }
    this.#bytes.writeInt32BE(this.#length - at - 4, at)
  }

  /** Ends with a zero. */
  #name(text: string): void {
    if (text !== '') this.#text(text)
    this.#byte(0)
  }

  #text(text: string): void {
    this.#reserve(text.length < COUNTED_FROM ? text.length * 3 : Buffer.byteLength(text))
    this.#length += this.#bytes.write(text, this.#length)
  }

  #reserve(size: number): void {
    if (this.#length + size <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length + size))
    this.#bytes.copy(larger, 0, 0, this.#length)
    this.#bytes = larger
  }
}
