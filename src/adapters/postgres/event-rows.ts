// How the events of one batch and partition lie in the one row `_event.body`: a line of JSON each, as `encodeEvent` writes it.
import type { EventRecord } from '../../ports/event-log.ts'

/** The body of a row. `JSON.stringify` never emits a raw newline, so a newline separates safely. */
export function encodeEvents(lines: readonly string[]): string {
  return lines.join('\n')
}

/** Reverses `encodeEvents`: the events in order, the last one being number `seq` of the row. */
export function decodeEvents(body: string): EventRecord[] {
  return body.split('\n').map((line) => JSON.parse(line) as EventRecord)
}
