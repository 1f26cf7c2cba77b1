// Waiting for what will be so.

/** Waits until `holds` is true. Rejects after `timeoutMs`, saying what it has waited for. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 30_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${timeoutMs / 1000} s in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
