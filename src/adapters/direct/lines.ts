// Lines over a stream, both ways: written together as they come, read apart again.
import { StringDecoder } from 'node:string_decoder'
import { Readable } from 'node:stream'

/**
 * Lines on their way out. What is written in one turn of the event loop, or while the stream takes no more, leaves as one piece; no timer
 * waits for more.
 */
export class LineSender extends Readable {
  #lines: string[] = []
  #characters = 0
  #hungry = false
  #scheduled = false
  #ended = false

  /** So many characters wait, because the stream takes no more. */
  get characters(): number {
    return this.#characters
  }

  send(line: string): void {
    this.#lines.push(line)
    this.#characters += line.length
    this.#schedule()
  }

  /** Ends the stream behind what was sent. */
  end(): void {
    this.#ended = true
    this.#schedule()
  }

  override _read(): void {
    this.#hungry = true
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || !this.#hungry || (this.#lines.length === 0 && !this.#ended)) return
    this.#scheduled = true
    setImmediate(() => this.#flush())
  }

  #flush(): void {
    this.#scheduled = false
    if (this.destroyed) return
    if (this.#lines.length > 0) {
      const text = `${this.#lines.join('\n')}\n`
      this.#lines = []
      this.#characters = 0
      this.#hungry = false
      this.push(text)
    }
    if (this.#ended) this.push(null)
  }
}

/** Puts lines together from pieces that end anywhere, also in the middle of a character. */
export class LineReader {
  readonly #decoder = new StringDecoder('utf8')
  readonly #charactersMax: number
  #rest = ''

  constructor(charactersMax: number) {
    this.#charactersMax = charactersMax
  }

  /** The lines that this piece completes. @throws RangeError for a line that is too long */
  read(piece: Buffer): string[] {
    const text = this.#decoder.write(piece)
    if (!text.includes('\n')) {
      this.#rest += text
      if (this.#rest.length > this.#charactersMax) throw this.#tooLong()
      return []
    }
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > this.#charactersMax || lines.some((line) => line.length > this.#charactersMax)) throw this.#tooLong()
    return lines
  }

  #tooLong(): RangeError {
    return new RangeError(`a line is longer than ${this.#charactersMax} characters`)
  }
}
