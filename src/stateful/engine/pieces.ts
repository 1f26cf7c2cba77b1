// Splits a batch where it must be split: commands whose keys have several owners take row locks first, in a transaction of their own.
import { cellKey } from './cells.ts'
import type { Work } from './work.ts'

/** The most commands that hold row locks together. */
export const CROSS_BATCH_MAX = 256

/** A part of a batch with a commit of its own. `cross`: some key may be written by another owner, so rows are locked before they are read. */
export interface Piece {
  readonly cross: boolean
  readonly works: Work[]
  /** Log rows whose last command is in this piece. */
  readonly consumed: string[]
}

/** Its first `taken` commands, and the rest of them. A log row goes with its last command. */
export function cutAfter({ cross, works, consumed }: Piece, taken: number): { readonly begun: Piece; readonly rest: Piece } {
  const later = works.slice(taken)
  const laterRows = rowsOf(later)
  return {
    begun: { cross, works: works.slice(0, taken), consumed: consumed.filter((row) => !laterRows.has(row)) },
    rest: { cross, works: later, consumed: consumed.filter((row) => laterRows.has(row)) },
  }
}

export function halves({ cross, works, consumed }: Piece): Piece[] {
  const middle = works.length >> 1
  return [
    { cross, works: works.slice(0, middle), consumed: [] },
    { cross, works: works.slice(middle), consumed },
  ]
}

/** The log rows that these came in. */
export function rowsOf(works: readonly Work[]): ReadonlySet<string> {
  return new Set(works.flatMap(({ origin }) => (origin.from === 'log' ? [origin.row] : [])))
}

/**
 * Keeps the order of every home key: once a command of a key is in a cross piece, all later ones of that key are too, and the
 * cross pieces run after the plain one. A log row is consumed by the last piece that has a command of it, so that a crash in
 * between repeats the row, and the outcomes already stored make that harmless.
 */
export function splitPieces(works: readonly Work[], rows: readonly string[], isCross: (work: Work) => boolean): Piece[] {
  const crossKeys = new Set<string>()
  const pieces: Piece[] = [{ cross: false, works: [], consumed: [] }]
  const lastPiece = new Map<string, Piece>()
  for (const work of works) {
    const { service, keys } = work.envelope
    const cross = (crossKeys.size > 0 && crossKeys.has(cellKey(service, keys[0] ?? ''))) || isCross(work)
    if (cross) crossKeys.add(cellKey(service, keys[0] ?? ''))
    let piece = cross ? pieces.at(-1) : pieces[0]
    if (piece === undefined || piece.cross !== cross || (cross && piece.works.length >= CROSS_BATCH_MAX)) {
      piece = { cross, works: [], consumed: [] }
      pieces.push(piece)
    }
    piece.works.push(work)
    const { origin } = work
    if (origin.from === 'log' && pieces.indexOf(piece) >= pieces.indexOf(lastPiece.get(origin.row) ?? piece))
      lastPiece.set(origin.row, piece)
  }
  for (const row of rows) (lastPiece.get(row) ?? pieces[0])?.consumed.push(row)
  return pieces.filter((piece) => piece.works.length > 0 || piece.consumed.length > 0)
}

/** Its commit may be stored, or be stored only later: whoever is told of it from here on, and wherever, is told that. */
export function inDoubt(piece: Piece): Piece {
  return { ...piece, works: piece.works.map((work): Work => ({ ...work, mayBeStored: true })) }
}
