// Reading one's own write: has every read model seen what a command did?

/** A position in the event log: `partition` and the number of its last event. Written `12.345`. */
export interface ConsistencyToken {
  readonly partition: number
  readonly eventSeq: number
}

export interface ProjectionProgress {
  /** Waits until every projection over this service has passed the token; false when `timeoutMs` went by first. */
  caughtUp(service: string, token: ConsistencyToken, timeoutMs: number, signal?: AbortSignal): Promise<boolean>
}

/** The token as it travels in the `Twofold-Consistency-Token` header. */
export function formatToken(token: ConsistencyToken): string {
  return `${token.partition}.${token.eventSeq}`
}

/** Reverses `formatToken`; `undefined` for anything else. */
export function parseToken(text: string): ConsistencyToken | undefined {
  const match = /^(\d{1,5})\.(\d{1,15})$/.exec(text)
  return match ? { partition: Number(match[1]), eventSeq: Number(match[2]) } : undefined
}
