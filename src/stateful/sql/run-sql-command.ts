// Runs the handler of one SQL command in the transaction it is given. Whatever it emits is kept aside until its effect is stored.
import type { AnyCommand } from '../../contract/command.ts'
import type { Envelope } from '../../contract/envelope.ts'
import { RejectedByHandler } from '../../contract/handler-context.ts'
import { PRECONDITION_UNSUPPORTED } from '../../contract/condition.ts'
import type { Transaction } from '../../ports/database.ts'
import { checked, emitted, mapEach, misused, rejected, rejecters, unknown, type Emitted, type Ran } from '../engine/run-command.ts'
import type { SqlHandlerWatch } from '../engine/watchdog.ts'
import type { AnySqlContext, AnySqlHandler, AnyStatefulSql } from '../stateful-sql.ts'

interface Ready {
  readonly command: AnyCommand
  readonly handler: AnySqlHandler
  readonly reject: AnySqlContext['reject']
}

/** What one run is given. */
export interface SqlRunGiven {
  readonly tx: Transaction
  readonly signal: AbortSignal
  readonly now: Date
}

/** The commands of one SQL side, ready to run. */
export class SqlCommandRunner {
  readonly #side: AnyStatefulSql
  readonly #commands: ReadonlyMap<string, Ready>
  readonly #watch: SqlHandlerWatch | undefined

  constructor(side: AnyStatefulSql, watch?: SqlHandlerWatch) {
    this.#side = side
    this.#watch = watch
    this.#commands = new Map(
      Object.values(side.contract.commands).map((command) => {
        const handler = side.handlers[command.name]
        if (handler === undefined) throw misused(`command ${command.service}.${command.name} has no handler`)
        return [command.name, { command, handler, reject: rejecters(command) }]
      }),
    )
  }

  /** The contract's part of that name, if this program knows one. */
  command(name: string): AnyCommand | undefined {
    return this.#commands.get(name)?.command
  }

  /** Validates the input again (it may have been queued before a deploy) and runs the handler. Never throws. */
  async run({ id, command: name, keys, input, condition, traceparent }: Envelope, { tx, signal, now }: SqlRunGiven): Promise<Ran> {
    const known = this.#commands.get(name)
    if (known === undefined) return { status: 'failed', error: unknown(this.#side.contract.name, name) }
    // A gateway refuses it before. It may have been taken while the service still had entities, or by a program that did not know.
    if (condition !== undefined) return { status: 'rejected', code: PRECONDITION_UNSUPPORTED, data: undefined }
    const { command, handler, reject } = known
    const events: Emitted[] = []
    let over = false
    const emit = mapEach(this.#side.contract.events, (event) => (data: unknown): void => {
      if (over) throw misused('emit was called after its handler had ended; a handler does everything before it returns')
      events.push(emitted(event, data))
    })
    // Until it has ended by itself, also when it was cut: what goes on in the background can hold the thread as well.
    const left = this.#watch?.entered(id)
    try {
      const parsed = checked(command.input, JSON.parse(input), `the input of ${command.service}.${name}`)
      const reply = await handler(parsed, { key: keys[0] ?? '', keys, commandId: id, now, traceparent, emit, reject, tx, signal })
      const text = command.reply && JSON.stringify(checked(command.reply, reply, `the reply of ${command.service}.${name}`))
      return { status: 'succeeded', reply: text, events }
    } catch (error) {
      return error instanceof RejectedByHandler ? rejected(command, error) : { status: 'failed', error }
    } finally {
      left?.()
      over = true
    }
  }
}
