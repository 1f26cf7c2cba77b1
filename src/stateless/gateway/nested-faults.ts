// Where in an input a fault stands. Pointers are put together on the way out, from the faults alone: most inputs have none, and making
// pointers on the way in cost more than looking for the faults.
import { pointerSegment, type Fault } from '../../contract/schema.ts'

/** The faults from index `from` on were found inside the field or item `name`: their pointers begin with it. */
export function nestFaults(faults: Fault[], from: number, name: string | number): void {
  for (let at = from; at < faults.length; at += 1) {
    const { path = '', message = '' } = faults[at] ?? {}
    faults[at] = { path: `/${typeof name === 'number' ? name : pointerSegment(name)}${path}`, message }
  }
}
