-- When what search knows of an article was made: a job that makes it anew goes on where it was.

alter table search_documents add column indexed_at timestamptz not null default clock_timestamp();

-- The model whose vectors a tenant's searches use. While another model's are made, these go on serving; null: none are there.
alter table search_versions add column model text;

-- A category and all below it.
create function category_and_below(tenant uuid, category uuid) returns setof uuid
    language sql stable parallel safe
begin atomic
    with recursive below (id) as (
        select category
        union
        select c.id from categories c join below b on c.parent_id = b.id where c.tenant_id = tenant)
    select id from below;
end;

-- How many jobs of this name are open or given up, of all tenants, and how old the oldest is.
create function outbox_oldest(job_name text, out jobs bigint, out oldest_seconds float8)
    language sql stable security definer set search_path = pg_catalog, public, pg_temp parallel safe
begin atomic
    select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8 from outbox where job = job_name;
end;

do $$
begin
    -- The new owner of a function needs the right to create in its schema at that moment only.
    grant create on schema public to helpcenter_queue;
    revoke execute on function outbox_oldest(text) from public;
    grant execute on function outbox_oldest(text) to helpcenter_app;
    alter function outbox_oldest(text) owner to helpcenter_queue;
    revoke create on schema public from helpcenter_queue;
end
$$;
