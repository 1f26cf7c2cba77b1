// A bell that a bounded loop sleeps on: ringing it never does the work itself, it only ends the sleep.

/** Remembers one ring while nobody sleeps, so that a ring between "nothing to do" and "sleep" is not lost. */
export class Wake {
  #rung = false
  #resolve: (() => void) | undefined

  ring(): void {
    this.#rung = true
    this.#resolve?.()
  }

  /** Resolves at the next ring, at once if it rang since the last sleep, or after `timeoutMs`. True: it rang. */
  async sleep(timeoutMs: number): Promise<boolean> {
    if (!this.#rung) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        this.#resolve = resolve
        timer = setTimeout(resolve, timeoutMs)
      })
      clearTimeout(timer)
      this.#resolve = undefined
    }
    const rung = this.#rung
    this.#rung = false
    return rung
  }
}
