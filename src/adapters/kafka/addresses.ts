// How the addresses of brokers read. Apart from what needs the package: they are looked at before that is loaded.
import { shownValue } from '../../runtime/without-password.ts'

/** What is wrong with them, after "KAFKA_BROKERS is"; undefined: nothing. */
export function brokersFault(value: unknown): string | undefined {
  if (!Array.isArray(value)) return `${shownValue(value)}; it must be a list of brokers, each as host:port`
  if (value.length === 0) return 'empty; it must name one or several brokers as host:port'
  const wrong = value.filter((each) => !isAddress(each))
  if (wrong.length === 0) return undefined
  const among = wrong.length < value.length ? ` (among ${value.length})` : ''
  return `${wrong.map(shownValue).join(', ')}${among}; each broker must read host:port, with a port from 1 to 65535 and nothing before the host`
}

function isAddress(value: unknown): boolean {
  const found = typeof value === 'string' ? /^(?:[^\s:/@[\]]+|\[[0-9a-f:]+\]):(\d{1,5})$/i.exec(value) : null
  return found !== null && Number(found[1]) >= 1 && Number(found[1]) <= 65_535
}
