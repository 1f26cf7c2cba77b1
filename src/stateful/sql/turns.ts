// Turns at things by name, for several names at once: whoever asks first is first at each of them. All places are taken in one go, so whoever
// waits for one waits only for those who came before at every name: nobody waits in a circle, and nobody is overtaken.

/** A place in the queues of some names. */
export interface Turn {
  /** Resolves when it is this one's turn at all of them. */
  readonly ready: Promise<unknown>
  /** Lets the next ones go on; also before it was ready. */
  end(): void
}

/** Nobody came before. */
const READY: Promise<unknown> = Promise.resolve()

interface Place {
  readonly ended: Promise<unknown>
  readonly party: object | undefined
}

export class Turns<Name> {
  readonly #last = new Map<Name, Place>()

  /** `party`: turns of the same one share a name as long as nobody else has come in between. */
  take(names: Iterable<Name>, party?: object): Turn {
    const { promise: own, resolve: end } = Promise.withResolvers<void>()
    const distinct = new Set(names)
    const before: Promise<unknown>[] = []
    const shared: Promise<unknown>[] = []
    for (const name of distinct) {
      const last = this.#last.get(name)
      if (last !== undefined) (party !== undefined && last.party === party ? shared : before).push(last.ended)
    }
    const ready = before.length === 0 ? READY : Promise.all(before)
    // Whoever comes next waits for those it shared with as well, and for those before it where it is given up early.
    const isFirst = before.length + shared.length === 0
    const place: Place = { party, ended: isFirst ? own : Promise.all([own, ready, ...shared]) }
    for (const name of distinct) this.#last.set(name, place)
    void place.ended.then(() => this.#forget(place, distinct))
    return { ready, end }
  }

  #forget(place: Place, names: ReadonlySet<Name>): void {
    for (const name of names) if (this.#last.get(name) === place) this.#last.delete(name)
  }
}
