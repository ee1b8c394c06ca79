-- The outbox: every job that is not finished yet, written in the transaction of the change that it follows from.
--
-- PostgreSQL is the truth about which jobs exist; Redis only dispatches them. A finished job's row is deleted, a dead
-- letter's row stays. Redis emptied: the relay sends every open row again.

create table outbox (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(), -- also the job's id in Redis
    queue text not null,
    job text not null, -- stable name of the job's type
    payload jsonb not null,
    unique_key text, -- at most one open job of this name and key
    max_attempts integer not null check (max_attempts > 0),
    attempts integer not null default 0, -- failed so far
    run_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    relayed_at timestamptz,
    last_error text,
    dead_at timestamptz,
    primary key (tenant_id, id)
) with (fillfactor = 70);
create unique index outbox_unique_key on outbox (tenant_id, job, unique_key) where unique_key is not null and dead_at is null;
create unique index outbox_id_index on outbox (id);
create index outbox_unrelayed_index on outbox (id) where relayed_at is null and dead_at is null;

call protect_tenant_table('outbox');
grant select, insert, update, delete on outbox to helpcenter_app;

-- Wakes the relays when the transaction that enqueued commits.
create function notify_outbox() returns trigger language plpgsql as $$
begin
    perform pg_notify('outbox', '');
    return null;
end
$$;
create trigger outbox_notify after insert on outbox for each statement execute function notify_outbox();

-- The relay and the worker move jobs of all tenants. They do it through these functions alone.
create policy queue on outbox to helpcenter_queue using (true);
grant select, update on outbox to helpcenter_queue;

-- Up to `batch` jobs that were not relayed yet, locked until the caller's transaction ends; several relays share the work.
create function outbox_claim(batch integer) returns setof outbox
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    select * from outbox where relayed_at is null and dead_at is null order by id limit batch for update skip locked;
end;

create function outbox_mark_relayed(ids uuid[]) returns void
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    update outbox set relayed_at = now() where id = any (ids);
end;

-- After Redis lost its memory: all open jobs are to be relayed again. Returns how many.
create function outbox_forget_relayed() returns bigint
    language sql volatile security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    with forgotten as (update outbox set relayed_at = null where relayed_at is not null and dead_at is null returning 1)
    select count(*) from forgotten;
end;

-- A page of jobs relayed a while ago and still open, by id after `after`: the relay makes sure that Redis knows them.
create function outbox_relayed_page(after uuid, older_than interval, batch integer) returns setof outbox
    language sql stable security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    select * from outbox
    where relayed_at < now() - older_than and dead_at is null and id > after order by id limit batch;
end;

-- What the given jobs are, where still open: a job that Redis hands out and that is missing here is finished already.
create function outbox_open(ids uuid[]) returns setof outbox
    language sql stable security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    select * from outbox where id = any (ids) and dead_at is null;
end;

create function outbox_counts() returns table (queue text, waiting bigint, relayed bigint, dead bigint, oldest_unrelayed timestamptz)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp
begin atomic
    select o.queue, count(*) filter (where relayed_at is null and dead_at is null),
           count(*) filter (where relayed_at is not null and dead_at is null), count(*) filter (where dead_at is not null),
           min(created_at) filter (where relayed_at is null and dead_at is null)
    from outbox o group by o.queue;
end;

-- Which tick of which scheduled line was enqueued: each exactly once, however many schedulers there are.
create table scheduler_ticks (
    line text not null,
    due_at timestamptz not null,
    enqueued_at timestamptz not null default now(),
    primary key (line, due_at)
);
comment on table scheduler_ticks is 'Deployment-wide; not tenant-owned, so without row-level security.';
grant select, insert, delete on scheduler_ticks to helpcenter_app;

do $$
declare
    f regprocedure;
begin
    -- The new owner of a function needs the right to create in its schema at that moment only.
    grant create on schema public to helpcenter_search, helpcenter_queue;
    foreach f in array array['search_keyword_candidates(text[], tsquery, uuid[], text[], text, text, integer)',
                             'search_semantic_candidates(text[], text, vector, uuid[], text[], text, text, integer, integer)']::regprocedure[] loop
        execute format('revoke execute on function %s from public', f);
        execute format('grant execute on function %s to helpcenter_app', f);
        execute format('alter function %s owner to helpcenter_search', f);
    end loop;
    for f in select oid::regprocedure from pg_proc
             where pronamespace = 'public'::regnamespace and proname like 'outbox\_%' and prosecdef loop
        execute format('revoke execute on function %s from public', f);
        execute format('grant execute on function %s to helpcenter_app', f);
        execute format('alter function %s owner to helpcenter_queue', f);
    end loop;
    revoke create on schema public from helpcenter_search, helpcenter_queue;
end
$$;
