// What the text of a handler's statement gives away: whether it would end the transaction, whether something of it would outlive that, and
// whether it asks for a stream.

/** What may stand before the first word: blanks, comments, and the semicolons of statements that are empty. */
const BLANK = /^(?:[\s;]|--[^\n\r]*)+/

/** Words that begin or end a transaction. `rollback to`, `savepoint` and `release` are a handler's to use. */
const ENDS = /^(?:begin|start\s+transaction|commit|end|abort|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b/i

/** Settings of the session, what it has prepared, what it listens to. `set local` and its like end with the transaction. */
const OF_SESSION = /^(?:set\s+(?!local\b|constraints\b|transaction\b)|reset|discard|deallocate|prepare|listen|unlisten|load)\b/i

/** The same, and locks and tables, anywhere in it. A setting that a call makes with a last `true` is local. */
const LEFT =
  /\b(?:pg_(?:try_)?advisory_lock\w*|(?:create(?:\s+or\s+replace)?|into)\s+(?:(?:global|local)\s+)?temp(?:orary)?|with\s+hold|pg_temp)\b|\bset_config\s*\((?![^()]*,\s*(?:is_local\s*(?:=>|:=)\s*)?true\s*\))/i

/** A block may do anything of that in its lines, and `update … set` looks much the same: then the connection is closed in vain. */
const BLOCK = /^do\b/i
const LEFT_BY_BLOCK = /\b(?:set\s+(?!local\b|constraints\b|transaction\b)|reset\b|execute\b|call\b|listen\b|load\b)/i

/** A COPY from or to its client. */
const STREAMS = /^copy\b.*\b(?:from\s+stdin|to\s+stdout)\b/is

/** It begins or ends a transaction: it is refused before it is sent. */
export function endsTransaction(text: string): boolean {
  return ENDS.test(fromFirstWord(text))
}

/** It would be sent its data, or send them, in messages of their own: it is refused before it is sent. */
export function streams(text: string): boolean {
  return STREAMS.test(fromFirstWord(text))
}

/** Something of it may still be there for the next user of the connection, which is then closed. */
export function leavesTraces(text: string): boolean {
  const said = fromFirstWord(text)
  return OF_SESSION.test(said) || LEFT.test(said) || (BLOCK.test(said) && LEFT_BY_BLOCK.test(said))
}

function fromFirstWord(text: string): string {
  let rest = text
  for (;;) {
    const before = rest
    rest = rest.replace(BLANK, '')
    if (rest.startsWith('/*')) rest = afterComment(rest)
    if (rest === before) return rest
  }
}

/** PostgreSQL's comments nest. */
function afterComment(text: string): string {
  let depth = 0
  for (const { 0: mark, index } of text.matchAll(/\/\*|\*\//g)) {
    depth += mark === '/*' ? 1 : -1
    if (depth === 0) return text.slice(index + 2)
  }
  return ''
}
