// What callers have sent while the last group was under way goes out as the next one: how bulk inserts are fed without anybody waiting.

/** Ends once the group that holds `item` has been sent. `send` is never called twice at the same time. */
export function grouped<Item>(sizeMax: number, send: (items: readonly Item[]) => Promise<unknown>): (item: Item) => Promise<void> {
  let waiting: { readonly item: Item; readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = []
  let sending = false
  const sendAll = async (): Promise<void> => {
    sending = true
    // Those who send in the same turn belong to the same group.
    await Promise.resolve()
    while (waiting.length > 0) {
      const group = waiting.slice(0, sizeMax)
      waiting = waiting.slice(sizeMax)
      try {
        await send(group.map(({ item }) => item))
        for (const { resolve } of group) resolve()
      } catch (error) {
        for (const { reject } of group) reject(error)
      }
    }
    sending = false
  }
  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      if (!sending) void sendAll()
    })
}
