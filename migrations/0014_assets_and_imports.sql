-- Images that articles show, and documentation that is uploaded to be imported.

create table assets (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    hash text not null check (hash ~ '^[0-9a-f]{64}$'), -- SHA-256 of the bytes
    name text not null check (length(name) between 1 and 120), -- the last part of its address
    media_type text not null check (
        media_type in ('image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/svg+xml')),
    bytes bytea not null,
    unused_since timestamptz, -- when no article was found to show it
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint assets_hash_key unique (tenant_id, hash)
);
alter table assets alter column bytes set storage external; -- compressed already

alter table article_links
    add column asset_id uuid, -- the image that the destination is
    add column is_shown boolean not null default true, -- whether the text that readers see has it, or a newer one alone
    add constraint article_links_one_target check (target_article_id is null or asset_id is null),
    add foreign key (tenant_id, asset_id) references assets (tenant_id, id);
create index article_links_asset_index on article_links (tenant_id, asset_id) where asset_id is not null;

create table imports (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    job_id uuid, -- null only within the transaction that makes both
    source text not null check (length(source) between 1 and 200),
    default_category text not null check (length(default_category) between 1 and 200),
    is_dry_run boolean not null,
    archives_removed boolean not null,
    size_bytes bigint not null check (size_bytes > 0), -- of the archive
    requested_by text not null,
    report jsonb, -- what became of the files
    error text, -- why there is no report: a sentence
    created_at timestamptz not null default now(),
    ended_at timestamptz,
    primary key (tenant_id, id)
);
create index imports_latest_index on imports (tenant_id, created_at desc, id desc);

-- The archive, until its job has ended: the api and the worker may be on different machines.
create table import_chunks (
    tenant_id uuid not null,
    import_id uuid not null,
    ordinal integer not null check (ordinal >= 0),
    bytes bytea not null,
    primary key (tenant_id, import_id, ordinal),
    foreign key (tenant_id, import_id) references imports (tenant_id, id) on delete cascade
);
alter table import_chunks alter column bytes set storage external;

call protect_tenant_table('assets');
call protect_tenant_table('imports');
call protect_tenant_table('import_chunks');
grant select, insert, update, delete on assets, imports, import_chunks to helpcenter_app;
