// A command asks for a change: what it carries, which entity it names, how it may end.
import type { Plain } from './plain.ts'
import type { RouteOf } from './route.ts'
import type { Schema } from './schema.ts'

/** `result` waits for the outcome; `accepted` answers 202 as soon as the command is durable. */
export type Respond = 'result' | 'accepted'

/** Whether a caller may leave something out. */
export type Need = 'optional' | 'required'

/** The key of one entity, or the keys of several that change together. The first is the home key, by which order is kept. */
export type Keys = string | readonly string[]

/** How a command whose handler throws is tried again. Its key waits meanwhile, all others go on. A rejection is no failure. */
export interface CommandRetry {
  /** After so many the command becomes a dead letter. 1–1000, default 5. */
  readonly attempts: number
  /** The pause is drawn evenly from 0 to a bound that begins here and doubles with every attempt (full jitter). Default 100 ms. */
  readonly minMs: number
  /** The bound grows no further. Default 10,000 ms, at most a day. */
  readonly maxMs: number
  /** So long after the command was sent no further attempt begins, in milliseconds; a day at most. Default `false`: the attempts alone decide. */
  readonly deadlineMs: number | false
}

/** What becomes of a key after its command died: the commands behind it `continue`, or wait (`park`) until an operator lets them go on. */
export type AfterDeath = 'continue' | 'park'

/** What holds of a command that does not say otherwise. */
export const DEFAULT_RETRY: CommandRetry = { attempts: 5, minMs: 100, maxMs: 10_000, deadlineMs: false }

/**
 * Where a broker carries the commands: `perKey` sends those whose result is waited for the same way as all others, so that a client's commands
 * of one key run in the order in which they were answered. `perPath` calls the owner directly, which is faster, and may overtake what waits.
 */
export type CommandOrder = 'perKey' | 'perPath'

/** The types of a command as one record, so that a hover reads as a sentence. */
export interface CommandTypes {
  input: unknown
  parsed: unknown
  key: Keys
  reply: unknown
  rejections: object
  optimistic: unknown
  respond: Respond
}

/** A command as the rest of Twofold sees it. `service` and `name` are filled in by `defineContract`. */
export interface Command<T extends CommandTypes> {
  readonly kind: 'command'
  readonly service: string
  readonly name: string
  readonly route: string | undefined
  readonly input: Schema<T['input'], T['parsed']>
  // oxlint-disable-next-line typescript/no-explicit-any -- an inference position: `Command<any>` must be a usable bound
  readonly key: (input: any, given: { readonly commandId: string }) => Keys
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  readonly reply: Schema<any, any> | undefined
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  readonly rejections: Readonly<Record<string, Rejection<any>>>
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  readonly optimistic: Schema<any, any> | undefined
  readonly respond: Respond
  readonly ifMatch: Need
  readonly idempotency: Need
  readonly retry: CommandRetry
  readonly afterDeath: AfterDeath
  readonly order: CommandOrder
  readonly '~types'?: T
}

/** Any command. */
// oxlint-disable-next-line typescript/no-explicit-any -- the bound of every command
export type AnyCommand = Command<any>

/** A way in which the business may say no. It is an outcome, not a failure: nothing changes and nothing is emitted. */
export interface Rejection<Data = undefined> {
  readonly status: number
  readonly schema: Schema<unknown, Data> | undefined
}

/** A queued command is validated again after a deploy, so a schema must take what it gives. */
type Stable<In, Out, Then> = [Out] extends [In] ? Then : 'the schema must accept its own output: no type-changing transform'

/** Declares a rejection. `status` is the HTTP status it is answered with, 400–499, default 409. */
export function rejection(): Rejection
export function rejection(schema: undefined, options: { status?: number | undefined }): Rejection
// oxlint-disable-next-line typescript/no-explicit-any -- an inference position
export function rejection<Data>(schema: Schema<any, Data>, options?: { status?: number | undefined }): Rejection<Data>
export function rejection(schema?: Schema, options: { status?: number | undefined } = {}): Rejection<unknown> {
  return { status: options.status ?? 409, schema }
}

/** Declares a command. See each field; `input` and `key` are required. */
export function command<
  In,
  Out,
  K extends string | readonly [string, ...string[]] | readonly string[],
  const R extends string = string,
  Reply = undefined,
  // oxlint-disable-next-line typescript/no-empty-object-type -- "no rejections" is exactly the empty object
  Rejections extends object = {},
  Optimistic = undefined,
  Mode extends Respond = 'result',
>(spec: {
  /** `POST /wallets/:walletId/deposits`. Default: `POST /<service>/<command-in-kebab>`. */
  route?: RouteOf<'POST' | 'PUT' | 'PATCH' | 'DELETE', R, Out>
  /** What callers send. Path parameters, query string and body are merged before it is checked. */
  input: Plain<'input', Out, Stable<In, Out, Schema<In, Out>>>
  /** Which entity, or which entities, the command changes. Use `commandId` for an entity it creates: a retry must name the same one. */
  key: (input: Out, given: { readonly commandId: string }) => K
  /** What the handler answers. Left out: no reply. */
  // oxlint-disable-next-line typescript/no-explicit-any -- an inference position
  reply?: Plain<'reply', Reply, Schema<any, Reply>>
  /** The ways in which the business may say no, by code. */
  rejections?: { [C in keyof Rejections]: Rejection<Rejections[C]> }
  /** The body of the 202, made by the stateless side. Default: the command's id and where to ask for its outcome. */
  // oxlint-disable-next-line typescript/no-explicit-any -- an inference position
  optimistic?: Plain<'optimistic', Optimistic, Schema<any, Optimistic>>
  /** `result` waits for the outcome, `accepted` answers 202 once the command is durable. The client may ask for the other. Default `result`. */
  respond?: Mode
  /** `required`: callers must say which version they change, or that they create (If-Match, If-None-Match: *); 428 without. Default `optional`. */
  ifMatch?: Need
  /** `required`: callers must send an Idempotency-Key; 400 without. Default `optional`. */
  idempotency?: Need
  /** How a command whose handler throws is tried again. Default: 5 attempts, 100 ms to 10 s apart. */
  retry?: Partial<CommandRetry>
  /** `park`: after a command died, those behind it on its key wait for an operator (`select twofold.release_key(…)`). Default `continue`. */
  afterDeath?: AfterDeath
  /**
   * With RabbitMQ or Kafka between the two sides: `perPath` calls the owner directly where the result is waited for; it may then run before
   * commands of its key that were accepted earlier. Default `perKey`.
   */
  order?: CommandOrder
}): Command<{ input: In; parsed: Out; key: K; reply: Reply; rejections: Rejections; optimistic: Optimistic; respond: Mode }> {
  const answers = { respond: 'result', rejections: {}, reply: undefined, optimistic: undefined }
  const defaults = { ...answers, route: undefined, ifMatch: 'optional', idempotency: 'optional', afterDeath: 'continue', order: 'perKey' }
  return { ...defaults, ...spec, retry: { ...DEFAULT_RETRY, ...spec.retry }, kind: 'command', service: '', name: '' } as never
}
