// Bugs in carrying commands over RabbitMQ. See ./bugs.ts.
import type { PlantedBug } from './bugs.ts'

const losses = 'src/adapters/rabbitmq/losses.test.ts'
const confirmations = 'src/adapters/rabbitmq/publisher.test.ts'
const publisher = 'adapters/rabbitmq/publisher.ts'
const link = 'adapters/rabbitmq/link.ts'

export const rabbitMqBugs: readonly PlantedBug[] = [
  {
    name: 'databases of one app share the queues',
    file: 'adapters/rabbitmq/topology.ts',
    find: '.commands.${databaseId}.${partitionCount}.${partition}`',
    replace: '.commands.${databaseId.slice(8)}.${partitionCount}.${partition}`',
    test: 'test/carriers/databases.test.ts',
    claim: 'of two databases of one app each gets its own',
  },
  {
    name: 'nobody is told that what was delivered comes again on a new connection',
    file: 'adapters/rabbitmq/consumers.ts',
    find: '      wanted.onAnew?.()\n',
    replace: '',
    test: losses,
    claim: 'who consumes is told that a new connection',
  },
  {
    name: 'who leaves a channel hears nothing of the death of its connection',
    file: 'adapters/rabbitmq/closed.ts',
    find: "    closing.once('close', done)\n    closing.once('error', done)\n",
    replace: '',
    test: losses,
    claim: 'a partition is released while its connection dies',
  },
  {
    name: 'the answer to a close is waited for, however long it takes',
    file: 'adapters/rabbitmq/closed.ts',
    find: 'setTimeout(resolve, CLOSE_MS_MAX)',
    replace: 'setTimeout(() => undefined, CLOSE_MS_MAX)',
    test: losses,
    claim: 'a channel that the broker says nothing of is not waited for',
  },
  {
    name: 'a lost connection to RabbitMQ is not made anew',
    file: link,
    find: '    this.#mending = this.#mend()\n',
    replace: '',
    test: losses,
    claim: 'connections that are dropped are lost',
  },
  {
    name: 'what was consumed on a lost connection is not consumed on the next one',
    file: 'adapters/rabbitmq/consumers.ts',
    find: '    for (const wanted of this.#wanted.values()) void this.#join(wanted)\n',
    replace: '',
    test: losses,
    claim: 'connections that are dropped are lost',
  },
  {
    name: 'a connection that does not get ready is waited for',
    file: link,
    find: 'await Promise.race([onUp(connection, givenUp.signal), ended]).finally',
    replace: 'await Promise.race([onUp(connection, givenUp.signal), ended.catch(() => new Promise<never>(() => undefined))]).finally',
    test: losses,
    claim: 'a connection that does not get ready is given up',
  },
  {
    name: 'a channel that publishes and is closed alone stays closed',
    file: publisher,
    find: '      queueMicrotask(() => this.#options.stuck(`the channel that publishes was closed (${String(reason)})`))\n',
    replace: '',
    test: losses,
    claim: 'when the broker closes the channel that publishes',
  },
  {
    name: 'a channel of replies that is closed alone stays closed',
    file: 'adapters/rabbitmq/replies.ts',
    find: '      void this.#openAgain(connection, reason)\n',
    replace: '',
    test: losses,
    claim: 'when the broker closes the channel of replies',
  },
  {
    name: 'a carrier that is closed opens its channel of replies again',
    file: 'adapters/rabbitmq/rabbitmq-carrier.ts',
    find: '    this.#consumers.lost()\n    await Promise.all',
    replace: '    await Promise.all',
    test: losses,
    claim: 'one that is closed opens nothing again',
  },
  {
    name: 'a queue that does not confirm takes the connection down',
    file: publisher,
    find: 'if (now - this.#confirmedAt >= this.#confirmMsMax) return',
    replace: 'if (now > 0) return',
    test: confirmations,
    claim: 'a queue that does not confirm holds up its own partition alone',
  },
  {
    name: 'whatever RabbitMQ refuses is told not to be taken',
    file: publisher,
    find: 'reject(isFull ? full()',
    replace: 'reject(isFull || partition >= 0 ? full()',
    test: losses,
    claim: 'a message that the broker refuses though its queue is not full is in doubt',
  },
]
