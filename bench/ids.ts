// Command ids for baselines and peers, made as cheaply as can be.

const COUNTERS = Array.from({ length: 4096 }, (_, at) => at.toString(16).padStart(3, '0'))

/** Makes uuidv7s: time and counter rise, so none comes twice in a run; a random tail, the same in all, tells sources apart. */
export function idSource(): () => string {
  const tail = Math.floor(Math.random() * 2 ** 48)
    .toString(16)
    .padStart(12, '0')
  let ms = 0
  let counter = 0
  let time = ''
  return () => {
    counter += 1
    const now = Date.now()
    if (now > ms || counter === COUNTERS.length) {
      ms = Math.max(now, ms + 1)
      counter = 0
      const digits = ms.toString(16).padStart(12, '0')
      time = `${digits.slice(0, 8)}-${digits.slice(8)}-7`
    }
    return `${time}${COUNTERS[counter]}-8000-${tail}`
  }
}
