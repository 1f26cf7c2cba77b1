// How much of the disk is left under the embedded PostgreSQL. A server elsewhere says so itself, by refusing (SQLSTATE 53100).
import { statfs } from 'node:fs/promises'

/** Less than a tenth of the disk is little, but on a large disk 2 GiB are enough: the write-ahead log takes 1 GiB at most. */
const SHARE_MIN = 0.1
const BYTES_ENOUGH = 2 * 1024 ** 3

/** The size of a disk and what of it is free for ordinary users, in bytes; undefined: it cannot be told. */
export type Measure = (folder: string) => Promise<{ readonly free: number; readonly size: number } | undefined>

export class FreeSpace {
  readonly #folder: string | undefined
  readonly #measure: Measure
  #disk: Awaited<ReturnType<Measure>>

  /** Without a folder there is nothing to be seen, and never too little. */
  constructor(folder: string | undefined, measure: Measure = measured) {
    this.#folder = folder
    this.#measure = measure
  }

  async look(): Promise<void> {
    this.#disk = this.#folder === undefined ? undefined : await this.#measure(this.#folder)
  }

  /** Whether too little is left to take anything new. */
  get isLow(): boolean {
    return this.#disk !== undefined && this.#disk.free < Math.min(BYTES_ENOUGH, this.#disk.size * SHARE_MIN)
  }

  get sentence(): string {
    const mebibytes = (bytes = 0): string => `${Math.floor(bytes / 1024 ** 2)} MiB`
    return `the disk of ${this.#folder} is nearly full: ${mebibytes(this.#disk?.free)} of ${mebibytes(this.#disk?.size)} are left`
  }
}

async function measured(folder: string): ReturnType<Measure> {
  const found = await statfs(folder).catch(() => undefined)
  return found && { free: found.bavail * found.bsize, size: found.blocks * found.bsize }
}
