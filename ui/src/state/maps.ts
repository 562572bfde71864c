/** Changed copies of read-only maps and lists; what does not change comes back as it was. */

/** `map` with `value` under `key`. */
export function withEntry<K, V>(map: ReadonlyMap<K, V>, key: K, value: V): ReadonlyMap<K, V> {
  if (map.get(key) === value && map.has(key)) return map;
  return new Map(map).set(key, value);
}

/** `map` without `key`. */
export function withoutEntry<K, V>(map: ReadonlyMap<K, V>, key: K): ReadonlyMap<K, V> {
  if (!map.has(key)) return map;
  const copy = new Map(map);
  copy.delete(key);
  return copy;
}

/** `map` with all of `entries`. */
export function withEntries<K, V>(map: ReadonlyMap<K, V>, entries: Iterable<readonly [K, V]>): ReadonlyMap<K, V> {
  const copy = new Map(map);
  let isChanged = false;
  for (const [key, value] of entries) {
    if (copy.get(key) === value && copy.has(key)) continue;
    copy.set(key, value);
    isChanged = true;
  }
  return isChanged ? copy : map;
}

/** The entries of `map` for which `keep` holds. */
export function filtered<K, V>(map: ReadonlyMap<K, V>, keep: (value: V, key: K) => boolean): ReadonlyMap<K, V> {
  const kept = [...map].filter(([key, value]) => keep(value, key));
  return kept.length === map.size ? map : new Map(kept);
}

/** `list` with `value` at `index`. */
export function withItem<T>(list: readonly T[], index: number, value: T): readonly T[] {
  if (list[index] === value) return list;
  const copy = list.slice();
  copy[index] = value;
  return copy;
}
