-- What readers leave with articles: votes, reports, bookmarks, and suggestions of articles that are missing.
--
-- A reader is `person:SUBJECT`, or `visitor:HASH` for visitors of a public help center.

create table article_votes (
    tenant_id uuid not null,
    article_id uuid not null,
    reader text not null check (length(reader) between 1 and 300),
    is_helpful boolean not null,
    comment text not null default '' check (length(comment) <= 1000),
    revision_id uuid not null, -- what was judged
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, article_id, reader),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, revision_id) references revisions (tenant_id, id) on delete cascade
);

-- Keeps an article's counts exactly in step with its votes.
create function count_votes() returns trigger language plpgsql as $$
declare
    helpful integer := 0;
    not_helpful integer := 0;
    voted article_votes := coalesce(new, old);
begin
    if tg_op <> 'DELETE' then
        helpful := helpful + new.is_helpful::integer;
        not_helpful := not_helpful + (not new.is_helpful)::integer;
    end if;
    if tg_op <> 'INSERT' then
        helpful := helpful - old.is_helpful::integer;
        not_helpful := not_helpful - (not old.is_helpful)::integer;
    end if;
    update articles set helpful_count = helpful_count + helpful, not_helpful_count = not_helpful_count + not_helpful
    where tenant_id = voted.tenant_id and id = voted.article_id;
    return null;
end
$$;
create trigger article_votes_counted after insert or delete on article_votes for each row execute function count_votes();
create trigger article_votes_changed after update of is_helpful on article_votes
    for each row when (old.is_helpful <> new.is_helpful) execute function count_votes();

create table article_reports (
    tenant_id uuid not null,
    id uuid not null default uuidv7(),
    article_id uuid not null,
    revision_id uuid not null, -- what was reported
    reader text not null check (length(reader) between 1 and 300),
    kind text not null constraint article_reports_kind_check check (kind in ('INCORRECT', 'OUTDATED')),
    comment text not null default '' check (length(comment) <= 2000),
    status text not null default 'OPEN' constraint article_reports_status_check check (status in ('OPEN', 'RESOLVED', 'DISMISSED')),
    created_at timestamptz not null default now(),
    settled_at timestamptz,
    settled_by text,
    primary key (tenant_id, id),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, revision_id) references revisions (tenant_id, id) on delete cascade
);
create unique index article_reports_open_index on article_reports (tenant_id, article_id, reader, kind) where status = 'OPEN';
create index article_reports_status_index on article_reports (tenant_id, status, id desc);

create table bookmarks (
    tenant_id uuid not null,
    reader text not null check (length(reader) between 1 and 300),
    article_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, reader, article_id),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade
);
create index bookmarks_article_index on bookmarks (tenant_id, article_id);

create table article_suggestions (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    reader text not null check (length(reader) between 1 and 300),
    title text not null check (length(title) between 1 and 200),
    details text not null default '' check (length(details) <= 5000),
    status text not null default 'OPEN' constraint article_suggestions_status_check check (status in ('OPEN', 'PLANNED', 'DONE', 'DECLINED')),
    article_id uuid, -- what came of it
    created_at timestamptz not null default now(),
    settled_at timestamptz,
    settled_by text,
    primary key (tenant_id, id),
    constraint article_suggestions_article_fkey
        foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete set null (article_id)
);
create index article_suggestions_status_index on article_suggestions (tenant_id, status, id desc);

call protect_tenant_table('article_votes');
call protect_tenant_table('article_reports');
call protect_tenant_table('bookmarks');
call protect_tenant_table('article_suggestions');
grant select, insert, update, delete on article_votes, article_reports, bookmarks, article_suggestions to helpcenter_app;
