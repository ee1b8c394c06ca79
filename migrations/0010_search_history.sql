-- What people search for and open, what admins teach search, and how a cached answer is known to be of the past.

-- Words that mean the same to this tenant's readers.
create table synonyms (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    terms text[] not null, -- as they were entered
    words text[] not null, -- of each term, as a query's words are compared: lower case, one space between
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint synonyms_terms_check check (cardinality(terms) between 2 and 20 and cardinality(words) = cardinality(terms))
);

-- Articles that come first for a query, in this order.
create table search_pins (
    tenant_id uuid not null,
    query text not null check (length(query) between 2 and 500), -- normalised
    article_id uuid not null,
    position integer not null check (position >= 0),
    created_at timestamptz not null default now(),
    primary key (tenant_id, query, article_id),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade
);
create index search_pins_article_index on search_pins (tenant_id, article_id);

-- One row for each settled search: what was typed within 30 seconds and went on from what was typed before is one search.
create table searches (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    searcher text check (length(searcher) between 1 and 300), -- `person:SUBJECT` or `visitor:HASH`; null: a machine
    session_id text check (length(session_id) between 1 and 200),
    query text not null,
    normalised text not null, -- lower case, one space between words
    locale text,
    result_count integer not null check (result_count >= 0),
    article_ids uuid[] not null, -- the first results, best first
    took_ms integer not null check (took_ms >= 0),
    is_degraded boolean not null,
    refines uuid, -- the search before it, of the same session
    created_at timestamptz not null default now(),
    settled_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint searches_refines_fkey foreign key (tenant_id, refines) references searches (tenant_id, id)
        on delete set null (refines)
);
create index searches_searcher_index on searches (tenant_id, searcher, settled_at desc) where searcher is not null;
create index searches_normalised_index on searches (tenant_id, normalised text_pattern_ops);
create index searches_refines_index on searches (tenant_id, refines) where refines is not null;
create index searches_settled_index on searches (tenant_id, settled_at desc, id desc);

-- The results of a search that were opened.
create table search_clicks (
    tenant_id uuid not null,
    search_id uuid not null,
    article_id uuid not null,
    position integer not null check (position between 1 and 1000), -- 1 is the first result
    created_at timestamptz not null default now(),
    primary key (tenant_id, search_id, article_id),
    foreign key (tenant_id, search_id) references searches (tenant_id, id) on delete cascade,
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade
);
create index search_clicks_article_index on search_clicks (tenant_id, article_id);

-- Raised by every change that can change what a search finds. An answer that was kept with an earlier version is of the past.
create table search_versions (
    tenant_id uuid primary key references tenants (id) on delete cascade,
    version bigint not null default 1
);

-- At the end of the transaction, so that nobody holds the row for longer than a commit takes, and once.
create function note_search_change() returns trigger language plpgsql as $$
declare
    changed_tenant uuid := coalesce(new.tenant_id, old.tenant_id);
begin
    if current_setting('app.search_change_noted', true) is distinct from changed_tenant::text then
        insert into search_versions as v (tenant_id)
        select id from tenants where id = changed_tenant -- unless it is being deleted itself
        on conflict (tenant_id) do update set version = v.version + 1;
        perform set_config('app.search_change_noted', changed_tenant::text, true);
    end if;
    return null;
end
$$;

create constraint trigger articles_change_search
    after update of slug, category_id, difficulty, target_roles, locale, translation_group, status, published_revision_id
    on articles deferrable initially deferred for each row execute function note_search_change();
create constraint trigger search_documents_change_search after insert or delete
    on search_documents deferrable initially deferred for each row execute function note_search_change();
create constraint trigger passage_embeddings_change_search after insert
    on passage_embeddings deferrable initially deferred for each row execute function note_search_change();
create constraint trigger article_tags_change_search after insert or delete
    on article_tags deferrable initially deferred for each row execute function note_search_change();
create constraint trigger tags_change_search after update
    on tags deferrable initially deferred for each row execute function note_search_change();
create constraint trigger categories_change_search after insert or update or delete
    on categories deferrable initially deferred for each row execute function note_search_change();
create constraint trigger synonyms_change_search after insert or update or delete
    on synonyms deferrable initially deferred for each row execute function note_search_change();
create constraint trigger search_pins_change_search after insert or update or delete
    on search_pins deferrable initially deferred for each row execute function note_search_change();

call protect_tenant_table('synonyms');
call protect_tenant_table('search_pins');
call protect_tenant_table('searches');
call protect_tenant_table('search_clicks');
call protect_tenant_table('search_versions');
grant select, insert, update, delete on synonyms, search_pins, searches, search_clicks, search_versions to helpcenter_app;
