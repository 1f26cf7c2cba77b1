// Which Node this program may run on.

/** The first version that runs TypeScript as it stands and has all that is used here. */
const NODE_MIN = [22, 19] as const

/** A sentence for a Node that is too old, or undefined. */
export function nodeFault(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isNewEnough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])
  return isNewEnough
    ? undefined
    : `this is Node ${version}; Twofold needs ${NODE_MIN.join('.')} or newer: install it, or run \`npx -p node@24 node …\``
}
