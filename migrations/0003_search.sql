-- Text search configurations, term statistics, and the two functions that find candidates.

create text search configuration help_simple (copy = simple);
alter text search configuration help_simple
    alter mapping for hword, hword_part, word with unaccent, simple;
create text search configuration help_english (copy = english);
alter text search configuration help_english
    alter mapping for hword, hword_part, word with unaccent, english_stem;

-- The configuration that an article of this locale is indexed with.
create function text_search_configuration(locale text) returns regconfig
    language sql immutable parallel safe
    return case when locale = 'en' or locale like 'en-%' then 'public.help_english'::regconfig
                else 'public.help_simple'::regconfig end;

-- The words of plain text. PostgreSQL's parser would take `<VirtualHost>` for markup and leave it out.
create function plain_tsvector(configuration regconfig, plain text) returns tsvector
    language sql immutable strict parallel safe
    return to_tsvector(configuration, translate(plain, '<>', '  '));

-- One row per searchable article: how often each lexeme occurs, which BM25 needs and a tsvector cannot tell cheaply.
create table search_documents (
    tenant_id uuid not null,
    article_id uuid not null,
    revision_id uuid not null,
    title_terms jsonb not null, -- {lexeme: occurrences}
    body_terms jsonb not null,
    title_length integer not null,
    body_length integer not null,
    primary key (tenant_id, article_id),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, revision_id) references revisions (tenant_id, id) on delete cascade
);

-- In how many of the tenant's articles a lexeme occurs. Kept per tenant: one tenant's words never weigh in another's ranking.
create table search_terms (
    tenant_id uuid not null references tenants (id) on delete cascade,
    lexeme text not null,
    article_count integer not null,
    primary key (tenant_id, lexeme)
) with (fillfactor = 70);

create table search_totals (
    tenant_id uuid primary key references tenants (id) on delete cascade,
    article_count bigint not null,
    title_length bigint not null,
    body_length bigint not null
) with (fillfactor = 50);

-- Statement triggers keep both exactly in step with search_documents. Lexemes are written in order, so that two publishers
-- of one tenant wait for each other and never deadlock.
create function count_search_documents() returns trigger language plpgsql as $$
declare
    sign integer := case tg_op when 'DELETE' then -1 else 1 end;
begin
    insert into search_totals as t (tenant_id, article_count, title_length, body_length)
    select tenant_id, sign * count(*), sign * sum(title_length), sign * sum(body_length)
    from changed group by tenant_id
    on conflict (tenant_id) do update set
        article_count = t.article_count + excluded.article_count,
        title_length = t.title_length + excluded.title_length,
        body_length = t.body_length + excluded.body_length;

    insert into search_terms as t (tenant_id, lexeme, article_count)
    select tenant_id, lexeme, sign * count(*)
    from changed, jsonb_object_keys(title_terms || body_terms) as lexeme
    group by tenant_id, lexeme order by tenant_id, lexeme
    on conflict (tenant_id, lexeme) do update set article_count = t.article_count + excluded.article_count;
    return null;
end
$$;
create trigger search_documents_added after insert on search_documents
    referencing new table as changed for each statement execute function count_search_documents();
create trigger search_documents_removed after delete on search_documents
    referencing old table as changed for each statement execute function count_search_documents();

create function refuse_update() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are replaced, never updated: their statistics are counted on insert and delete', tg_table_name;
end
$$;
create trigger search_documents_not_updated before update on search_documents execute function refuse_update();

call protect_tenant_table('search_documents');
call protect_tenant_table('search_terms');
call protect_tenant_table('search_totals');
grant select, insert, update, delete on search_documents, search_terms, search_totals to helpcenter_app;

-- A query for passages with any of these lexemes. Built from values alone: whatever a lexeme holds, it stays one operand.
create function any_lexeme(lexemes text[]) returns tsquery
    language sql immutable strict parallel safe
    return (select string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''', ' | ')
            from unnest(lexemes) as lexeme)::tsquery;

-- Candidates of the keyword arm: the articles that the caller may see with a passage that matches `wanted`.
--
-- SECURITY DEFINER, because under row-level security the planner may not use the GIN index (`@@` is not leakproof): the
-- tenant of the transaction and the visibility rule are therefore *inside* the function, and its owner reads only these
-- tables.
create policy search on articles for select to helpcenter_search using (true);
create policy search on passages for select to helpcenter_search using (true);
create policy search on passage_embeddings for select to helpcenter_search using (true);
create policy search on article_tags for select to helpcenter_search using (true);
create policy search on tags for select to helpcenter_search using (true);
grant select on articles, passages, passage_embeddings, article_tags, tags to helpcenter_search;

-- The filters of a search request, beside visibility. Null: not asked for.
create function article_passes_filters(
    article articles, wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text
) returns boolean language sql stable parallel safe
    return (wanted_categories is null or article.category_id = any (wanted_categories))
       and (wanted_difficulty is null or article.difficulty = wanted_difficulty)
       and (wanted_locale is null or article.locale = wanted_locale)
       and (wanted_tags is null or exists (
            select from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
            where at.tenant_id = article.tenant_id and at.article_id = article.id and t.slug = any (wanted_tags)));

create function search_keyword_candidates(
    caller_roles text[], wanted tsquery,
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text, candidate_limit integer
) returns setof uuid
    language sql stable security definer set search_path = pg_catalog, public, pg_temp parallel safe
begin atomic
    select a.id
    from articles a
    where a.tenant_id = current_setting('app.tenant_id')::uuid
      and article_is_visible(a.status, a.target_roles, caller_roles)
      and article_passes_filters(a, wanted_categories, wanted_tags, wanted_difficulty, wanted_locale)
      and a.id in (select p.article_id from passages p
                   where p.tenant_id = current_setting('app.tenant_id')::uuid and p.tsv @@ wanted)
    limit candidate_limit;
end;

-- Candidates of the semantic arm: the nearest visible passages. Exact below `exact_below` passages of the tenant, where a
-- scan is faster and complete; through the HNSW index above, scanned iteratively so that filters do not starve it.
create function search_semantic_candidates(
    caller_roles text[], model_name text, query_embedding vector(384),
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text,
    candidate_limit integer, exact_below integer
) returns setof uuid
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
    set hnsw.iterative_scan = 'relaxed_order' set hnsw.ef_search = 200 set hnsw.max_scan_tuples = 40000 as $$
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
begin
    if (select count(*) from (select from passages where tenant_id = tenant limit exact_below) as few) < exact_below then
        return query
        select distinct nearest.article_id from (
            select p.article_id
            from passage_embeddings e
            join passages p on p.tenant_id = e.tenant_id and p.id = e.passage_id
            join articles a on a.tenant_id = p.tenant_id and a.id = p.article_id
            where e.tenant_id = tenant and e.model = model_name
              and article_is_visible(a.status, a.target_roles, caller_roles)
              and article_passes_filters(a, wanted_categories, wanted_tags, wanted_difficulty, wanted_locale)
            order by (e.embedding <=> query_embedding) + 0 -- an expression, so that the index is not used
            limit candidate_limit
        ) nearest;
    else
        return query
        select distinct nearest.article_id from (
            select p.article_id
            from passage_embeddings e
            join passages p on p.tenant_id = e.tenant_id and p.id = e.passage_id
            join articles a on a.tenant_id = p.tenant_id and a.id = p.article_id
            where e.tenant_id = tenant and e.model = model_name
              and article_is_visible(a.status, a.target_roles, caller_roles)
              and article_passes_filters(a, wanted_categories, wanted_tags, wanted_difficulty, wanted_locale)
            order by e.embedding <=> query_embedding
            limit candidate_limit
        ) nearest;
    end if;
end
$$;
