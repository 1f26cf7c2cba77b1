// How the events of one batch and partition lie in the one row `_event.body`: a first line with what they share, then a line for each.
import { decodeEvent, type EventRecord, type PackedEvents } from '../../ports/event-log.ts'

/** The body of a row. `JSON.stringify` never emits a raw newline, so a newline separates safely. */
export function encodeEvents({ time, kinds, lines }: PackedEvents): string {
  const head = { time, kinds: kinds.map(({ service, name, shape }) => [service, name, shape]) }
  return `${JSON.stringify(head)}\n${lines.join('\n')}`
}

/** Reverses `encodeEvents`: the events in order, the last one being number `seq` of the row. */
export function decodeEvents(body: string): EventRecord[] {
  const [first = '', ...lines] = body.split('\n')
  const head = JSON.parse(first) as { time: number; kinds: [string, string, number][] }
  const kinds = head.kinds.map(([service, name, shape]) => ({ service, name, shape }))
  return lines.map((line) => decodeEvent(line, { time: head.time, kinds }))
}
