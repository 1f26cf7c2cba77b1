import { expect, test } from 'vitest'
import { endsTransaction, leavesTraces, streams } from './handler-statement.ts'

test.each([
  'commit',
  ' -- so\n ROLLBACK',
  'begin',
  'start  transaction',
  '/* no */ end',
  'abort',
  'prepare transaction $$a$$',
  '; commit',
  ';;\t; /* a /* nested */ one */ -- and\n COMMIT and chain',
  'rollback work',
  'rollback and chain',
])('%j begins or ends a transaction', (text) => expect(endsTransaction(text)).toBe(true))

test.each([
  'select 1',
  'rollback to a',
  'rollback work to savepoint a',
  'savepoint a',
  'release a',
  'ending',
  '/* commit',
  "select '; commit'",
  '',
])('%j does not', (text) => expect(endsTransaction(text)).toBe(false))

test.each([
  'set search_path = a',
  ' /* x */ SET session x.y = 1',
  'reset all',
  'listen a',
  'discard all',
  'deallocate all',
  'prepare a as select 1',
  'create temp table a (n int)',
  'create or replace temporary view a as select 1',
  'select 1 as n into temp a',
  'create table pg_temp.a (n int)',
  'select pg_advisory_lock(1)',
  'select pg_try_advisory_lock_shared($1)',
  "select set_config('x.y', $1, false)",
  'declare a cursor with hold for select 1',
  'do $$ begin set search_path = there; end $$',
  `do $$ begin perform 1; set role a; end $$`,
  `do language plpgsql $$ begin execute 'set x.y = 1'; end $$`,
])('%j leaves something on its connection', (text) => expect(leavesTraces(text)).toBe(true))

test.each([
  'update account set cents = 1',
  'set local search_path = a',
  'set constraints all deferred',
  'set transaction read only',
  'select pg_advisory_xact_lock(1)',
  "select set_config('x.y', $1, true)",
  "select set_config('x.y', 'z', is_local => true)",
  'select temp from weather',
  'do $$ begin set local search_path = here; perform 1; end $$',
  'create table template (n int)',
])('%j leaves nothing', (text) => expect(leavesTraces(text)).toBe(false))

test.each(['copy account from stdin', ' -- all\nCOPY account (id)\n  FROM  STDIN with (format csv)', 'copy (select 1) to stdout'])(
  '%j asks for a stream',
  (text) => expect(streams(text)).toBe(true),
)

test.each(["copy account from program 'cat a.csv'", "select 'copy a from stdin'", 'select copy from stdin'])('%j asks for none', (text) =>
  expect(streams(text)).toBe(false),
)
