// How far a command is: `GET /commands/{id}`, also with `?wait=N` or `Prefer: wait=N` seconds for its outcome.
import type { FastifyReply, FastifyRequest } from 'fastify'
import { TwofoldError } from '../../errors.ts'
import type { Outcomes, StoredOutcome } from '../../ports/outcomes.ts'
import { formatToken } from '../../ports/projections.ts'
import { jsonAnswer, type Answer } from './answer.ts'
import type { Gateway } from './commands.ts'
import { preferencesOf } from './prefer.ts'
import { queryStringOf } from './query-string.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** The handler of the status route. */
export function commandStatusHandler(gateway: Gateway): (request: FastifyRequest, reply: FastifyReply) => Promise<Answer> {
  return async (request, reply) => {
    // A host that knows its callers says no by throwing here, as it does for commands and queries.
    await gateway.options.principal?.(request)
    const id = (request.params as { id: string }).id.toLowerCase()
    const waitMs = waitMsOf(request, gateway.limits.waitMsMax)
    const answer = UUID.test(id) ? await statusOfCommand(gateway, id, waitMs, reply) : undefined
    if (!answer)
      throw new TwofoldError('UNKNOWN_COMMAND', `there is no command with the id '${id.slice(0, 100)}', or its outcome is no longer kept`)
    return answer
  }
}

async function statusOfCommand(gateway: Gateway, id: string, waitMs: number, reply: FastifyReply): Promise<Answer | undefined> {
  const { outcomes } = gateway.ports
  const now = await statusNow(outcomes, id)
  // An id that nobody knows is not waited for.
  if (!now?.pending || waitMs === 0) return now?.answer
  const wait = gateway.waiting.begin(waitMs)
  try {
    wait.whileConnected(reply)
    const outcome = await outcomes.find(id, wait.remainingMs, wait.signal).catch((error: unknown) => {
      if (!wait.signal.aborted) throw error
      return undefined
    })
    return outcome ? answerOfFinished(outcome) : ((await statusNow(outcomes, id)) ?? now).answer
  } finally {
    wait.end()
  }
}

async function statusNow(outcomes: Outcomes, id: string): Promise<{ answer: Answer; pending: boolean } | undefined> {
  const finished = await outcomes.find(id, 0)
  if (finished) return { answer: answerOfFinished(finished), pending: false }
  const pending = await outcomes.pending(id)
  if (pending) return { answer: answerOfPending(id, pending), pending: true }
  // It may have finished between the two questions: then nobody holds it any more, and its outcome is there.
  const late = await outcomes.find(id, 0)
  return late && { answer: answerOfFinished(late), pending: false }
}

function answerOfPending(commandId: string, { status, attempts }: { status: 'queued' | 'running'; attempts: number }): Answer {
  return jsonAnswer(JSON.stringify({ commandId, status, attempts }), { 'retry-after': '1', 'cache-control': 'no-store' })
}

function answerOfFinished(outcome: StoredOutcome): Answer {
  const { id: commandId, service, command, status, version, finishedAt } = outcome
  const head = JSON.stringify({ commandId, service, command, status, version, consistencyToken: formatToken(outcome), finishedAt })
  // Replies and data are JSON text already: they are set in as they are stored.
  return jsonAnswer(`${head.slice(0, -1)}${partOf(outcome)}}`, {
    'cache-control': 'no-store',
    'twofold-command-id': commandId,
    'twofold-consistency-token': formatToken(outcome),
  })
}

function partOf({ status, code, body }: StoredOutcome): string {
  if (status === 'succeeded') return body === undefined ? '' : `,"reply":${body}`
  const coded = `"code":${JSON.stringify(code)}`
  if (status === 'rejected') return `,"rejection":{${coded}${body === undefined ? '' : `,"data":${body}`}}`
  // The message stays with the operators' dead letter: it is the words of an exception.
  const { attempts } = JSON.parse(body ?? '{}') as { attempts?: number }
  return `,"error":${JSON.stringify({ code: 'COMMAND_DEAD', attempts })}`
}

function waitMsOf(request: FastifyRequest, maxMs: number): number {
  const given = queryStringOf(request.url).get('wait')
  if (given === undefined) return Math.min((preferencesOf(request.headers['prefer']).wait ?? 0) * 1000, maxMs)
  if (typeof given === 'string' && /^\d{1,9}$/.test(given)) return Math.min(Number(given) * 1000, maxMs)
  throw new TwofoldError('BAD_REQUEST', `'wait' must be a whole number of seconds, not '${String(given).slice(0, 100)}'`)
}
