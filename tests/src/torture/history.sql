-- The observer inside the torture's database: triggers of the owner that write every transition of jobs and schedulers down.
-- Nothing here is part of the product; the code under test can neither see nor change it.
--
-- `xid` says which rows no transaction can still slip in before, `process` which process of the torture did it: the setting
-- torture.process is in the address by which each of them reaches the database.

create schema torture;
grant usage on schema torture to public;

create table torture.history (
    seq bigint not null generated always as identity,
    xid bigint not null default pg_current_xact_id()::text::bigint,
    at timestamptz not null default clock_timestamp(),
    process text not null default coalesce(current_setting('torture.process', true), ''),
    event text not null,
    job uuid,
    tenant uuid,
    name text, -- of the job's type, or of the line
    unique_key text,
    key uuid, -- which enqueueing it was
    holder uuid,
    attempts integer,
    max_attempts integer,
    due timestamptz,
    epoch bigint,
    outcome text
) with (autovacuum_vacuum_scale_factor = 0.5);

-- What has had its effect.
create table torture.effects (job uuid primary key);

create table torture.leader (process text not null, epoch bigint not null);
insert into torture.leader values ('', 0);

-- What the editor wants of the product's own jobs: that an actor changes an article once, gives it a tag or, without one,
-- publishes it; that each file of an import becomes an article; and which searches are kept.
create table torture.wanted (actor text not null, article uuid not null, tag text, primary key (actor, article));
create table torture.wanted_files (source text not null, path text not null, primary key (source, path));
create table torture.wanted_searches (id uuid primary key);
grant insert on torture.wanted, torture.wanted_files, torture.wanted_searches to public;

-- Written by transactions that stay open for long.
create table torture.idle (at timestamptz not null default now());

create function torture.enqueued() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into torture.history (event, job, tenant, name, unique_key, key, max_attempts, due)
    select 'enqueued', id, tenant_id, job, unique_key, (payload ->> 'key')::uuid, max_attempts, run_at from new_rows;
    return null;
end
$$;
create trigger torture_enqueued after insert on public.outbox referencing new table as new_rows
    for each statement execute function torture.enqueued();

create function torture.changed() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into torture.history (event, job, holder, attempts)
    values (case when new.dead_at is not null and old.dead_at is null then 'dead'
                 when new.dead_at is null and old.dead_at is not null then 'revived'
                 when new.holder is not null then 'started'
                 when new.attempts < old.attempts then 'handed_back'
                 else 'released' end,
            new.id, case when new.holder is null or new.dead_at is not null then old.holder else new.holder end, new.attempts);
    return null;
end
$$;
create trigger torture_changed after update of holder, dead_at on public.outbox for each row
    when (old.holder is distinct from new.holder or old.dead_at is distinct from new.dead_at)
    execute function torture.changed();

create function torture.deleted() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into torture.history (event, job, holder) select 'deleted', id, holder from old_rows;
    return null;
end
$$;
create trigger torture_deleted after delete on public.outbox referencing old table as old_rows
    for each statement execute function torture.deleted();

create function torture.finished() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into torture.history (event, job, outcome, attempts) select 'finished', id, outcome, attempts from new_rows;
    return null;
end
$$;
create trigger torture_finished after insert on public.finished_jobs referencing new table as new_rows
    for each statement execute function torture.finished();

create function torture.ticked() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into torture.history (event, name, due, epoch)
    select 'ticked', new.line, new.due_at, epoch from public.scheduler_leader;
    return null;
end
$$;
create trigger torture_ticked after insert on public.scheduler_ticks for each row execute function torture.ticked();

create function torture.led() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into torture.history (event, epoch) values ('led', new.epoch);
    update torture.leader set process = coalesce(current_setting('torture.process', true), ''), epoch = new.epoch;
    return null;
end
$$;
create trigger torture_led after update of epoch on public.scheduler_leader for each row
    when (old.epoch is distinct from new.epoch) execute function torture.led();

-- The effect of a job, idempotent and on disk when it is over, as those of the product are. Left to be flushed with the record
-- that the job is done, it would be lost in a crash in between, which the worker that makes the record outlives.
create function torture.effect(of_job uuid) returns void
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into torture.effects (job) values (of_job) on conflict do nothing;
    if found then
        insert into torture.history (event, job) values ('effect', of_job);
    end if;
end
$$;

-- Up to which transaction the history was read.
create table torture.checkpoint (xid bigint not null);
insert into torture.checkpoint values (0);
