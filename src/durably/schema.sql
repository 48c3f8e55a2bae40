-- The state machine of runs, and what belongs to them. Every time is UTC milliseconds.
--
--   pending --claim--> running --complete--> completed
--    ^   ^               | | |-----fail----> failed
--    |   |---requeue-----| |
--    |--signal, timeout--waiting
--      cancel (from pending, running, waiting) ----> cancelled
--
-- Every write to a running run names its lease_generation; each claim adds one to it.
--
-- The checks do not ask with `in`: where there are more than two values, SQLite makes a table of them
-- anew for each statement, which took a sixth of the instructions of a short run.

create table runs (
  sequence integer primary key,
  id text not null unique,
  job text not null,
  input text not null,
  status text not null default 'pending',
  idempotency_key text,
  concurrency_key text,
  labels text not null default '{}',
  lease_owner text,
  lease_generation integer not null default 0,
  heartbeat_at integer,
  interruptions integer not null default 0,
  steps_at_interruption integer not null default 0,
  progress text,
  output text,
  error text,
  created_at integer not null,
  started_at integer,
  completed_at integer,
  keeps_outputs integer not null default 0,
  check (
    status = 'pending' or status = 'running' or status = 'waiting' or completed_at is not null
  ),
  check (
    status = 'completed' or status = 'failed' or status = 'cancelled' or completed_at is null
  ),
  check ((status = 'running') = (lease_owner is not null)),
  check ((status = 'running') = (heartbeat_at is not null))
) strict;

-- Partial, so that a file full of finished runs makes none of the daily work slower. One tree for
-- all that has not completed: a claim moves its entry within one page, and the few runs that failed
-- or wait are found among many that completed. With completed ones in it, each completion would
-- write one page more. SQLite uses it where a statement says status <> 'completed' in these words.
create index runs_by_status on runs (status, sequence) where status <> 'completed';
create index runs_keys on runs (job, concurrency_key, status, sequence)
  where concurrency_key is not null and status in ('pending', 'running', 'waiting');
create index runs_by_job on runs (job, sequence);

-- Apart from runs: a key outlives its run, so that a purge does not make the work happen again.
create table idempotency_keys (
  job text not null,
  key text not null,
  run_id text not null,
  expires_at integer,
  primary key (job, key)
) strict, without rowid;

create index idempotency_keys_by_end on idempotency_keys (expires_at)
  where expires_at is not null;

create table labels (
  key text not null,
  value text not null,
  run integer not null references runs (sequence),
  primary key (key, value, run)
) strict, without rowid;

-- One b-tree, in the order of storing: a checkpoint comes behind the others of its run, which dirties
-- one page, and a few more where that one is full. Keyed by name, every fourth one of a long run would
-- move the rows of four pages about. Run ids begin with their time, so new runs gather at the end.
-- No name comes twice in a run: the engine refuses it, and the import of a file.
-- A completed step without output belongs to a finished run, whose outputs were removed.
create table steps (
  run_id text not null,
  name text not null,
  position integer not null,
  attempt integer not null,
  status text not null check (status in ('completed', 'failed')),
  output text,
  error text,
  started_at integer not null,
  completed_at integer not null,
  primary key (run_id, position),
  check (status = 'completed' or output is null),
  check ((status = 'failed') = (error is not null))
) strict, without rowid;

-- Tries that need a row of their own: those that took a while, have metadata, or were interrupted.
-- How the last try of a step ended is in its checkpoint.
create table attempts (
  run_id text not null,
  step text not null,
  number integer not null,
  started_at integer not null,
  metadata text,
  interrupted_at integer,
  reason text check (reason in ('lease-lost', 'cancelled', 'unknown')),
  primary key (run_id, step, number),
  check ((interrupted_at is null) = (reason is null))
) strict, without rowid;

create table waits (
  id text primary key,
  run_id text not null,
  name text not null,
  position integer not null,
  metadata text not null,
  created_at integer not null,
  deadline_at integer,
  is_awaited integer not null default 0,
  outcome text check (outcome in ('signal', 'timeout', 'closed')),
  signal_id text,
  payload text,
  settled_at integer,
  unique (run_id, name),
  check ((outcome is null) = (settled_at is null)),
  check ((outcome is 'signal') = (signal_id is not null)),
  check ((outcome is 'signal') = (payload is not null))
) strict, without rowid;

create index waits_due on waits (deadline_at) where outcome is null and deadline_at is not null;

create table logs (
  sequence integer primary key,
  run_id text not null,
  at integer not null,
  level text not null,
  message text not null,
  data text not null,
  step text
) strict;

create index logs_by_run on logs (run_id, sequence);

-- A run has ended: nothing can be signalled any more, and no output is needed for replay. The tries
-- of one that fails or is cancelled are ended by whoever knows why.
create trigger runs_end after update of completed_at on runs when new.completed_at is not null
begin
  update waits
  set outcome = 'closed',
      settled_at = new.completed_at
  where run_id = new.id
    and outcome is null;

  update steps
  set output = null
  where run_id = new.id
    and output is not null
    and not new.keeps_outputs;

  update attempts
  set interrupted_at = new.completed_at,
      reason = 'unknown'
  where run_id = new.id
    and new.status = 'completed'
    and reason is null
    and (step, number) not in (select name, attempt from steps where run_id = new.id);
end;
