// What the harness and a peer's process say to each other: one line of JSON in, lines of JSON out. The last one is the answer.

/** What a peer is asked to do. */
export interface Order {
  /** An empty database of its own, on the server that everything else is measured on. */
  readonly url: string
  /** How long the load is measured, in seconds. */
  readonly seconds: number
  /** How many callers send, each waiting for its effect before it sends again. */
  readonly callers: number
  /** How much the peer does at once; what that means is its own, and stands in its README. */
  readonly concurrency: number
  /** An empty folder for what it starts beside PostgreSQL; removed afterwards. */
  readonly scratch: string
}

/** What it has measured. It speaks of a number only once it has verified its result. */
export interface Measured {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** The median of a caller that is alone. */
  readonly p50MsAlone: number
  readonly nodeCpuUs: number
  readonly postgresCpuUs?: number
  readonly verified: true
  /** What the peer does not guarantee, or leaves to its user. */
  readonly lacks: string
  /** Servers it has started or used, with their versions. */
  readonly versions: Readonly<Record<string, string>>
}

export type Answer = { readonly measured: Measured } | { readonly failed: string } | { readonly progress: string }
