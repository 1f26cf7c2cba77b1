// Does something with many things, a few of them at a time.

/** Calls `work` for each item in order, with at most `concurrency` under way; ends when all are done, or with the first failure, after which nothing more is begun. */
export async function eachAtOnce<Item>(
  items: readonly Item[],
  concurrency: number,
  work: (item: Item, at: number) => Promise<void>,
): Promise<void> {
  const waiting = items.entries()
  let failed = false
  const worker = async (): Promise<void> => {
    // The iterator is shared: whichever worker is free takes the next item.
    for (const [at, item] of waiting) {
      if (failed) return
      await work(item, at)
    }
  }
  const workers = Array.from({ length: Math.min(concurrency, items.length) }, worker)
  await Promise.all(workers).catch((error: unknown) => {
    failed = true
    throw error
  })
}
