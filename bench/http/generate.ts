// The process that makes HTTP load: gets one job after the other from the process that started it, and answers each with what it did.
import { randomUUID } from 'node:crypto'
import { accountName } from '../bank.ts'
import { newHistogram, loadOf } from '../load.ts'
import { HttpConnection, getOf, postOf, type HttpAnswer } from './connection.ts'
import type { Job, JobDone } from './job.ts'

const ACCOUNTS = 10_000

/** Node's timers are exact to a millisecond or two: how late a request leaves for that reason is no time that a server took. */
const TIMER_MS = 2

/** What was asked of every server: credits of 1 to 9 cents. */
export function centsOf(at: number): number {
  return 1 + (at % 9)
}

/** One job. Latencies count from when a request was due, so that a server that stalls is charged for all who wait. */
class Generation {
  readonly #job: Job
  readonly #histogram = newHistogram()
  readonly #connections: HttpConnection[]
  readonly #idle: HttpConnection[]
  readonly #started = performance.now()
  readonly #name = randomUUID()
  readonly #finished: (done: JobDone) => void
  readonly #cpu = process.cpuUsage()
  /** When each request was due that found no idle connection, oldest first. */
  readonly #late: number[] = []
  #sent = 0
  #answered = 0
  #cents = 0
  #sending = true

  constructor(job: Job, finished: (done: JobDone) => void) {
    this.#job = job
    this.#finished = finished
    this.#connections = Array.from({ length: job.connections }, () => new HttpConnection(job.port, fail))
    this.#idle = [...this.#connections]
    setTimeout(() => this.#stopSending(), job.seconds * 1000)
    if (job.rate !== undefined) this.#arrive(job.rate)
    else for (const connection of this.#idle.splice(0)) this.#send(connection, performance.now())
  }

  /** Sends what is due by now, and comes again a millisecond later. */
  #arrive(rate: number): void {
    const now = performance.now()
    if (!this.#sending) return
    const due = Math.floor(((now - this.#started) / 1000) * rate)
    for (let at = this.#sent + this.#late.length; at < due; at += 1) {
      const dueAt = this.#started + (at / rate) * 1000
      const from = now - dueAt <= TIMER_MS ? now : dueAt
      const connection = this.#idle.pop()
      if (connection) this.#send(connection, from)
      else this.#late.push(from)
    }
    setTimeout(() => this.#arrive(rate), 1)
  }

  #send(connection: HttpConnection, dueAt: number): void {
    const at = this.#sent
    this.#sent += 1
    const { command, keyed, untilVisible } = this.#job
    const key = keyed === true ? `${this.#name}-${at}` : undefined
    const request = postOf(`/accounts/${accountName((at * 7919) % ACCOUNTS)}/${command}`, `{"cents":${centsOf(at)}}`, key)
    connection.send(request, (answer) => {
      if (answer.status !== (command === 'credits' ? 200 : 202)) return fail(new Error(`answered ${answer.status}: ${answer.body}`))
      this.#cents += centsOf(at)
      if (untilVisible === true) this.#awaitOutcome(connection, answer)
      else this.#done(connection, dueAt)
    })
  }

  #awaitOutcome(connection: HttpConnection, { body }: HttpAnswer): void {
    const acceptedAt = performance.now()
    const { location } = JSON.parse(body) as { location: string }
    connection.send(getOf(`${location}?wait=10`), (answer) => {
      if (!answer.body.includes('"status":"succeeded"')) return fail(new Error(`an accepted command ended as ${answer.body}`))
      this.#done(connection, acceptedAt)
    })
  }

  #done(connection: HttpConnection, from: number): void {
    const now = performance.now()
    this.#histogram.recordValue(Math.round((now - from) * 1000))
    this.#answered += 1
    // What was due and found no idle connection is sent after the end too: those that waited longest must not go unmeasured.
    const next = this.#sending ? now : undefined
    const dueAt = this.#job.rate === undefined ? next : this.#late.shift()
    if (dueAt !== undefined) this.#send(connection, dueAt)
    else this.#idle.push(connection)
    if (!this.#sending && this.#answered === this.#sent) this.#finish()
  }

  #stopSending(): void {
    this.#sending = false
    if (this.#answered === this.#sent) this.#finish()
  }

  #finish(): void {
    const { user, system } = process.cpuUsage(this.#cpu)
    for (const connection of this.#connections) connection.close()
    const load = loadOf(this.#histogram, this.#answered, this.#started)
    this.#finished({ ...load, cents: this.#cents, loadCpuUs: (user + system) / this.#answered })
  }
}

function fail(error: Error): void {
  process.send?.({ failed: error.message }, () => process.exit(1))
}

process.on('message', (job: Job) => new Generation(job, (done) => process.send?.(done)))
process.on('disconnect', () => process.exit(0))
