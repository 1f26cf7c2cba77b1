// Files that can be read at a sitting and functions that fit a screen, in numbers.
import type { SourceFile } from './source-program.ts'

/** Over this a file fails, over `fileLinesNoted` it is only listed. Tests and SQL are not counted. */
export const fileLinesMax = 400
export const fileLinesNoted = 300

/** A function over this is listed. */
export const functionLinesNoted = 70

export interface Sizes {
  readonly files: number
  readonly median: number
  readonly p90: number
  readonly largest: string
  /** `path (lines)`, longest first. */
  readonly noted: readonly string[]
  readonly longFunctions: readonly string[]
  readonly tooLong: readonly string[]
}

export function sizesOf(all: readonly SourceFile[]): Sizes {
  const files = all.filter(({ path }) => path.startsWith('src/') && !path.endsWith('.test.ts')).toSorted((a, b) => b.lines - a.lines)
  const lines = files.map((file) => file.lines)
  return {
    files: files.length,
    median: lines[Math.floor(lines.length / 2)] ?? 0,
    p90: lines[Math.floor(lines.length / 10)] ?? 0,
    largest: label(files[0]),
    noted: files.filter((file) => file.lines > fileLinesNoted).map(label),
    tooLong: files.filter((file) => file.lines > fileLinesMax).map(label),
    longFunctions: files.flatMap(({ path, functions }) =>
      functions
        .filter((one) => one.lines > functionLinesNoted)
        .map(({ name, line, lines: length }) => `${path}:${line} ${name} (${length})`),
    ),
  }
}

/** The report as a table of aligned rows. */
export function sizeTable(sizes: Sizes): string {
  const rows: readonly (readonly [string, string])[] = [
    ['files in src', String(sizes.files)],
    ['lines, median', String(sizes.median)],
    ['lines, p90', String(sizes.p90)],
    ['largest', sizes.largest],
    [`over ${fileLinesNoted} lines`, sizes.noted.join('\n') || 'none'],
    [`functions over ${functionLinesNoted}`, sizes.longFunctions.join('\n') || 'none'],
  ]
  return rows.map(([what, value]) => `${what.padEnd(22)}${value.replaceAll('\n', `\n${' '.repeat(22)}`)}`).join('\n')
}

function label(file: SourceFile | undefined): string {
  return file === undefined ? 'none' : `${file.path} (${file.lines})`
}
