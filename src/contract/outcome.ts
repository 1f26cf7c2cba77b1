// The final word on a command.

/** The change happened. `version` is the home entity's version after it. */
export interface Succeeded<Reply> {
  readonly status: 'succeeded'
  readonly reply: Reply
  readonly version: number
  readonly commandId: string
  /** Give it to a query as `after` to see what this command did. */
  readonly consistencyToken?: string
}

/** The business said no, in a way the contract names. Nothing changed. */
export type Rejected<Rejections> = {
  [Code in keyof Rejections & string]: {
    readonly status: 'rejected'
    readonly code: Code
    readonly data: Rejections[Code]
    readonly commandId: string
    readonly consistencyToken?: string
  }
}[keyof Rejections & string]

/** What a caller has to handle. A dead command, a timeout or an unreachable service is thrown as a `TwofoldError` instead. */
export type Outcome<Reply, Rejections> = Succeeded<Reply> | Rejected<Rejections>
