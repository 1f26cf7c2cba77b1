// A deadline with a sentence: a test that merely times out cannot say what it waited for, and looks as it does on an overloaded machine.

/** What the promise resolves to; rejects, saying what it waited for, when that takes longer than `timeoutMs`. */
export async function within<Value>(what: string, promise: Promise<Value>, timeoutMs = 5000): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${timeoutMs} ms in vain: ${what}`)), timeoutMs)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
