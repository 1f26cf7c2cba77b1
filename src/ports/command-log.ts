// The durable way of a command from the stateless to the stateful side. PostgreSQL is one; brokers are others.
import type { Envelope } from '../contract/envelope.ts'

/** What a log can do, as data: the engine and the conformance suite read the same object. */
export interface CommandLogFeatures {
  /** In which scope the order of acknowledgement is kept. */
  readonly order: 'per-key'
  /** Whether a keyed command's claim is stored in the very transaction that stores the command. */
  readonly claimsWithAppend: boolean
  /**
   * Whether it can be asked for what waits in it by a command's id. Where not, callers are told the ids of commands that were taken, or may have
   * been (IN_DOUBT), and no others: nobody could tell them more of those.
   */
  readonly findsById: boolean
}

/** The first answer to a keyed request, kept so that a repeated one gets the same bytes. */
export interface StoredAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** It was given to one who had waited for the outcome in vain: whoever repeats that request gets it again, however long he would wait. */
  readonly afterWait?: true | undefined
}

/** An Idempotency-Key that was used before. `answer` is missing where the outcome itself is the answer. */
export interface StoredClaim {
  readonly commandId: string
  readonly fingerprint: string
  readonly answer: StoredAnswer | undefined
}

/** What is appended: the command, and for a keyed one the answer to store beside its claim. */
export interface LogEntry {
  readonly envelope: Envelope
  readonly answer?: StoredAnswer | undefined
  /** It may have begun already, on a way whose end nobody has heard of: it is taken however much waits, so that its outcome can be told. */
  readonly begun?: boolean | undefined
}

/** `appended`: durable. `claimed`: the key was used before, nothing was appended; `claim` tells by which command. */
export type Appended = { readonly status: 'appended' } | { readonly status: 'claimed'; readonly claim: StoredClaim }

export interface CommandLog {
  readonly name: string
  readonly features: CommandLogFeatures
  /**
   * Resolves once the command is durable.
   * @throws TwofoldError UNAVAILABLE (the log cannot be reached; nothing is known to be stored), OVERLOADED (too much waits in this process),
   * BACKLOG_FULL (too much waits in the log), STORAGE_FULL (the disk is full), IN_DOUBT (it may take effect all the same, and its outcome can
   * be asked for).
   */
  append(entry: LogEntry): Promise<Appended>
  /**
   * Makes sure that the command of a claim was appended: whoever claimed it may have ended before that. Only where a claim is not stored
   * with its command (`features.claimsWithAppend` false). The same command may then be there twice, which its id makes harmless.
   * @throws TwofoldError as `append` does
   */
  appendAgain?(hash: string, commandId: string): Promise<void>
}
