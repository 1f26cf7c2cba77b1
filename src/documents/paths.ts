// The paths of a document. Two that differ only in what their parameters are called are the same path (OpenAPI 3.1 §4.8.8.2), so that
// all operations of one stand together, with the parameters' names of the first.
import type { Route } from '../contract/route.ts'

interface Path {
  /** `/orders/{orderId}` */
  readonly template: string
  readonly names: readonly string[]
  readonly operations: Record<string, object>
}

export class Paths {
  readonly #byShape = new Map<string, Path>()

  get all(): Readonly<Record<string, object>> {
    return Object.fromEntries([...this.#byShape.values()].map(({ template, operations }) => [template, operations]))
  }

  /** `operationOf` is given what the route's parameters are called in the document, in their order. */
  add({ method, path, parameters }: Route, operationOf: (names: readonly string[]) => object): void {
    const shape = path.replaceAll(/:\w+/g, '{}')
    const known = this.#byShape.get(shape) ?? { template: path.replaceAll(/:(\w+)/g, '{$1}'), names: parameters, operations: {} }
    this.#byShape.set(shape, known)
    known.operations[method.toLowerCase()] = operationOf(known.names)
  }
}
