-- The state machine of runs and steps. Every time is UTC milliseconds.
--
--   pending --claim--> running --complete--> completed
--      ^                  |  |----fail-----> failed
--      |--requeue---------|  |
--      cancel (from pending, running, waiting) ----> cancelled
--
-- Every write to a running run names its lease_generation; each claim adds one to it.

create table runs (
  sequence integer primary key,
  id text not null unique,
  job text not null,
  input text not null,
  status text not null default 'pending'
    check (status in ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
  idempotency_key text,
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
  check ((status = 'running') = (lease_owner is not null)),
  check ((status = 'running') = (heartbeat_at is not null)),
  check ((status in ('completed', 'failed', 'cancelled')) = (completed_at is not null))
) strict;

create unique index runs_idempotency on runs (job, idempotency_key)
  where idempotency_key is not null;
create index runs_pending on runs (sequence) where status = 'pending';
create index runs_running on runs (sequence) where status = 'running';

-- One b-tree, keyed by what a checkpoint is found by: storing one dirties one page, or two when it
-- splits. Run ids begin with their time, so new checkpoints gather at the end of the tree.
create table steps (
  run_id text not null,
  name text not null,
  position integer not null,
  status text not null check (status in ('completed', 'failed')),
  output text,
  error text,
  started_at integer not null,
  completed_at integer not null,
  primary key (run_id, name),
  check ((status = 'completed') = (output is not null)),
  check ((status = 'failed') = (error is not null))
) strict, without rowid;
