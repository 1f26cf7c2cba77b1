// What the compiler says about wrong programs. `@ts-expect-error` would only prove that it says something.
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const FOLDER = 'test/types/wrong'

interface Said {
  readonly at: string
  readonly code: string
  readonly words: string
}

/** `// expect TS2741: words | more words` speaks of the next line. */
function expectations(): { at: string; code: string; words: string[] }[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.ts'))
    .flatMap((name) =>
      readFileSync(`${FOLDER}/${name}`, 'utf8')
        .split('\n')
        .flatMap((line, index) => {
          const [, code, words] = /\/\/ expect (TS\d+): (.+)$/.exec(line) ?? []
          return code === undefined || words === undefined ? [] : [{ at: `${name}:${index + 2}`, code, words: words.split(' | ') }]
        }),
    )
}

async function compile(args: readonly string[]): Promise<Said[]> {
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, ['node_modules/typescript/bin/tsc', '--pretty', 'false', ...args], { maxBuffer: 1e7 }, (_, stdout) =>
      resolve(stdout),
    )
  })
  return output.split(/\n(?=\S)/).flatMap((message) => {
    const [, file, line, code, words] = /^(\S+?)\((\d+),\d+\): error (TS\d+): ([^]*)$/.exec(message) ?? []
    return file === undefined || code === undefined || words === undefined ? [] : [{ at: `${file.split('/').at(-1)}:${line}`, code, words }]
  })
}

test('every wrong program is refused with words that name what is wrong', { timeout: 60_000 }, async () => {
  const wanted = expectations()
  const said = await compile(['-p', FOLDER])
  expect(wanted.length).toBeGreaterThan(30)
  expect(said.map(({ at, code }) => `${at} ${code}`).toSorted()).toEqual(wanted.map(({ at, code }) => `${at} ${code}`).toSorted())
  for (const { at, words } of wanted) {
    const found = said.find((each) => each.at === at)?.words ?? ''
    for (const word of words) expect(found, at).toContain(word)
  }
})

test('right programs compile with exactOptionalPropertyTypes off as well', { timeout: 60_000 }, async () => {
  const said = await compile(['-p', '.', '--exactOptionalPropertyTypes', 'false'])
  expect(said).toEqual([])
})
