// What clients did and saw, as they saw it. Checkers compare it with what the database holds, or with itself.

/**
 * One line of a history. `invoke`: a client sends. `ok`: it has its answer. `fail`: it was told that nothing happened. `info`: it will
 * never know (a timeout, a broken connection): the effect may have happened, or may still happen. Calling that a failure hides lost writes.
 */
export interface HistoryEntry {
  /** One process does one thing at a time. */
  readonly process: number
  readonly type: 'invoke' | 'ok' | 'fail' | 'info'
  /** What is done, for instance the command's name. */
  readonly f: string
  readonly key: string
  /** Of `invoke` the input, of `ok` the answer. */
  readonly value?: unknown
  /** When, in milliseconds on one monotonic clock. */
  readonly time: number
}

/** An invocation with how it ended. `endedAt` is `Infinity` where nobody knows. */
export interface Operation {
  readonly process: number
  readonly f: string
  readonly key: string
  readonly input: unknown
  readonly output: unknown
  readonly outcome: 'ok' | 'fail' | 'info'
  readonly invokedAt: number
  readonly endedAt: number
}

/** Collects a history, for one run; not shared between processes of the system: times are of this process's monotonic clock. */
export class History {
  readonly #entries: HistoryEntry[] = []

  get entries(): readonly HistoryEntry[] {
    return this.#entries
  }

  /**
   * Runs `call` as an operation of `process`. What it returns is the answer; `isFailure` says which errors mean that nothing happened
   * (default: none, so every error is `info`). Errors end here: a history goes on.
   */
  async record<Answer>(
    at: Pick<HistoryEntry, 'process' | 'f' | 'key' | 'value'>,
    call: () => Promise<Answer>,
    isFailure: (error: unknown) => boolean = () => false,
  ): Promise<Answer | undefined> {
    const { process, f, key } = at
    const note = (type: HistoryEntry['type'], value?: unknown): void =>
      void this.#entries.push({ process, type, f, key, value, time: performance.now() })
    note('invoke', at.value)
    try {
      const answer = await call()
      note('ok', answer)
      return answer
    } catch (error) {
      note(isFailure(error) ? 'fail' : 'info')
      return undefined
    }
  }

  /** A line of JSON per entry, to keep beside a failed run. */
  toLines(): string {
    return this.#entries.map((entry) => JSON.stringify(entry)).join('\n')
  }
}

/**
 * Pairs invocations with their ends, in the order of the invocations. `entries` are in the order in which they were noted. What has no end is
 * `info`, and ends at `Infinity`.
 * @throws Error where a process does two things at a time, or ends what it did not begin
 */
export function operationsOf(entries: readonly HistoryEntry[]): Operation[] {
  const open = new Map<number, HistoryEntry>()
  const operations: Operation[] = []
  const ended = ({ process, f, key, value, time }: HistoryEntry, end?: HistoryEntry): void => {
    const outcome = end === undefined || end.type === 'invoke' ? 'info' : end.type
    const endedAt = outcome === 'info' ? Infinity : (end?.time ?? Infinity)
    operations.push({ process, f, key, input: value, output: end?.value, outcome, invokedAt: time, endedAt })
  }
  for (const entry of entries) {
    const begun = open.get(entry.process)
    if (entry.type === 'invoke') {
      if (begun !== undefined) throw new Error(`process ${entry.process} begins ${entry.f} before its ${begun.f} has ended`)
      open.set(entry.process, entry)
      continue
    }
    if (begun === undefined) throw new Error(`process ${entry.process} ends ${entry.f}, which it has not begun`)
    open.delete(entry.process)
    ended(begun, entry)
  }
  for (const begun of open.values()) ended(begun)
  return operations.toSorted((a, b) => a.invokedAt - b.invokedAt)
}
