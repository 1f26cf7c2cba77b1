// The npm packages that brokers need: optional, and loaded when a broker is chosen.
import { TwofoldError } from '../errors.ts'

const packages = { rabbitmq: 'amqplib', kafka: '@platformatic/kafka' } as const

/** Loads what needs the package of a broker. @throws TwofoldError INVALID_OPTIONS where that is not installed */
export async function withPackageOf<Loaded>(broker: keyof typeof packages, load: () => Promise<Loaded>): Promise<Loaded> {
  const name = packages[broker]
  try {
    return await load()
  } catch (error) {
    const { code, message = '' } = error as { readonly code?: unknown; readonly message?: string }
    if (code !== 'ERR_MODULE_NOT_FOUND' || !message.includes(`'${name}'`)) throw error
    const sentence = `carrier '${broker}' needs the package ${name}, which is not installed: npm install ${name}`
    throw new TwofoldError('INVALID_OPTIONS', sentence, { cause: error })
  }
}
