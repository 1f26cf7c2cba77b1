// How an address of RabbitMQ reads. Apart from what needs its package: it is looked at before that is loaded.
import { shownValue } from '../../runtime/without-password.ts'

/** What is wrong with it, after "AMQP_URL is"; undefined: nothing. */
export function amqpUrlFault(value: unknown): string | undefined {
  const url = typeof value === 'string' ? URL.parse(value) : null
  const fits = url !== null && /^amqps?:$/.test(url.protocol) && url.hostname !== '' && url.port !== '0'
  // In a password # and ? end the address, and what is left of it may look like one.
  if (fits && url.hash === '' && !url.search.includes('@')) return undefined
  const given = shownValue(value)
  const hint = given.includes('***') ? ', with # as %23, ? as %3F, @ as %40 and / as %2F in the password' : ''
  return `${given}; it must read amqp://user:password@host:5672/vhost or amqps://…${hint}`
}
