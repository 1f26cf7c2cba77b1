// What is changed between two batches of a lane, and never during one.

export class Changes {
  readonly #waiting: { readonly run: () => void; readonly cancel: () => void }[] = []

  get size(): number {
    return this.#waiting.length
  }

  /** Resolves when it has been done, or will never be. Rejects with what it throws. */
  add(task: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(task())
        } catch (error) {
          reject(error)
          throw error
        }
      }
      this.#waiting.push({ run, cancel: resolve })
    })
  }

  /** In the order in which they came, up to the first that throws. */
  run(): void {
    while (this.#waiting.length > 0) this.#waiting.shift()?.run()
  }

  cancel(): void {
    for (const { cancel } of this.#waiting.splice(0)) cancel()
  }
}
