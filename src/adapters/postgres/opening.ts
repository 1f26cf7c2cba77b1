// How a transaction begins: with the first statement that is said in it, in the same message. So beginning costs no round trip of its own, and
// where it is refused the server skips that statement: nothing ever runs outside of the transaction.
import { Refusal, type Answers, type RoundTrips, type Statement } from './round-trip.ts'

export class Opening {
  readonly #trips: RoundTrips
  readonly #beginning: readonly Statement[]
  readonly #onBegun: (() => Promise<void>) | undefined
  #hasBegun: boolean
  #refusal: Refusal | undefined
  #first: Promise<Answers> | undefined

  /** `beginning`: what begins it; nothing where it has begun. `onBegun`: awaited before the first answer is given. */
  constructor(trips: RoundTrips, beginning: readonly Statement[] = [], onBegun?: () => Promise<void>) {
    this.#trips = trips
    this.#beginning = beginning
    this.#onBegun = onBegun
    this.#hasBegun = beginning.length === 0
  }

  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /** Whether anything was sent: otherwise there is nothing to roll back. */
  get isSaid(): boolean {
    return this.#hasBegun || this.#first !== undefined
  }

  /** Why it did not begin. */
  get refusal(): Refusal | undefined {
    return this.#refusal
  }

  /**
   * Once its first statement is answered, or could not be said. What was said behind that one waits for it and is on its way by then: whoever
   * ends the transaction waits as well, or those would run behind its end, outside of any.
   */
  async settled(): Promise<void> {
    await this.#first?.catch(() => undefined)
  }

  /** The answers of `statements` alone. */
  send(statements: readonly Statement[]): Promise<Answers> {
    if (this.#hasBegun) return this.#trips.send(statements)
    return this.#first === undefined ? this.#begin(statements) : this.#afterFirst(this.#first, statements)
  }

  async #afterFirst(first: Promise<Answers>, statements: readonly Statement[]): Promise<Answers> {
    await first
    return this.#refusal ?? this.#trips.send(statements)
  }

  #begin(statements: readonly Statement[]): Promise<Answers> {
    const answered = async (answer: Answers): Promise<Answers> => {
      const own = this.#answered(answer)
      if (this.#hasBegun) await this.#onBegun?.()
      return own
    }
    this.#first = this.#trips.send([...this.#beginning, ...statements]).then(answered, (error: unknown) => {
      // Nothing was sent: a value cannot be said. The next one begins.
      this.#first = undefined
      throw error
    })
    return this.#first
  }

  #answered(answer: Answers): Answers {
    const said = this.#beginning.length
    if (!(answer instanceof Refusal)) {
      this.#hasBegun = true
      return answer.slice(said)
    }
    if (answer.done < said) return (this.#refusal = answer)
    this.#hasBegun = true
    return new Refusal(answer.error, answer.done - said)
  }
}
