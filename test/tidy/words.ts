// What must not be left behind in a file that is committed, and disable comments that say why.

interface Forbidden {
  readonly what: string
  readonly pattern: RegExp
}

// Written with a gap, so that this file does not find itself.
const forbidden: readonly Forbidden[] = [
  { what: 'unfinished work', pattern: /\b(?:TO[D]O|FIX[M]E|XX[X])\b/ },
  { what: 'a type error hidden instead of mended', pattern: /@ts-(?:ignor[e]|nochec[k])/ },
  { what: 'a test that runs alone or not at all', pattern: /\b(?:test|it|describe|suite)(?:\.\w+)*\.(?:only|skip|todo)\b/ },
  { what: 'a path of one machine', pattern: /(?<![\w.:/~-])\/(?:home|Users|root|work|tmp|var\/folders)\/[\w.-]/ },
  { what: 'a disable comment without a reason', pattern: /(?:oxlint|eslint)-disable(?!.* -- \S)/ },
]

/** One sentence for each thing in `text` that must not be there. */
export function wordsLeftBehind(path: string, text: string): string[] {
  return text
    .split('\n')
    .flatMap((line, index) =>
      forbidden.filter(({ pattern }) => pattern.test(line)).map(({ what }) => `${path}:${index + 1} has ${what}: ${line.trim()}`),
    )
}
