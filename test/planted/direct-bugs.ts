// Bugs in calls between instances. See ./bugs.ts.
import type { PlantedBug } from './bugs.ts'

const calls = 'src/adapters/direct/direct-calls.test.ts'
const peer = 'adapters/direct/peer.ts'
const caller = 'adapters/direct/caller.ts'
const door = 'adapters/direct/door.ts'

export const directBugs: readonly PlantedBug[] = [
  {
    name: 'calls that are lost are made again without end',
    file: 'adapters/direct/circuit.ts',
    find: '    this.#left -= 1\n',
    replace: '',
    test: calls,
    claim: 'calls that are lost are made again in bounds',
  },
  {
    name: 'whoever calls without the secret is let in',
    file: door,
    find: 'if (!timingSafeEqual(digest(authorization), this.#expected)) return this.#refuse(request, response, 401)\n',
    replace: '\n',
    test: calls,
    claim: 'without the secret nothing is served',
  },
  {
    name: 'a command is taken from whoever meant another instance',
    file: door,
    find: 'if (meant !== instanceId) return this.#refuse(request, response, 421)\n',
    replace: '\n',
    test: calls,
    claim: 'an address that another instance has by now gets no command',
  },
  {
    name: 'a connection whose line never ends is read on',
    file: 'adapters/direct/lines.ts',
    find: '      if (this.#rest.length > this.#charactersMax) throw this.#tooLong()\n      return []',
    replace: '      return []',
    test: 'src/adapters/direct/lines.test.ts',
    claim: 'a line that is too long is refused',
  },
  {
    name: 'an instance runs the commands of keys it does not own',
    file: caller,
    find: "    if (!engine.reaches(envelope)) return { status: 'moved', owner: ownerOf(envelope) }\n",
    replace: '',
    test: calls,
    claim: 'whoever is called by mistake says who owns the key',
  },
  {
    name: 'a command is run after its deadline',
    file: caller,
    find: "    if (waitMs !== undefined && waitMs <= 0) return { status: 'deferred' }\n",
    replace: '',
    test: calls,
    claim: 'a command that comes after its deadline is left alone',
  },
  {
    name: 'a call is carried on for ever',
    file: 'adapters/direct/direct-calls.ts',
    find: 'hop <= HOPS_MAX',
    replace: 'hop <= HOPS_MAX * 100',
    test: calls,
    claim: 'two that point at each other are asked a bounded number of times',
  },
  {
    name: 'what was sent on a connection that ended counts as never sent',
    file: peer,
    find: "settle({ status: 'lost', begun: sent })",
    replace: "settle({ status: 'lost', begun: sent && false })",
    test: calls,
    claim: 'when the owner ends, what it had may have begun',
  },
  {
    name: 'silence counts while nobody waits',
    file: 'adapters/direct/peer.ts',
    find: '    this.#heardAt = performance.now()\n    this.#listening =',
    replace: '    this.#listening =',
    test: 'src/adapters/direct/direct-calls.test.ts',
    claim: 'a slow command on a connection that was idle',
  },
  {
    name: 'a silent owner is waited for',
    file: peer,
    find: 'if (silentMs > SILENT_MS_MAX) this.#lost',
    replace: 'if (silentMs > SILENT_MS_MAX * 1000) this.#lost',
    test: calls,
    claim: 'an owner that is silent is not waited for',
  },
  {
    name: 'an owner that cannot be reached is tried for each call',
    file: 'adapters/direct/circuit.ts',
    find: 'this.#openUntil = performance.now() + openMs',
    replace: 'void openMs',
    test: calls,
    claim: 'an owner that cannot be connected to is tried once',
  },
  {
    name: 'calls queue up without end at an owner that does not answer',
    file: peer,
    find: 'this.#pending.size >= PENDING_MAX || ',
    replace: '',
    test: calls,
    claim: 'more than an owner may owe one caller goes to the log',
  },
  {
    name: 'what may have begun elsewhere is refused like what is new',
    file: 'stateless/gateway/commands.ts',
    find: 'begun = result.begun === true',
    replace: 'begun = false',
    test: 'src/stateless/gateway/commands.test.ts',
    claim: 'what may have begun elsewhere is taken by the log',
  },
]
