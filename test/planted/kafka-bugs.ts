// Bugs in carrying commands through Kafka. See ./bugs.ts.
import type { PlantedBug } from './bugs.ts'

const publisher = 'adapters/kafka/publisher.ts'
const consumer = 'adapters/kafka/consumer.ts'
const carrier = 'adapters/kafka/carrier.ts'
const kafka = 'src/adapters/kafka/kafka.test.ts'
const losses = 'src/adapters/kafka/losses.test.ts'

export const kafkaBugs: readonly PlantedBug[] = [
  {
    name: 'a topic that is removed is noticed by nobody',
    file: carrier,
    find: '    cluster.onTopicLost(() => this.#topicLost())\n',
    replace: '',
    test: kafka,
    claim: 'a topic that is removed is made again',
  },
  {
    name: 'the next topic is read from where the former one was done',
    file: consumer,
    find: '    const lines = [...this.#lines.values()]\n    this.#lines.clear()\n',
    replace: '    const lines: Line[] = []\n',
    test: kafka,
    claim: 'a topic that is made by somebody else in place',
  },
  {
    name: 'an offset counts for whichever topic it is of',
    file: 'adapters/kafka/offsets.ts',
    find: "metadata === '' || metadata === cluster.topicId",
    replace: "metadata === '' || metadata !== ''",
    test: kafka,
    claim: 'an offset of a topic that was removed says',
  },
  {
    name: 'a start waits for no Kafka, whether it may be away or not',
    file: carrier,
    find: 'context.mayBeAway === true &&',
    replace: 'context.mayBeAway !== true &&',
    test: losses,
    claim: 'a Kafka that is away at the start is waited for',
  },
  {
    name: 'what is wrong with a Kafka that comes up late is not told',
    file: carrier,
    find: '|| !isAway(error)) && reason !== told',
    replace: "|| !isAway(error)) && reason === ''",
    test: losses,
    claim: 'what comes up late is checked as well',
  },
  {
    name: 'databases of one app share the topic',
    file: 'adapters/kafka/topology.ts',
    find: '.commands.${databaseId}.${partitionCount}`',
    replace: '.commands.${databaseId.slice(8)}.${partitionCount}`',
    test: 'test/carriers/databases.test.ts',
    claim: 'of two databases of one app each gets its own',
  },
  {
    name: 'a partition with a fault of its own holds up all that its broker leads',
    file: publisher,
    find: '        isPassingFault = true\n',
    replace: '        isPassingFault = true\n        retryMs = this.#retryMs(node) + line.failures * 200\n',
    test: 'src/adapters/kafka/publisher.test.ts',
    claim: 'a partition whose replicas do not keep up',
  },
  {
    name: 'what Kafka refuses at last is told not to be taken, though it had not answered before',
    file: publisher,
    find: 'batch.sendings > 1 ?',
    replace: 'batch.sendings < 1 ?',
    test: 'src/adapters/kafka/publisher.test.ts',
    claim: 'what Kafka refuses after it had not answered',
  },
  {
    name: 'after a batch in doubt its numbers are given again',
    file: publisher,
    find: `        this.#beginAnew(line)
        this.#settle(line, line.batch, inDoubt('Kafka did not confirm it in time'))`,
    replace: `        this.#settle(line, line.batch, inDoubt('Kafka did not confirm it in time'))`,
    test: losses,
    claim: 'a message in doubt makes nobody lose the next one',
  },
  {
    name: 'a batch that was not answered is passed over by what came later',
    file: publisher,
    find: 'line.batch ??= this.#formed(line)',
    replace: 'line.batch = this.#formed(line) ?? line.batch',
    test: losses,
    claim: 'publishing goes on through lost connections',
  },
  {
    name: 'a partition without a committed offset is read from its end',
    file: consumer,
    find: "edgeOf(this.#cluster, fresh, 'first')",
    replace: "edgeOf(this.#cluster, fresh, 'end')",
    test: kafka,
    claim: 'keeps the order of the calls, whoever waits for what',
  },
  {
    name: 'an offset is committed although something before it is not done',
    file: consumer,
    find: 'while (line.inHand[count]?.isDone === true) count += 1',
    replace: 'while (count <= line.inHand.indexOf(inHand)) count += 1',
    test: kafka,
    claim: 'what is not done goes to the next consumer, in order',
  },
  {
    name: 'what is done after its partition was released counts',
    file: consumer,
    find: "    if (inHand.isDone || line.state !== 'fetched') return\n",
    replace: "    line.state = 'fetched'\n",
    test: kafka,
    claim: 'is taken up again in the same process where it was given back',
  },
  {
    name: 'what is in hand is bounded by what is done, committed or not',
    file: consumer,
    find: 'offset >= line.committed + line.inHandMax',
    replace: 'offset >= line.doneTo + line.inHandMax',
    test: kafka,
    claim: 'what is done and not committed yet counts as in hand',
  },
  {
    name: 'a topic that this user may not see is taken for one without partitions',
    file: 'adapters/kafka/cluster.ts',
    find: 'if (topic?.errorCode === codes.TOPIC_AUTHORIZATION_FAILED) throw',
    replace: 'if (topic?.errorCode === codes.UNKNOWN_TOPIC_ID) throw',
    test: 'src/adapters/kafka/faults.test.ts',
    claim: 'a user who may not use the topic is told so',
  },
  {
    name: 'a login that Kafka refuses counts as a broker that is away',
    file: 'adapters/kafka/carrier.ts',
    find: ' && isAway(error)) {',
    replace: ') {',
    test: 'src/adapters/kafka/faults.test.ts',
    claim: 'without one, with a wrong one and with the right one',
  },
]
