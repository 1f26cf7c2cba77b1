// What stands in the way of using Kafka: one sentence for each, with the way out. A start and `twofold doctor` say the same.
import { TwofoldError } from '../../errors.ts'

/** `KAFKA_BROKERS` cannot say more than where they are. */
const BY_CARRIER = 'with kafkaCarrier of twofold/kafka, as KAFKA_BROKERS names hosts alone'

const TLS = /^EPROTO$|^ERR_SSL_/

/** A certificate that Node does not take; as it names these: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const CERTIFICATE = /CERT|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|PATH_LENGTH/

/** An error of Twofold itself stays as it is. */
export function kafkaFault(error: unknown, brokers: readonly string[]): TwofoldError {
  if (error instanceof TwofoldError) return error
  const { reason, code } = innermost(error)
  const { what, way } = explained(reason, code, brokers.join(', '))
  return new TwofoldError('BROKER_UNREACHABLE', `${what} (${reason}): ${way}`, { cause: error })
}

/** It answers, and does not let us do what is needed: waiting does not help. */
const REFUSED = /requires TLS|TLS handshake failed|_AUTHORIZATION_FAILED|AUTHENTICATION|SASL/i

/** Nothing answers as Kafka does, as while it is restarted; whoever refuses a login, a right or a certificate is there. */
export function isAway(error: unknown): boolean {
  const { reason, code } = innermost(error)
  return !REFUSED.test(`${reason} ${code}`) && !CERTIFICATE.test(code) && !TLS.test(code)
}

/** What the library says around the reason is its own affair. */
function innermost(error: unknown): { readonly reason: string; readonly code: string } {
  const { errors, cause, message, code } = error as {
    readonly errors?: readonly unknown[]
    readonly cause?: unknown
    readonly message?: string
    readonly code?: unknown
  }
  if (errors?.[0] !== undefined) return innermost(errors[0])
  if (cause !== undefined) return innermost(cause)
  // What OpenSSL says is for its makers.
  const reason = TLS.test(String(code)) ? String(code) : (message ?? String(error)) || String(code)
  return { reason: reason.replace(/\.$/, ''), code: String(code) }
}

function explained(reason: string, code: string, at: string): { readonly what: string; readonly way: string } {
  if (/requires TLS/.test(reason))
    return { what: `Kafka at ${at} wants to be spoken to by TLS`, way: `set tls ${BY_CARRIER}; or name its port without TLS` }
  if (CERTIFICATE.test(code))
    return {
      what: `the certificate of Kafka at ${at} is not trusted`,
      way: 'give its authority as tls.ca, and name the host that it was made for',
    }
  if (TLS.test(code) || /TLS handshake failed/.test(reason))
    return { what: `what listens at ${at} does not speak TLS`, way: 'name the port for TLS, or leave tls out' }
  if (/_AUTHORIZATION_FAILED/.test(reason))
    return {
      what: `this user has no right at Kafka (${at}) to do what is needed`,
      way: 'give it those to describe, make, read and write the topic and its settings, and to read the group of the same name',
    }
  if (/AUTHENTICATION|SASL/i.test(`${reason} ${code}`))
    return { what: `Kafka at ${at} does not take this login`, way: 'correct mechanism, username and password of sasl' }
  // A broker that wants another beginning just closes the connection, or waits for the rest of what is no request to it.
  if (/^Connection closed|Request timed out|correlation_id|ECONNRESET|EPIPE/.test(`${reason} ${code}`))
    return {
      what: `what listens at ${at} does not answer as Kafka does in the clear and without a login`,
      way: `name Kafka's own port in KAFKA_BROKERS; where it wants TLS or a login, set tls and sasl ${BY_CARRIER}; or it has only just gone down`,
    }
  return { what: `Kafka does not answer at ${at}`, way: 'start it, or set KAFKA_BROKERS to where it is' }
}
