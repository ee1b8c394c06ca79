-- Reading: orders of lists, and views of articles.

-- Lists by title: without case and accents, numbers by their value. The bytes of this key sort alike on every server, whatever
-- locales it has, and fit into an index.
create function title_key(title text) returns text
    language sql immutable parallel safe
    return (
        select left(coalesce(string_agg(
            case when run[1] ~ '^[0-9]' then lpad(length(ltrim(run[1], '0'))::text, 3, '0') || ltrim(run[1], '0') else run[1] end,
            '' order by n), ''), 400) collate "C"
        from regexp_matches(
            casefold(unaccent('public.unaccent'::regdictionary, normalize(title, NFKC)) collate "pg_unicode_fast"),
            '[0-9]+|[^0-9]+', 'g') with ordinality as runs (run, n));

alter table articles add column title_key text collate "C" not null default ''; -- of the title that readers see

-- The owner is not a superuser everywhere, and this is about all tenants.
alter table articles no force row level security;
alter table revisions no force row level security;
update articles a set title_key = title_key(r.title)
from revisions r where r.tenant_id = a.tenant_id and r.id = a.published_revision_id;
alter table articles force row level security;
alter table revisions force row level security;

-- Only now: it writes all rows anew, after which changing them would leave checks for the end of the transaction.
alter table articles
    add column helpfulness float8 not null generated always as (wilson_lower_bound(helpful_count, not_helpful_count)) stored;

create function keep_title_key() returns trigger language plpgsql as $$
begin
    new.title_key := coalesce((
        select title_key(r.title) from revisions r
        where r.tenant_id = new.tenant_id and r.id = new.published_revision_id), '');
    return new;
end
$$;
create trigger articles_title_key before insert or update of published_revision_id on articles
    for each row execute function keep_title_key();

create index articles_title_index on articles (tenant_id, title_key, id) where status = 'PUBLISHED';
create index articles_views_index on articles (tenant_id, view_count desc, id desc) where status = 'PUBLISHED';
create index articles_helpful_index on articles (tenant_id, helpfulness desc, id desc) where status = 'PUBLISHED';

-- What readers read: a row for each reader, article and day (UTC). Counted in `articles.view_count` later, many at once: readers
-- of one article never wait for each other.
create table article_views (
    tenant_id uuid not null,
    article_id uuid not null,
    reader text not null check (length(reader) between 1 and 300), -- as with votes
    viewed_on date not null default (now() at time zone 'UTC')::date,
    viewed_at timestamptz not null default now(),
    page text check (length(page) between 1 and 500), -- where the reader was: host and path, ids left out, no query
    is_counted boolean not null default false,
    primary key (tenant_id, article_id, reader, viewed_on),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade
);
create index article_views_uncounted_index on article_views (tenant_id) where not is_counted;
create index article_views_page_index on article_views (tenant_id, page, viewed_at) where page is not null;
create index article_views_viewed_index on article_views (tenant_id, viewed_at);

call protect_tenant_table('article_views');
grant select, insert, update, delete on article_views to helpcenter_app;

-- Which articles help on which pages of the host application.
create table contextual_rules (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    pattern text not null check (length(pattern) between 1 and 500), -- a URL pattern, as it was entered
    priority integer not null default 0, -- the greatest first
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
create table contextual_rule_articles (
    tenant_id uuid not null,
    rule_id uuid not null,
    article_id uuid not null,
    position integer not null check (position >= 0),
    primary key (tenant_id, rule_id, article_id),
    foreign key (tenant_id, rule_id) references contextual_rules (tenant_id, id) on delete cascade,
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade
);
create index contextual_rule_articles_article_index on contextual_rule_articles (tenant_id, article_id);

-- Rules are remembered by whoever uses them, for as long as this says that nothing has changed.
create constraint trigger contextual_rules_change_search after insert or update or delete
    on contextual_rules deferrable initially deferred for each row execute function note_search_change();
create constraint trigger contextual_rule_articles_change_search after insert or update or delete
    on contextual_rule_articles deferrable initially deferred for each row execute function note_search_change();

call protect_tenant_table('contextual_rules');
call protect_tenant_table('contextual_rule_articles');
grant select, insert, update, delete on contextual_rules, contextual_rule_articles to helpcenter_app;
