-- Tenants, the people and machines that belong to them, and the roles that the services connect with.
--
-- Row-level security is keyed on `app.tenant_id`, which a tenant-bound transaction sets for itself. The policies read it
-- with `current_setting('app.tenant_id')::uuid`, so a transaction that forgot it gets an error and never rows.

create extension if not exists vector;
create extension if not exists unaccent;
create extension if not exists pg_trgm;

-- helpcenter_app: what every service's login is a member of. It owns nothing and does not bypass row-level security.
-- helpcenter_search, helpcenter_queue: owners of the few SECURITY DEFINER functions; each may read (search) or move along
-- (queue) rows of every tenant, and nobody logs in as them. They are listed in docs/ARCHITECTURE.md.
do $$
declare
    wanted text;
begin
    foreach wanted in array array['helpcenter_app', 'helpcenter_search', 'helpcenter_queue'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            begin
                execute format('create role %I nologin', wanted);
            exception when duplicate_object or unique_violation then null; -- another database's migration was faster
            end;
        end if;
    end loop;
    -- Giving a function to another role needs membership in it; a superuser has no need of the grant.
    if not (select rolsuper from pg_roles where rolname = current_user) then
        execute format('grant helpcenter_search, helpcenter_queue to %I with set true, inherit false', current_user);
    end if;
end
$$;

revoke create on schema public from public;
grant usage on schema public to helpcenter_app, helpcenter_search, helpcenter_queue;

create table tenants (
    id uuid primary key default uuidv7(),
    slug text not null constraint tenants_slug_key unique constraint tenants_slug_check check (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text not null check (length(name) between 1 and 200),
    hosts text[] not null default '{}', -- host names whose pages show this tenant, lower case, without a port
    is_public boolean not null default false, -- anonymous visitors may read what is meant for `all`
    created_at timestamptz not null default now()
);
comment on table tenants is 'The registry of tenants; not tenant-owned, so without row-level security.';
create index tenants_hosts_index on tenants using gin (hosts);
grant select, insert, update on tenants to helpcenter_app;

create table people (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    email text not null constraint people_email_check check (email = lower(email) and email like '%_@_%'),
    name text not null check (length(name) between 1 and 200),
    roles text[] not null default '{}',
    locale text,
    password_hash text not null, -- argon2id, PHC string
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint people_email_key unique (tenant_id, email)
);

create table sessions (
    tenant_id uuid not null,
    id uuid not null default uuidv7(),
    person_id uuid not null,
    secret_hash bytea not null check (length(secret_hash) = 32),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    primary key (tenant_id, id),
    foreign key (tenant_id, person_id) references people (tenant_id, id) on delete cascade
);
create index sessions_person_index on sessions (tenant_id, person_id);
create index sessions_expiry_index on sessions (tenant_id, expires_at);

create table api_keys (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    name text not null check (length(name) between 1 and 200),
    secret_hash bytea not null check (length(secret_hash) = 32), -- HMAC-SHA256 of the secret, keyed by API_KEY_PEPPER
    scopes text[] not null check (scopes <@ array['read'] and cardinality(scopes) > 0),
    roles text[] not null default '{}',
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    primary key (tenant_id, id)
);

-- Append-only: nobody but the owner may change or delete an entry.
create table audit_log (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    actor text not null,
    action text not null,
    subject text not null,
    details jsonb not null default '{}',
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);

-- Forces row-level security on a tenant-owned table, with the one policy that all of them have.
create procedure protect_tenant_table(target regclass) language plpgsql as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format(
        'create policy tenant on %s using (tenant_id = current_setting(''app.tenant_id'')::uuid)
         with check (tenant_id = current_setting(''app.tenant_id'')::uuid)', target);
end
$$;
revoke execute on procedure protect_tenant_table(regclass) from public;

call protect_tenant_table('people');
call protect_tenant_table('sessions');
call protect_tenant_table('api_keys');
call protect_tenant_table('audit_log');
grant select, insert, update, delete on people, sessions, api_keys to helpcenter_app;
grant select, insert on audit_log to helpcenter_app;
