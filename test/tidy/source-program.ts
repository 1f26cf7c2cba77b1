// The sources as the tidy tests see them: parsed by TypeScript itself, from the disk or, for planted faults, from memory.
import { relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Node, SourceFile as ParsedFile } from 'typescript/unstable/ast'
import { isBlock, isExportDeclaration, isImportDeclaration, SyntaxKind } from 'typescript/unstable/ast'
import { isCallExpression, isStringLiteral } from 'typescript/unstable/ast/is'
import { createVirtualFileSystem } from 'typescript/unstable/fs'
import { API, SymbolFlags, type Project } from 'typescript/unstable/sync'

/** The repository's root. */
export const root = resolve(fileURLToPath(import.meta.url), '../../..')

/** One import or export-from. `line` counts from 1. */
export interface Import {
  readonly specifier: string
  readonly line: number
  readonly typeOnly: boolean
}

/** One function with a body of its own. */
export interface FunctionSize {
  readonly name: string
  readonly line: number
  readonly lines: number
}

export interface SourceFile {
  /** From the root, with forward slashes. */
  readonly path: string
  readonly text: string
  readonly lines: number
  readonly imports: readonly Import[]
  readonly functions: readonly FunctionSize[]
}

/** One name that an entry point exports. */
export interface Export {
  readonly name: string
  readonly documented: boolean
  readonly declaredIn: string
}

export interface SourceProgram {
  readonly files: readonly SourceFile[]
  /** Every export reachable from this file, re-exports followed to their declaration. */
  exportsOf(path: string): readonly Export[]
}

/** The repository as tsconfig.json includes it. */
export function readRepository(): SourceProgram {
  return readProgram(root, new API({ cwd: root }))
}

/** A repository that exists in memory only: `files` by path from its root. */
export function readFixture(files: Readonly<Record<string, string>>): SourceProgram {
  const config = JSON.stringify({ compilerOptions: { module: 'nodenext', noLib: true, allowImportingTsExtensions: true, noEmit: true } })
  const placed = Object.entries({ 'tsconfig.json': config, ...files }).map(([path, text]) => [`/fixture/${path}`, text] as const)
  return readProgram('/fixture', new API({ cwd: '/fixture', fs: createVirtualFileSystem(Object.fromEntries(placed)) }))
}

/** Reads everything at once, so that the compiler's process can end here. */
function readProgram(folder: string, api: API): SourceProgram {
  try {
    const project = api.updateSnapshot({ openProjects: [`${folder}/tsconfig.json`] }).getProjects()[0]
    if (project === undefined) throw new Error(`the compiler opened no project in ${folder}`)
    const names = project.program.getSourceFileNames().filter((name) => name.startsWith(`${folder}/`) && !name.includes('/node_modules/'))
    const parsed = names.map((name) => project.program.getSourceFile(name)).filter((file) => file !== undefined)
    const exports = new Map(parsed.map((file) => [pathIn(folder, file.fileName), exportsIn(folder, file, project)]))
    return {
      files: parsed.map((file) => describe(pathIn(folder, file.fileName), file)),
      exportsOf(path) {
        const found = exports.get(path)
        if (found === undefined) throw new Error(`${path} is not among the sources`)
        return found
      },
    }
  } finally {
    api.close()
  }
}

function pathIn(folder: string, name: string): string {
  return relative(folder, name).replaceAll('\\', '/')
}

function describe(path: string, file: ParsedFile): SourceFile {
  const starts = lineStarts(file.text)
  const imports: Import[] = []
  const functions: FunctionSize[] = []
  const visit = (node: Node): undefined => {
    const found = importIn(node)
    if (found !== undefined) imports.push({ ...found, line: lineAt(starts, node.end) })
    const body = 'body' in node && isNode(node.body) && isBlock(node.body) ? node.body : undefined
    if (body !== undefined && node.kind !== SyntaxKind.ModuleDeclaration) functions.push(sizeOf(node, body, starts))
    node.forEachChild(visit)
    return undefined
  }
  visit(file)
  return { path, text: file.text, lines: starts.length - (file.text.endsWith('\n') ? 1 : 0), imports, functions }
}

function importIn(node: Node): Omit<Import, 'line'> | undefined {
  if (isImportDeclaration(node)) {
    return isStringLiteral(node.moduleSpecifier)
      ? { specifier: node.moduleSpecifier.text, typeOnly: node.importClause?.phaseModifier === SyntaxKind.TypeKeyword }
      : undefined
  }
  if (isExportDeclaration(node)) {
    const specifier = node.moduleSpecifier
    return specifier !== undefined && isStringLiteral(specifier) ? { specifier: specifier.text, typeOnly: node.isTypeOnly } : undefined
  }
  if (isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword) {
    const specifier = node.arguments[0]
    return specifier !== undefined && isStringLiteral(specifier) ? { specifier: specifier.text, typeOnly: false } : undefined
  }
  return undefined
}

function sizeOf(node: Node, body: Node, starts: readonly number[]): FunctionSize {
  const name = 'name' in node && isNode(node.name) && 'text' in node.name ? String(node.name.text) : 'a function without a name'
  const opening = lineAt(starts, body.pos + 1)
  return { name, line: opening, lines: lineAt(starts, node.end) - opening + 1 }
}

function exportsIn(folder: string, file: ParsedFile, project: Project): readonly Export[] {
  const { checker } = project
  const module = checker.getSymbolAtLocation(file)
  if (module === undefined) return []
  return checker.getExportsOfModule(module).map((symbol) => {
    const target = (symbol.flags & SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol)
    const declaredIn = target.declarations?.[0]?.path ?? file.fileName
    return { name: symbol.name, documented: target.getDocumentationComment(checker).trim() !== '', declaredIn: pathIn(folder, declaredIn) }
  })
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'kind' in value && 'pos' in value
}

function lineStarts(text: string): readonly number[] {
  return [0, ...[...text.matchAll(/\n/g)].map((match) => match.index + 1)]
}

/** The line, counted from 1, that holds the character before `end`. */
function lineAt(starts: readonly number[], end: number): number {
  return starts.findLastIndex((start) => start < end) + 1
}
