// Handlers of this process run beside each other, or one alone: a command that may have ended a process runs beside nothing else, so that
// whatever ends the next one is held against nobody but who did it.
//
// A turn `waits`, is `ready` (its handler may run) or `over`. Turns are ready in the order in which they were taken: whoever wants to be alone
// is not overtaken by those who do not.

export interface HandlerTurn {
  readonly isReady: boolean
  readonly ready: Promise<void>
  /** Lets others go on; also before it was ready. */
  end(): void
}

/** Nearly always nobody is in the way. */
const READY = Promise.resolve()

export class HandlerTurns {
  readonly #waiting: Place[] = []
  #running = 0
  #isAlone = false

  take(alone: boolean): HandlerTurn {
    const place = new Place(alone, () => this.#ended(place))
    this.#waiting.push(place)
    this.#next()
    if (!place.isReady) ({ promise: place.ready, resolve: place.go } = Promise.withResolvers<void>())
    return place
  }

  #ended(place: Place): void {
    if (place.isReady) this.#running -= 1
    else this.#waiting.splice(this.#waiting.indexOf(place), 1)
    this.#next()
  }

  #next(): void {
    if (this.#running === 0) this.#isAlone = false
    for (let first = this.#waiting[0]; first !== undefined && !this.#isAlone; first = this.#waiting[0]) {
      if (first.alone && this.#running > 0) return
      this.#waiting.shift()
      this.#running += 1
      this.#isAlone = first.alone
      first.isReady = true
      first.go()
    }
  }
}

class Place implements HandlerTurn {
  readonly alone: boolean
  readonly #ended: () => void
  isReady = false
  ready = READY
  go = (): void => undefined
  #isOver = false

  constructor(alone: boolean, ended: () => void) {
    this.alone = alone
    this.#ended = ended
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#ended()
    this.isReady = false
  }
}
