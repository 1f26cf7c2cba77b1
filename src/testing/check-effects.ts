// What must hold of commands and their effects after any run, however many processes died in it. Each checker returns a sentence for every
// violation it finds, up to twenty and how many more there are, and nothing where all is well. None throws.

/** An effect as it was stored. */
export interface Effect {
  readonly commandId: string
  readonly key: string
  /** The entity's version after it. */
  readonly version: number
}

/** So many violations are spelled out; a broken run has thousands. */
const SPOKEN_MAX = 20

/**
 * Everything that was accepted is finished once, and nothing is finished that nobody sent. All three are ids of commands, in any order.
 * `unknown`: sent, and the answer never came; they may be finished or not. `finished`: one entry for each end, so that a second one shows.
 */
export function checkFinished(given: {
  readonly accepted: readonly string[]
  readonly unknown?: readonly string[]
  readonly finished: readonly string[]
}): string[] {
  const finished = new Set(given.finished)
  const sent = new Set([...given.accepted, ...(given.unknown ?? [])])
  const lost = given.accepted.filter((id) => !finished.has(id))
  const invented = given.finished.filter((id) => !sent.has(id))
  const again = given.finished.filter((id) => !finished.delete(id))
  return bounded([
    ...lost.map((id) => `command ${id} was accepted and never finished`),
    ...again.map((id) => `command ${id} is finished more than once`),
    ...invented.map((id) => `command ${id} is finished, and nobody has sent it`),
  ])
}

/** No command has two effects on the same key. `effects`: all that are stored, in any order. */
export function checkOnce(effects: readonly Effect[]): string[] {
  const seen = new Set<string>()
  const twice = effects.filter(({ commandId, key }) => {
    const effect = JSON.stringify([commandId, key])
    return seen.size === seen.add(effect).size
  })
  return bounded(twice.map(({ commandId, key }) => `command ${commandId} took effect more than once on '${key}'`))
}

/**
 * The versions of each key are 1, 2, 3 … without a gap and without a repetition. `effects`: all that are stored since the key's first one, in
 * any order. Of each key the first fault is told. That its newest effect is missing leaves no gap: `checkFinished` sees that.
 */
export function checkVersions(effects: readonly Effect[]): string[] {
  const faults: string[] = []
  for (const [key, own] of Map.groupBy(effects, (effect) => effect.key)) {
    const versions = own.map(({ version }) => version).toSorted((a, b) => a - b)
    const wrong = versions.findIndex((version, at) => version !== at + 1)
    if (wrong >= 0) faults.push(`'${key}' has version ${versions[wrong]} where ${wrong + 1} was due`)
  }
  return bounded(faults)
}

/**
 * Commands of one client and one key took effect in the order in which they were acknowledged. `acknowledged` is in that order; commands
 * without an effect (rejected ones) are passed over. `effects`: all that are stored, in any order. For a command of several keys `key` is its
 * home key: order is promised for that one.
 */
export function checkOrder(
  acknowledged: readonly { readonly commandId: string; readonly client: string; readonly key: string }[],
  effects: readonly Effect[],
): string[] {
  const versions = new Map(effects.map(({ commandId, key, version }) => [JSON.stringify([commandId, key]), version]))
  const faults: string[] = []
  const last = new Map<string, { readonly commandId: string; readonly version: number }>()
  for (const { commandId, client, key } of acknowledged) {
    const version = versions.get(JSON.stringify([commandId, key]))
    if (version === undefined) continue
    const place = JSON.stringify([client, key])
    const before = last.get(place)
    if (before !== undefined && before.version > version)
      faults.push(
        `command ${commandId} (version ${version} of '${key}') was acknowledged after ${before.commandId} (version ${before.version})`,
      )
    last.set(place, { commandId, version })
  }
  return bounded(faults)
}

/** Amounts, by whatever name, add up to what was put in, and none is below zero. Whole numbers, cents for instance: sums of fractions are not exact. */
export function checkSum(amounts: Readonly<Record<string, number>>, total: number): string[] {
  const sum = Object.values(amounts).reduce((all, each) => all + each, 0)
  const below = Object.entries(amounts).filter(([, amount]) => amount < 0)
  return bounded([
    ...(sum === total ? [] : [`all amounts add up to ${sum}, not to ${total}`]),
    ...below.map(([name, amount]) => `'${name}' is ${amount}, below zero`),
  ])
}

/** Everybody who sent the same Idempotency-Key was told the same. Answers are compared as JSON. */
export function checkRepeats(answers: readonly { readonly idempotencyKey: string; readonly answer: unknown }[]): string[] {
  const first = new Map<string, string>()
  const faults: string[] = []
  for (const { idempotencyKey, answer } of answers) {
    const text = JSON.stringify(answer)
    const before = first.get(idempotencyKey)
    if (before === undefined) first.set(idempotencyKey, text)
    else if (before !== text) faults.push(`Idempotency-Key '${idempotencyKey}' was answered ${before}, and then ${text}`)
  }
  return bounded(faults)
}

function bounded(faults: readonly string[]): string[] {
  const rest = faults.length - SPOKEN_MAX
  return rest > 0 ? [...faults.slice(0, SPOKEN_MAX), `and ${rest} more`] : [...faults]
}
