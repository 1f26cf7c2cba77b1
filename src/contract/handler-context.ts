// What a handler of the stateful side is given besides state and input.
import type { DataOf } from './define-contract.ts'

// Properties and not strings: go-to-definition and rename reach the contract, completion lists them, a typo gets "Did you mean".
/** Emits a fact. It is stored in the transaction that stores the effect, and forgotten if the command rejects or throws. */
export type Emit<Events> = { readonly [N in keyof Events]: (data: DataOf<Events[N]>) => void }

/** Ends the command: nothing changes, nothing is emitted. Write `return reject.x()`, so that the compiler narrows after it. */
export type Reject<Rejections> = {
  readonly [N in keyof Rejections]: Rejections[N] extends undefined ? () => never : (data: Rejections[N]) => never
}

/** What every handler gets. */
export interface HandlerContext<Events, Rejections> {
  /** The home key. With `commandId` as a key, this is how the handler learns its name. */
  readonly key: string
  /** Ours, uuidv7. */
  readonly commandId: string
  /** When this attempt runs; the same for a whole batch. */
  readonly now: Date
  /** The W3C `traceparent` of the command's request, whichever way it was carried, for what the handler logs or emits; undefined: it had none. */
  readonly traceparent: string | undefined
  readonly emit: Emit<Events>
  readonly reject: Reject<Rejections>
}

/** Thrown by `reject.x()`. A plain class: an Error would collect a stack trace that nobody reads (0.1 µs against 2.3 µs). */
export class RejectedByHandler {
  readonly code: string
  readonly data: unknown

  constructor(code: string, data: unknown) {
    this.code = code
    this.data = data
  }
}
