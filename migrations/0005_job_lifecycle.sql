-- The life of a job: who holds it, when it may start and before which others, how far it is and how it ended.
--
-- PostgreSQL is the truth about which jobs exist, who may finish them and how often they were begun; Redis only dispatches
-- them. A finished job's row moves to finished_jobs, a dead letter's row stays. Redis emptied: the relay sends every open
-- row again. docs/JOBS.md has the states and what moves a job between them.

-- Keys may manage their tenant's jobs, or operate the deployment.
alter table api_keys drop constraint api_keys_scopes_check,
    add constraint api_keys_scopes_check check (scopes <@ array['read', 'manage', 'operate'] and cardinality(scopes) > 0);

alter table tenants add column queue_weight smallint not null default 1
    constraint tenants_queue_weight_check check (queue_weight between 1 and 100);
comment on column tenants.queue_weight is 'The share of a queue that the tenant gets while others wait too.';

drop function outbox_claim, outbox_mark_relayed, outbox_forget_relayed, outbox_relayed_page, outbox_open, outbox_counts;

drop index outbox_id_index; -- the other one, of unrelayed rows, goes with its column
alter table outbox
    drop column relayed_at,
    drop constraint outbox_pkey,
    add primary key (id),
    add column priority smallint not null default 1 check (priority between 0 and 2), -- 0 runs first
    add column is_limited boolean not null default false, -- the job's type has a rate limit
    add column holder uuid, -- the lease under which it runs: whoever else says how it ended is refused
    add column started_at timestamptz, -- of the latest attempt
    add column cancelled_at timestamptz, -- somebody wants the running attempt to end
    add column trace_parent text, -- W3C trace context of the request or job that enqueued it
    add column progress_done bigint, -- of the latest attempt, in the job's own units; null until it says so
    add column progress_total bigint,
    add column progress_from bigint, -- where the attempt went on from, for the rate
    add column progress_at timestamptz;
comment on column outbox.attempts is 'Begun so far.';
create index outbox_dead_index on outbox (tenant_id, dead_at) where dead_at is not null;

-- Which jobs Redis is still to hear of. Apart from their rows, so that relaying a job rewrites none, and the start of its
-- attempt touches no index. An entry whose job ended meanwhile is dropped by the relay.
create table unrelayed_jobs (
    tenant_id uuid not null,
    queue text not null,
    id uuid not null,
    since timestamptz not null default now(),
    primary key (queue, id) -- the order in which they are sent
);

-- How jobs ended, for people who look back; trimmed by age and count.
create table finished_jobs (
    tenant_id uuid not null, -- no foreign key: a check for each job that ends, and rows of a tenant that is gone are trimmed too
    id uuid not null primary key,
    queue text not null,
    job text not null,
    payload jsonb not null,
    outcome text not null constraint finished_jobs_outcome_check check (outcome in ('done', 'cancelled', 'discarded')),
    attempts integer not null,
    result jsonb,
    progress_done bigint,
    progress_total bigint,
    last_error text,
    created_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz not null default now()
);
create index finished_jobs_queue_index on finished_jobs (queue, finished_at);

call protect_tenant_table('unrelayed_jobs');
call protect_tenant_table('finished_jobs');
grant select, insert on unrelayed_jobs to helpcenter_app;
grant select, insert, update, delete on finished_jobs to helpcenter_app;

-- A job is to be relayed when its transaction commits, which wakes the relays as well.
create or replace function notify_outbox() returns trigger language plpgsql as $$
begin
    insert into unrelayed_jobs select tenant_id, queue, id from written;
    perform pg_notify('outbox', '');
    return null;
end
$$;
drop trigger outbox_notify on outbox;
create trigger outbox_notify after insert on outbox
    referencing new table as written for each statement execute function notify_outbox();
insert into unrelayed_jobs select tenant_id, queue, id from outbox where dead_at is null;

-- Which queues are paused, for all workers.
create table paused_queues (
    queue text primary key,
    paused_at timestamptz not null default now()
);
comment on table paused_queues is 'Deployment-wide; not tenant-owned, so without row-level security.';
grant select, insert, delete on paused_queues to helpcenter_app;

-- Relay and worker move jobs of all tenants. They do it through these functions alone.
create policy queue on finished_jobs to helpcenter_queue using (true);
create policy queue on unrelayed_jobs to helpcenter_queue using (true);
grant select, insert, delete on unrelayed_jobs to helpcenter_queue;
grant select, insert, update, delete on outbox to helpcenter_queue;
grant select, insert, delete on finished_jobs to helpcenter_queue;
grant select on tenants to helpcenter_queue;

-- Up to `batch` jobs of a queue that were not relayed yet, by id: rolled back when they could not be. One relay at a time has
-- a queue, so that jobs reach Redis in the order in which they were written. A row without a tenant is of a job that ended.
create function outbox_relay(of_queue text, batch integer)
    returns table (id uuid, tenant_id uuid, job text, priority smallint, is_limited boolean, run_at timestamptz, weight smallint)
    language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
begin
    if not pg_try_advisory_xact_lock(hashtext('outbox relay'), hashtext(of_queue)) then
        return;
    end if;
    return query
        with first as materialized (
            select id from unrelayed_jobs where queue = of_queue order by id limit batch
        ), taken as (
            delete from unrelayed_jobs u using first where u.queue = of_queue and u.id = first.id returning u.id
        )
        select taken.id, o.tenant_id, o.job, o.priority, o.is_limited, o.run_at, t.queue_weight
        from taken left join outbox o on o.id = taken.id and o.dead_at is null left join tenants t on t.id = o.tenant_id
        order by taken.id;
end
$$;

-- After Redis lost its memory: all open jobs are to be relayed again. Returns how many.
create function outbox_forget_relayed() returns bigint
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    with forgotten as (
        insert into unrelayed_jobs select tenant_id, queue, id from outbox where dead_at is null on conflict do nothing returning 1
    )
    select count(*) from forgotten;
end;

-- A page of jobs written a while ago, still open and relayed, by id after `after`: the relay makes sure that Redis knows them.
create function outbox_relayed_page(of_queue text, after uuid, older_than interval, batch integer)
    returns table (id uuid, tenant_id uuid, job text, priority smallint, is_limited boolean, run_at timestamptz, weight smallint)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    select o.id, o.tenant_id, o.job, o.priority, o.is_limited, o.run_at, t.queue_weight
    from outbox o join tenants t on t.id = o.tenant_id
    where o.queue = of_queue and o.created_at < now() - older_than and o.dead_at is null and o.id > after
      and not exists (select from unrelayed_jobs u where u.queue = of_queue and u.id = o.id)
    order by o.id limit batch;
end;

-- Begins an attempt of each of the given jobs under a lease. One that is missing in the answer has ended already.
create function outbox_start(ids uuid[], lease uuid) returns setof outbox
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    update outbox set holder = lease, attempts = attempts + 1, started_at = now(), progress_from = null
    where id = any (ids) and dead_at is null returning *;
end;

-- Ends attempts that succeeded or were cancelled. Returns those that were the holder's to end.
create function outbox_finish(ids uuid[], leases uuid[], outcomes text[], results jsonb[]) returns setof uuid
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    with ended as (
        delete from outbox o using unnest(ids, leases, outcomes, results) as e (id, lease, outcome, result)
        where o.id = e.id and o.holder = e.lease returning o.*, e.outcome, e.result
    )
    insert into finished_jobs (tenant_id, id, queue, job, payload, outcome, attempts, result, progress_done, progress_total,
                               last_error, created_at, started_at)
    select tenant_id, id, queue, job, payload, outcome, attempts, result, progress_done, progress_total,
           last_error, created_at, started_at from ended
    returning id;
end;

-- Ends an attempt that failed: tried again at `again_at`, or a dead letter when that is null. False: not the holder's to end.
create function outbox_fail(of_id uuid, lease uuid, error text, again_at timestamptz) returns boolean
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    with failed as (
        update outbox set holder = null, last_error = error, run_at = coalesce(again_at, run_at),
                          dead_at = case when again_at is null then now() end,
                          attempts = least(attempts, max_attempts)
        where id = of_id and holder = lease returning 1
    )
    select exists (select from failed);
end;

-- Takes back that attempts were begun: they ended through no fault of the job.
create function outbox_hand_back(ids uuid[], lease uuid) returns void
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    update outbox set holder = null, attempts = attempts - 1 where id = any (ids) and holder = lease;
end;

-- Tells how far attempts are; those that are not the holder's any more are passed over.
create function outbox_progress(ids uuid[], leases uuid[], dones bigint[], totals bigint[]) returns void
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    update outbox o set progress_done = p.done, progress_total = p.total, progress_at = now(),
                        progress_from = coalesce(o.progress_from, p.done)
    from unnest(ids, leases, dones, totals) as p (id, lease, done, total)
    where o.id = p.id and o.holder = p.lease;
end;

-- Which of the given running jobs somebody wants to end.
create function outbox_cancelled(ids uuid[]) returns setof uuid
    language sql stable security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    select id from outbox where id = any (ids) and cancelled_at is not null;
end;

-- Counts the open and dead jobs of each queue by what they do, and how long the oldest has waited to be sent and to start.
create function outbox_counts()
    returns table (queue text, unrelayed bigint, waiting bigint, scheduled bigint, running bigint, dead bigint,
                   oldest_seconds float8, relay_lag_seconds float8)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    select o.queue,
           count(*) filter (where u.id is not null),
           count(*) filter (where dead_at is null and u.id is null and holder is null and run_at <= now()),
           count(*) filter (where dead_at is null and u.id is null and holder is null and run_at > now()),
           count(*) filter (where dead_at is null and u.id is null and holder is not null),
           count(*) filter (where dead_at is not null),
           extract(epoch from now() - min(run_at) filter (where dead_at is null and holder is null and run_at <= now()))::float8,
           extract(epoch from now() - min(u.since))::float8
    from outbox o left join unrelayed_jobs u on u.queue = o.queue and u.id = o.id and o.dead_at is null group by o.queue;
end;

-- What is wrong with each queue, for every few seconds: nothing here reads all jobs.
create function outbox_troubles() returns table (queue text, unrelayed bigint, relay_lag_seconds float8, dead bigint)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    select queue, sum(unrelayed)::bigint, coalesce(max(lag_seconds), 0)::float8, sum(dead)::bigint
    from (
        select queue, count(*) as unrelayed, extract(epoch from now() - min(since)) as lag_seconds, 0 as dead
        from unrelayed_jobs group by queue
        union all
        select queue, 0, null, count(*) from outbox where dead_at is not null group by queue
    ) troubles group by queue;
end;

-- Forgets up to `batch` finished jobs of a queue: those older than `keep_for`, and the oldest beyond `keep`. Returns how many.
create function finished_jobs_trim(of_queue text, keep_for interval, keep integer, batch integer) returns bigint
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    with old as (
        select id from finished_jobs
        where queue = of_queue
          and (finished_at < now() - keep_for
               or finished_at < (select finished_at from finished_jobs where queue = of_queue
                                 order by finished_at desc offset keep limit 1))
        order by finished_at limit batch
    ), gone as (delete from finished_jobs f using old where f.id = old.id returning 1)
    select count(*) from gone;
end;

-- Ticks are made by `scheduler_tick` alone.
alter table scheduler_ticks add column jobs bigint not null default 0; -- how many it enqueued

-- Who leads the schedulers: a lease by this server's clock, and an epoch that grows with each change of the leader.
create table scheduler_leader (
    is_only_row boolean primary key default true check (is_only_row),
    epoch bigint not null,
    holder uuid not null,
    leads_until timestamptz not null
);
comment on table scheduler_leader is 'Deployment-wide; not tenant-owned, so without row-level security.';
insert into scheduler_leader values (true, 0, gen_random_uuid(), '-infinity');

-- The lines as the leader knows them, for people who look.
create table scheduler_lines (
    name text primary key,
    cron text not null,
    time_zone text not null,
    next_at timestamptz,
    since timestamptz not null default now() -- a line that never ticked is followed from then on
);
comment on table scheduler_lines is 'Deployment-wide; not tenant-owned, so without row-level security.';
revoke insert on scheduler_ticks from helpcenter_app;
grant select, update on scheduler_leader to helpcenter_app;
grant select, insert, update, delete on scheduler_lines to helpcenter_app;
grant select, insert, update on scheduler_ticks to helpcenter_queue;
grant select, update on scheduler_leader to helpcenter_queue; -- update: for the lock of the row

-- Makes a tick of a line: its job for every tenant and the record that it was made, both or neither. Returns for how many
-- tenants there is a new job, null when the tick was made before. Refused when the epoch is not the leader's any more.
create function scheduler_tick(
    of_line text, at timestamptz, of_epoch bigint,
    of_queue text, of_job text, of_payload jsonb, of_unique_key text, of_max_attempts integer, is_of_limited_type boolean, of_priority smallint,
    of_trace_parent text
) returns bigint language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    enqueued bigint;
begin
    -- Locked, so that nobody becomes the leader between this look and the commit.
    perform from scheduler_leader where epoch = of_epoch for share;
    if not found then
        raise exception 'a former leader makes no ticks' using errcode = 'HC001';
    end if;
    insert into scheduler_ticks (line, due_at) values (of_line, at) on conflict do nothing;
    if not found then
        return null;
    end if;
    insert into outbox (tenant_id, queue, job, payload, unique_key, max_attempts, is_limited, priority, trace_parent)
    select id, of_queue, of_job, of_payload, of_unique_key, of_max_attempts, is_of_limited_type, of_priority, of_trace_parent
    from tenants
    on conflict (tenant_id, job, unique_key) where unique_key is not null and dead_at is null do nothing;
    get diagnostics enqueued = row_count;
    update scheduler_ticks set jobs = enqueued where line = of_line and due_at = at;
    return enqueued;
end
$$;

do $$
declare
    f regprocedure;
begin
    -- The new owner of a function needs the right to create in its schema at that moment only.
    grant create on schema public to helpcenter_queue;
    for f in select oid::regprocedure from pg_proc
             where pronamespace = 'public'::regnamespace and proname ~ '^(outbox|finished_jobs|scheduler)_' and prosecdef loop
        execute format('revoke execute on function %s from public', f);
        execute format('grant execute on function %s to helpcenter_app', f);
        execute format('alter function %s owner to helpcenter_queue', f);
    end loop;
    -- These tables hold nothing in one minute and a million rows in the next, so what PostgreSQL believes of their size is
    -- often wrong, and a plan made for the other case reads all of them for each batch. Going by the indexes is right always.
    for f in select oid::regprocedure from pg_proc
             where pronamespace = 'public'::regnamespace and prosecdef
               and (proname ~ '^finished_jobs_' or proname ~ '^outbox_' and proname not in ('outbox_counts', 'outbox_troubles')) loop
        execute format('alter function %s set enable_seqscan = off', f);
        execute format('alter function %s set enable_bitmapscan = off', f);
        execute format('alter function %s set enable_hashjoin = off', f);
        execute format('alter function %s set enable_mergejoin = off', f);
    end loop;
    revoke create on schema public from helpcenter_queue;
end
$$;
