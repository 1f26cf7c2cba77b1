// What a command needs of the process it runs in.
export interface Terminal {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** As in `process.versions.node`. */
  readonly nodeVersion: string
  /** Whether a person looks at the output and has not asked for plain text (https://no-color.org). */
  readonly colours: boolean
  /** How wide it is, where a person looks at the output; lines are not broken otherwise. */
  readonly columns?: number | undefined
  write(text: string): void
  exitCode(code: number): void
}
