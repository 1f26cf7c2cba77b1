// What users of the package see when they hover: every name an entry point exports has a doc comment.
import type { SourceProgram } from './source-program.ts'

/** One sentence for each export of these entry points that has no doc comment. */
export function undocumentedExports(program: SourceProgram, entryPoints: readonly string[]): string[] {
  return entryPoints.flatMap((path) =>
    program
      .exportsOf(path)
      .filter(({ documented }) => !documented)
      .map(({ name, declaredIn }) => `${path} exports '${name}' (${declaredIn}), which has no doc comment`),
  )
}
