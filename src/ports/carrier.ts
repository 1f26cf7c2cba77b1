// A broker between the two sides. It keeps messages, by partition and in order, until the owner has committed what they ask for; it decides
// nothing: what has run is known by the outcomes in PostgreSQL alone.
import { encodeEnvelope, type Envelope } from '../contract/envelope.ts'

/** What a carrier can do, as data: the engine, `twofold doctor` and the conformance suite read the same object. */
export interface CarrierFeatures {
  /** Whether what was published outlives the broker's restart. */
  readonly durable: boolean
  /** Whether a reply can go back the way the message came (`request`); otherwise callers learn of outcomes from PostgreSQL. */
  readonly replies: boolean
  /** How large one message may be, in bytes. */
  readonly messageBytesMax: number
  /**
   * Whether the broker itself keeps a second consumer of a partition waiting. Where not, both get its messages until the first releases it, and
   * the lease alone says whose effects count.
   */
  readonly exclusive: boolean
  /** Whether what is in hand stays so when the connection is lost. Where not, it is delivered again, and `done` of the former delivery says nothing. */
  readonly keepsInHand: boolean
}

/** One command on its way; see `carriedMessage`. */
export interface CarriedMessage {
  /** The command's id. */
  readonly id: string
  readonly partition: number
  /** `service`, a NUL, and the home key: what is kept in order. */
  readonly key: string
  /** The command as `encodeEnvelope` writes it. */
  readonly body: string
}

/** A message in the owner's hands. */
export interface Delivery {
  readonly body: string
  /** It has been delivered before, or may have been. */
  readonly redelivered: boolean
  /** Somebody asked for it with `request`, and waits. */
  readonly wantsReply: boolean
  /** Its effect is committed: it is not delivered again. `reply` goes to whoever asked with `request`. Does nothing once its partition was released. */
  done(reply?: string): void
}

/** What a carrier is opened with. */
export interface CarrierContext {
  /** The app's name: part of every name at the broker, so that several apps share one. */
  readonly app: string
  /** Stands for the app's database, 8 hexadecimal digits: part of every name as well, so that an app with another database takes none of these commands. */
  readonly databaseId: string
  readonly partitionCount: number
  readonly instanceId: string
  /** How long an owner may be silent before others take its partitions, in milliseconds: the broker should give it up no later. */
  readonly leaseMs: number
  /** So many messages may wait at the broker, all partitions together; beyond it `publish` refuses. */
  readonly waitingMax: number
  /** So long a command may be under way, in milliseconds; older ones are not run any more, and no message needs to be kept longer. */
  readonly carriedMsMax: number
  /**
   * Whether `open` resolves also where the broker cannot be reached: then it is away until it is, and is checked as soon as it answers. Default: it rejects.
   */
  readonly mayBeAway?: boolean | undefined
  /** Tells an operator what goes on: structured first, then a sentence. */
  readonly warn: (fields: object, message: string) => void
}

/** A connection to the broker that mends itself: while it is away `publish` refuses at once, and consumers wait. */
export interface OpenCarrier {
  /**
   * Resolves once the broker has the message durably. Messages of one partition are kept in the order of the calls, also when an older
   * one has to be sent again.
   * @throws TwofoldError IN_DOUBT (its confirmation did not come: the broker may have the message); where it certainly does not: UNAVAILABLE (it is
   * away), BACKLOG_FULL (too much waits), OVERLOADED (too much waits in this process), BODY_TOO_LARGE. Anything else counts as IN_DOUBT.
   */
  publish(message: CarriedMessage): Promise<void>
  /**
   * Publishes and waits for the reply, which is what its consumer gave to `done`. Only where `features.replies`.
   * Rejects with the signal's reason when it is aborted; a reply that comes later is dropped and counted. `onConfirmed` is called once the
   * broker has the message durably: whatever happens after that, it need not be published again.
   * @throws TwofoldError as `publish` does; also IN_DOUBT when the way back is lost
   */
  request?(message: CarriedMessage, signal?: AbortSignal, onConfirmed?: () => void): Promise<string>
  /**
   * Delivers a partition's messages in order, at most `inHandMax` that are not done at a time. Where `features.exclusive`, one consumer in the whole
   * cluster gets them: a second one waits until the first releases, or is gone. Goes on by itself after the broker was away, with everything that is not done, in order;
   * while it is away this resolves at once, and messages come when it is back. Where not `features.keepsInHand`, `onAnew` is called before the first delivery
   * on each new connection: what was delivered before comes again, if it is not done.
   */
  consume(partition: number, deliver: (delivery: Delivery) => void, inHandMax: number, onAnew?: () => void): Promise<void>
  /**
   * Nothing of it is delivered any more from the call on; once this resolves, what is not done goes to the next consumer, in order. `consume`
   * may be called again then. Of a partition that is not consumed: nothing happens.
   */
  release(partition: number): Promise<void>
  /** How many messages wait in each of these partitions, those in hand included; a partition that cannot be asked is left out. */
  waiting(partitions: readonly number[]): Promise<ReadonlyMap<number, number>>
  /** Whether messages can be published right now. */
  readonly isAway: boolean
  /** For tests (the action `drop` of crash points): its connections are lost in this moment, as in a network that breaks. */
  drop?(): void
  /** Waits for confirmations that are under way, a few seconds at most, then closes. */
  close(): Promise<void>
}

/** A kind of broker, and how to connect to it. */
export interface Carrier {
  /** As in `carrier: 'rabbitmq'`. */
  readonly name: string
  readonly features: CarrierFeatures
  /**
   * Connects and makes sure that the topology is there.
   * @throws TwofoldError BROKER_UNREACHABLE (not where `mayBeAway`), INVALID_TOPOLOGY: one sentence with the way out.
   */
  open(context: CarrierContext): Promise<OpenCarrier>
}

/** A command as it is handed to a broker. */
export function carriedMessage(envelope: Envelope, partition: number): CarriedMessage {
  const { id, service, keys } = envelope
  return { id, partition, key: `${service}\0${keys[0] ?? ''}`, body: encodeEnvelope(envelope) }
}
