// Callers who wait for an effect that happens elsewhere in the process.

export class Waiters {
  readonly #waiting = new Map<string, () => void>()

  /** Ends once `done` is called with this id. */
  until(id: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.set(id, resolve))
  }

  done(id: string): void {
    this.#waiting.get(id)?.()
    this.#waiting.delete(id)
  }
}
