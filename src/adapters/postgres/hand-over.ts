// Partitions given from one owner to the next in one statement, which also tells the next one: in between nobody looks, finds and claims.
//
// The ring is part of the transaction, so that whoever hears it finds what it says. That is against the habit of ringing afterwards
// (see `signals.ts`), which is meant for the transactions of commands: this one comes once in a change of instances.
import type { PartitionRow } from '../../ports/instances.ts'

/** So many partitions share a ring: what it says has room for 8,000 bytes. */
const PARTITIONS_PER_RING = 256

// An heir whose lease has ended gets nothing: then the partition is nobody's, for whoever is meant to have it now.
const GIVE = `given as (
    update twofold._partition p set epoch = p.epoch + 1,
        owner = (select i.id from twofold._instance i where i.id = mine.heir and i.lease_until > clock_timestamp())
      from mine where p.partition = mine.partition returning p.partition, p.owner, p.epoch)`

const RING = `select pg_notify('twofold_partition', coalesce(owner::text, '') || ' ' || string_agg(partition || ':' || epoch, ' '))
    from given group by owner, partition / ${PARTITIONS_PER_RING}`

/** Gives partitions ($2) of an instance ($1) to their heirs ($3). Locked in order, as all who lock several of them do. */
export const HAND_OVER = `with mine as (
    select p.partition, t.heir from unnest($2::int[], $3::uuid[]) t(partition, heir) join twofold._partition p on p.partition = t.partition
      where p.owner = $1 order by p.partition for update of p),
  ${GIVE} ${RING}`

/** Gives all that an instance ($1) has to the heirs ($3) of partitions ($2), the rest to nobody, and strikes it off. */
export const LEAVE = `with mine as (
    select p.partition, t.heir from twofold._partition p left join unnest($2::int[], $3::uuid[]) t(partition, heir) on t.partition = p.partition
      where p.owner = $1 order by p.partition for update of p),
  gone as (delete from twofold._instance where id = $1),
  ${GIVE} ${RING}`

/** What a ring says was given to this instance; nothing if it is about others, or about nothing in particular. */
export function givenTo(id: string, ring: string): PartitionRow[] {
  const [heir, ...given] = ring.split(' ')
  if (heir !== id) return []
  return given.flatMap((each) => {
    const [, partition, epoch] = /^(\d+):(\d+)$/.exec(each) ?? []
    return partition === undefined || epoch === undefined ? [] : [{ partition: Number(partition), owner: id, epoch }]
  })
}
