// How a queue that is there differs from the one that is asked for, as RabbitMQ tells it: it names the first argument that does.

export interface Difference {
  readonly argument: string
  /** As the queue has it; undefined: not at all. */
  readonly current: string | undefined
  readonly wanted: string | undefined
}

/**
 * For instance `inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none`, or
 * `received 'true' but current is 'false'`. Undefined: it speaks of something else.
 */
export function differenceIn(message: string): Difference | undefined {
  const value = String.raw`(?:none|(?:the value )?'([^']*)'(?: of type '[^']*')?)`
  const found = new RegExp(`inequivalent arg '([^']+)' .*: received ${value} but current is ${value}`).exec(message)
  if (found?.[1] === undefined) return undefined
  return { argument: found[1], wanted: found[2], current: found[3] }
}

/** For people, after "the queue". */
export function saidDifference({ argument, current, wanted }: Difference): string {
  if (current === undefined) return `it was made without '${argument}', which is to be '${wanted}'`
  return `its '${argument}' is '${current}' and not ${wanted === undefined ? 'left out' : `'${wanted}'`}`
}
