// A command on its way: the one wire form that every carrier transports and the engine runs.
import type { Condition } from './condition.ts'

/**
 * A command as it travels. `input` is JSON text, not an object: a batch that has to be run again must start from the very same
 * input, and a handler may have kept and changed the first copy.
 */
export interface Envelope {
  /** Ours, uuidv7 on the database clock. Never the caller's Idempotency-Key. */
  readonly id: string
  readonly service: string
  readonly command: string
  /** The home key first. */
  readonly keys: readonly string[]
  /** The parsed input as JSON text. */
  readonly input: string
  /** The caller's Idempotency-Key, scoped and hashed, with what it was used for. */
  readonly claim?: Claim
  /** What must hold of the home entity when the command runs. */
  readonly condition?: Condition
  /** The W3C trace context of its request, as it came. */
  readonly traceparent?: string
  /** The row of PostgreSQL's log where the whole command lies: a broker carries this in its place where it is too large for it. */
  readonly inRow?: string
}

/** An Idempotency-Key in use. Both fields are SHA-256 in hexadecimal. */
export interface Claim {
  /** Of tenant, caller, service, command and key. */
  readonly hash: string
  /** Of the request itself; the same key with another fingerprint is a mistake of the caller. */
  readonly fingerprint: string
}

/** One line of text: the head as JSON, a tab, the input. `JSON.stringify` never emits a raw tab or newline, so both separate safely. */
export function encodeEnvelope(envelope: Envelope): string {
  const { id, service, command, keys, input, claim, condition, traceparent, inRow } = envelope
  // Put together by hand, which costs a third of `JSON.stringify`: of these only a key can hold anything that JSON escapes.
  let head = `{"id":"${id}","service":"${service}","command":"${command}","keys":${JSON.stringify(keys)}`
  if (claim !== undefined) head += `,"claim":${JSON.stringify(claim)}`
  if (condition !== undefined) head += `,"condition":${JSON.stringify(condition)}`
  if (traceparent !== undefined) head += `,"traceparent":${JSON.stringify(traceparent)}`
  if (inRow !== undefined) head += `,"inRow":"${inRow}"`
  return `${head}}\t${input}`
}

/** Reverses `encodeEnvelope`. */
export function decodeEnvelope(line: string): Envelope {
  const tab = line.indexOf('\t')
  const envelope = JSON.parse(line.slice(0, tab)) as { -readonly [Field in keyof Envelope]: Envelope[Field] }
  envelope.input = line.slice(tab + 1)
  return envelope
}
