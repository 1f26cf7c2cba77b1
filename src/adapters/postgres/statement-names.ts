// Names for the statements of handlers, so that PostgreSQL parses and plans each once a connection and not once a command. Who writes them
// by hand or by a query builder gives the same text again and again; one that is made anew each time gets no name.

/** So many texts get a name on a connection, and so many that were seen once are remembered: what a program says is bounded, what it may say is not. */
const NAMES_MAX = 200
const SEEN_MAX = 200

/** A longer text gets none: it was most likely put together for its values, and would be kept. In characters. */
const TEXT_MAX = 10_000

export class StatementNames {
  readonly #names = new Map<string, string>()
  readonly #seen = new Set<string>()
  #given = 0

  /** The name under which `text` is prepared: from the second time on. */
  nameOf(text: string): string | undefined {
    const known = this.#names.get(text)
    if (known !== undefined) return known
    if (this.#names.size >= NAMES_MAX || text.length > TEXT_MAX) return undefined
    if (!this.#seen.delete(text)) {
      this.#see(text)
      return undefined
    }
    this.#given += 1
    const name = `twofold_handler_${this.#given}`
    this.#names.set(text, name)
    return name
  }

  #see(text: string): void {
    const [oldest] = this.#seen
    if (this.#seen.size >= SEEN_MAX && oldest !== undefined) this.#seen.delete(oldest)
    this.#seen.add(text)
  }
}
