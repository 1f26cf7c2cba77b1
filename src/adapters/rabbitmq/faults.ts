// What stands in the way of using RabbitMQ: one sentence for each, with the way out. A start and `twofold doctor` say the same.
import { TwofoldError } from '../../errors.ts'

/** The connection was made, and the other side did not go on with it as AMQP 0-9-1 does. */
const NOT_AMQP = /closed abruptly|^Frame size|^Invalid frame|Expected ConnectionStart|during handshake|ECONNRESET|EPIPE/

/** A virtual host that cannot be opened; the library keeps to itself what the broker says about it. */
const NOT_OPENED = /Expected ConnectionOpenOk|NOT[_-]ALLOWED/

const TLS = /^EPROTO$|^ERR_SSL_/

/** A certificate that Node does not take; as it names these: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const CERTIFICATE = /CERT|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|PATH_LENGTH/

/** The address is said without its password. An error of Twofold itself stays as it is. */
export function rabbitMqFault(error: unknown, url: string): TwofoldError {
  if (error instanceof TwofoldError) return error
  const said = saidIn(error)
  const { what, way } = explained(said, String((error as { readonly code?: unknown }).code), new URL(url))
  // The broker's own words, without what the library says around them.
  const reason = /with message "(.*)"$/.exec(said)?.[1] ?? (NOT_OPENED.test(said) ? 'it closed the connection' : said)
  return new TwofoldError('BROKER_UNREACHABLE', `${what} (${reason}): ${way}`, { cause: error })
}

/** Nothing answers there, as while a broker is restarted; whatever does answer has said why it does not serve us. */
export function isAway(error: unknown): boolean {
  // By their names: the numbers of these, 403 and 530, stand in ports and addresses as well.
  return !/ACCESS[_-]REFUSED/.test(saidIn(error)) && !NOT_OPENED.test(saidIn(error))
}

function saidIn(error: unknown): string {
  const { code, message, errors } = error as { readonly code?: unknown; readonly message?: string; readonly errors?: readonly unknown[] }
  // A name with several addresses, none of which answers.
  if (message === '' && errors?.[0] !== undefined) return saidIn(errors[0])
  // What OpenSSL says is for its makers.
  if (typeof code === 'string' && TLS.test(code)) return code
  return message === undefined || message === '' ? String(code ?? error) : message.trim()
}

interface Explained {
  readonly what: string
  readonly way: string
}

function explained(said: string, code: string, { host, hostname, protocol, pathname, username }: URL): Explained {
  const user = username === '' ? 'guest' : decoded(username)
  const vhost = pathname.length > 1 ? decoded(pathname.slice(1)) : '/'
  if (/Handshake terminated.*ACCESS[_-]REFUSED/.test(said)) {
    const remote = user === 'guest' && !/^(localhost|127\.|\[::1\])/.test(hostname)
    const hint = remote ? `'guest' is let in from RabbitMQ's own machine alone, so name another user in AMQP_URL` : 'correct AMQP_URL'
    return {
      what: `RabbitMQ at ${host} does not take user '${user}' with this password`,
      way: `${hint}, or set the password with rabbitmqctl`,
    }
  }
  if (NOT_OPENED.test(said))
    return {
      what: `RabbitMQ at ${host} does not let user '${user}' into virtual host '${vhost}': it is not there, or the user has no rights in it`,
      way: `correct AMQP_URL, or use rabbitmqctl add_vhost '${vhost}' and rabbitmqctl set_permissions -p '${vhost}' '${user}' '.*' '.*' '.*'`,
    }
  if (/ACCESS[_-]REFUSED/.test(said)) {
    const right = /QueueDeclare/.test(said) ? 'configure' : /BasicGet|BasicConsume/.test(said) ? 'read' : 'write'
    return {
      what: `user '${user}' has no right to ${right} what it needs in virtual host '${vhost}' of RabbitMQ at ${host}`,
      way: `use rabbitmqctl set_permissions -p '${vhost}' '${user}' to let it configure, write and read the app's queues, and write to amq.default`,
    }
  }
  if (CERTIFICATE.test(code))
    return {
      what: `the certificate of RabbitMQ at ${host} is not trusted`,
      way: 'name its authority in NODE_EXTRA_CA_CERTS, and in AMQP_URL the host that it was made for',
    }
  if (protocol === 'amqps:' && TLS.test(code))
    return {
      what: `what listens at ${host} does not speak TLS`,
      way: 'with amqps:// AMQP_URL must name the port for TLS, 5671; or begin with amqp:// and name 5672',
    }
  if (NOT_AMQP.test(said) || NOT_AMQP.test(code))
    return {
      what: `what listens at ${host} does not speak AMQP 0-9-1 in ${protocol === 'amqps:' ? 'TLS' : 'the clear'}, or has just gone down`,
      way: 'AMQP_URL must name the port for it: 5672 with amqp://, 5671 with amqps://; 15672 is for browsers',
    }
  if (/^Operation failed|^Channel closed by server/.test(said))
    return { what: `RabbitMQ at ${host} refuses what Twofold needs of it`, way: 'mend what it names, or ask who operates it' }
  return {
    what: `RabbitMQ does not answer at ${host}`,
    way: 'start it, correct AMQP_URL, or set TWOFOLD_WHEN_AWAY=log, so that PostgreSQL takes commands meanwhile',
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
