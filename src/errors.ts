// Every error Twofold throws: one class, a union of stable codes, an advice each. HTTP statuses are mapped in the gateway.

/** What a caller may do about an error: `never` retry as it is, retry with `backoff`, or let an `operator` mend something first. */
export type RetryAdvice = 'never' | 'backoff' | 'operator'

/** Every code with its advice. docs/reference/errors.md explains each; a test compares the two. */
export const errorAdvice = {
  // What the caller sent.
  MALFORMED_JSON: 'never',
  INVALID_INPUT: 'never',
  BODY_TOO_LARGE: 'never',
  UNSUPPORTED_MEDIA_TYPE: 'never',
  METHOD_NOT_ALLOWED: 'never',
  NOT_FOUND: 'never',
  UNKNOWN_COMMAND: 'never',
  INVALID_IDEMPOTENCY_KEY: 'never',
  IDEMPOTENCY_KEY_REQUIRED: 'never',
  IDEMPOTENCY_KEY_REUSED: 'never',
  IDEMPOTENCY_KEY_IN_USE: 'backoff',
  PRECONDITION_REQUIRED: 'never',
  PRECONDITION_FAILED: 'never',
  PRECONDITION_UNSUPPORTED: 'never',
  INVALID_CONSISTENCY_TOKEN: 'never',
  BAD_REQUEST: 'never',
  // How a command or a call ended.
  REJECTED: 'never',
  COMMAND_DEAD: 'operator',
  OUTCOME_TIMEOUT: 'backoff',
  NOT_CAUGHT_UP: 'backoff',
  OVERLOADED: 'backoff',
  BACKLOG_FULL: 'backoff',
  KEY_BACKLOG_FULL: 'backoff',
  STORAGE_FULL: 'backoff',
  UNAVAILABLE: 'backoff',
  IN_DOUBT: 'backoff',
  SHUTTING_DOWN: 'backoff',
  UNREACHABLE: 'backoff',
  INTERNAL: 'operator',
  // Inside the stateful side.
  INVALID_KEY: 'never',
  HANDLER_FAILED: 'operator',
  EXPIRED: 'operator',
  HANDLER_MISUSED: 'never',
  STATE_TOO_NEW: 'operator',
  FENCED: 'backoff',
  // What stands in the way of a start.
  INVALID_APP: 'never',
  INVALID_OPTIONS: 'never',
  INVALID_ENVIRONMENT: 'operator',
  DATABASE_UNREACHABLE: 'operator',
  DATABASE_READ_ONLY: 'operator',
  DATABASE_FORBIDDEN: 'operator',
  DATABASE_TOO_OLD: 'operator',
  SCHEMA_TOO_NEW: 'operator',
  SCHEMA_CHANGED: 'operator',
  APP_MISMATCH: 'operator',
  CARRIER_MISMATCH: 'operator',
  DATABASE_COPIED: 'operator',
  PROJECTION_CHANGED: 'operator',
  BROKER_UNREACHABLE: 'operator',
  INVALID_TOPOLOGY: 'operator',
  DATA_FOLDER_IN_USE: 'operator',
  DATA_FOLDER_UNUSABLE: 'operator',
  EMBEDDED_POSTGRES_FAILED: 'operator',
  PORT_TAKEN: 'operator',
} as const satisfies Record<string, RetryAdvice>

/** A stable name of what went wrong; safe to branch on. */
export type ErrorCode = keyof typeof errorAdvice

/** What may accompany an error. */
export interface ErrorDetails {
  readonly cause?: unknown
  /** The command the error is about, where there is one: its outcome can be asked for by this id. */
  readonly commandId?: string | undefined
  /** When a retry may help, in seconds. */
  readonly retryAfterSeconds?: number | undefined
  /** Faults of an input, by JSON pointer. */
  readonly faults?: readonly { readonly path: string; readonly message: string }[] | undefined
  /** The problem document a server answered with (RFC 9457). */
  readonly problem?: unknown
}

/** The one error class. Branch on `code`; the message says what failed, what was given, what is allowed and what to do. */
export class TwofoldError extends Error {
  override readonly name = 'TwofoldError'
  readonly code: ErrorCode
  readonly commandId: string | undefined
  readonly retryAfterSeconds: number | undefined
  readonly faults: ErrorDetails['faults']
  readonly problem: unknown

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.commandId = details.commandId
    this.retryAfterSeconds = details.retryAfterSeconds
    this.faults = details.faults
    this.problem = details.problem
  }

  get retry(): RetryAdvice {
    return errorAdvice[this.code]
  }
}

/** Whether `error` is a `TwofoldError`, with this code if one is given. */
export function isTwofoldError(error: unknown, code?: ErrorCode): error is TwofoldError {
  return error instanceof TwofoldError && (code === undefined || error.code === code)
}
