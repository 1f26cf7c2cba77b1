// What survives JSON. Inputs, states and events travel through a queue as text, so a Date in a type would lie after the first hop.

/**
 * Names the fields of `T` that do not survive JSON: `'placedAt is a Date'`. `never` when all do. Looks eight levels deep, so that types
 * that contain themselves come to an end.
 */
export type NotJson<T, At extends string = 'it', Depth extends 0[] = []> = Depth['length'] extends 8
  ? never
  : unknown extends T
    ? never
    : T extends string | number | boolean | null | undefined
      ? never
      : T extends bigint
        ? `${At} is a bigint`
        : T extends Date
          ? `${At} is a Date`
          : T extends (...args: never[]) => unknown
            ? `${At} is a function`
            : T extends ReadonlyMap<unknown, unknown>
              ? `${At} is a Map`
              : T extends ReadonlySet<unknown>
                ? `${At} is a Set`
                : T extends readonly (infer Item)[]
                  ? NotJson<Item, At extends 'it' ? 'an item' : `${At}[]`, [...Depth, 0]>
                  : T extends object
                    ? { [K in keyof T & string]: NotJson<T[K], At extends 'it' ? K : `${At}.${K}`, [...Depth, 0]> }[keyof T & string]
                    : `${At} is not JSON`

/** `Then` where `T` is plain JSON; otherwise a sentence that names the offending field, which the compiler prints. */
export type Plain<What extends string, T, Then> = [NotJson<T>] extends [never]
  ? Then
  : `${What} must be plain JSON, but ${NotJson<T> & string}`
