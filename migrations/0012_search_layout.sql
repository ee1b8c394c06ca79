-- What a search reads lies together: vectors beside the article that they belong to, in half the space, and everything that
-- candidates are ordered by comes out of one function.

drop function search_semantic_candidates(text[], text, vector, uuid[], text[], text, text, boolean);

alter table passage_embeddings rename to passage_embeddings_before;
alter table passage_embeddings_before rename constraint passage_embeddings_pkey to passage_embeddings_before_pkey;
create table passage_embeddings (
    tenant_id uuid not null,
    passage_id uuid not null,
    article_id uuid not null, -- of the passage
    ordinal integer not null, -- of the passage; 0 is the title
    model text not null, -- name and version of the model that made the vector
    embedding halfvec(384) not null, -- unit length
    created_at timestamptz not null default now(),
    primary key (tenant_id, passage_id, model),
    foreign key (tenant_id, passage_id) references passages (tenant_id, id) on delete cascade
);
alter table passage_embeddings alter column embedding set storage plain; -- always read, and too small to be worth a detour
-- The owner is not a superuser everywhere, and this is about all tenants.
alter table passages no force row level security;
alter table passage_embeddings_before no force row level security;
insert into passage_embeddings (tenant_id, passage_id, article_id, ordinal, model, embedding, created_at)
select e.tenant_id, e.passage_id, p.article_id, p.ordinal, e.model, e.embedding::halfvec(384), e.created_at
from passage_embeddings_before e join passages p on p.tenant_id = e.tenant_id and p.id = e.passage_id
order by p.tenant_id, p.article_id, p.ordinal;
alter table passages force row level security;
drop table passage_embeddings_before;
create index passage_embeddings_article_index on passage_embeddings (tenant_id, article_id, ordinal);
-- A denser graph than pgvector's default: questions lie far from all passages, and a sparse one loses a few of the nearest.
create index passage_embeddings_hnsw_index on passage_embeddings
    using hnsw (embedding halfvec_cosine_ops) with (m = 24, ef_construction = 128);

call protect_tenant_table('passage_embeddings');
grant select, insert, update, delete on passage_embeddings to helpcenter_app;
create policy search on passage_embeddings for select to helpcenter_search using (true);
grant select on passage_embeddings to helpcenter_search;
create constraint trigger passage_embeddings_change_search after insert
    on passage_embeddings deferrable initially deferred for each row execute function note_search_change();

-- Who sees few articles is searched by these alone.
create extension if not exists btree_gin;
create index articles_target_roles_index on articles using gin (tenant_id, target_roles) where status = 'PUBLISHED';

-- Candidates of the keyword arm, as before; but how they are found is fixed. Planning anew takes as long as the query, and a
-- plan for any terms must not begin with whom the caller may see: terms come first, and `offset 0` keeps the look at each
-- article behind them.
create or replace function search_keyword_candidates(
    caller_roles text[], wanted_terms integer[], every_term integer[], are_many boolean, wanted_phrase tsquery,
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text, candidate_limit integer
) returns table (article_id uuid, language text, terms bytea, title_length integer, body_length integer)
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp parallel safe
    set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
begin
    return query
    with titled (article_id) as materialized (
        select d.article_id from search_documents d
        where are_many and d.tenant_id = tenant and d.title_term_ids && wanted_terms),
    complete (article_id) as materialized (
        select d.article_id from search_documents d
        where are_many and d.tenant_id = tenant and d.term_ids @> every_term),
    matched (article_id) as materialized (
        select d.article_id from search_documents d where d.tenant_id = tenant and d.term_ids && wanted_terms),
    found (article_id) as (
        (select m.article_id from titled m
         cross join lateral (select * from articles where tenant_id = tenant and id = m.article_id offset 0) a
         where article_is_visible(a.status, a.target_roles, caller_roles)
           and article_passes_filters(a.category_id, a.difficulty, a.locale, wanted_categories, wanted_difficulty, wanted_locale)
           and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
         limit candidate_limit)
        union
        (select m.article_id from complete m
         cross join lateral (select * from articles where tenant_id = tenant and id = m.article_id offset 0) a
         where article_is_visible(a.status, a.target_roles, caller_roles)
           and article_passes_filters(a.category_id, a.difficulty, a.locale, wanted_categories, wanted_difficulty, wanted_locale)
           and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
         limit candidate_limit)
        union
        (select m.article_id from matched m
         cross join lateral (select * from articles where tenant_id = tenant and id = m.article_id offset 0) a
         where article_is_visible(a.status, a.target_roles, caller_roles)
           and article_passes_filters(a.category_id, a.difficulty, a.locale, wanted_categories, wanted_difficulty, wanted_locale)
           and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
         limit candidate_limit))
    select d.article_id, d.language, d.terms, d.title_length, d.body_length
    from found
    cross join lateral (select * from search_documents where tenant_id = tenant and article_id = found.article_id offset 0) d
    where wanted_phrase is null or exists (
        select from passages p where p.tenant_id = tenant and p.article_id = found.article_id and p.tsv @@ wanted_phrase);
end
$$;

-- Used by no query.
alter table search_terms drop column title_count;
create or replace function count_search_documents() returns trigger language plpgsql as $$
declare
    sign integer := case tg_op when 'DELETE' then -1 else 1 end;
begin
    insert into search_totals as t (tenant_id, language, article_count, title_length, body_length)
    select tenant_id, language, sign * count(*), sign * sum(title_length), sign * sum(body_length)
    from changed group by tenant_id, language order by tenant_id, language
    on conflict (tenant_id, language) do update set
        article_count = t.article_count + excluded.article_count,
        title_length = t.title_length + excluded.title_length,
        body_length = t.body_length + excluded.body_length;

    with counted as (
        select tenant_id, id, count(*) as articles from changed, unnest(term_ids) as id group by tenant_id, id),
    locked as (
        select t.tenant_id, t.id, c.articles
        from search_terms t join counted c on c.tenant_id = t.tenant_id and c.id = t.id
        order by t.tenant_id, t.id for update of t)
    update search_terms t set article_count = t.article_count + sign * l.articles
    from locked l where l.tenant_id = t.tenant_id and l.id = t.id;
    return null;
end
$$;
drop function text_search_configuration(text);
drop function plain_tsvector(regconfig, text);

-- With `near` the articles of the 200 passages that are nearest to the query, of those that the caller may see and that pass the
-- filters, and `others` that the caller may see, each with what it is ranked by. `is_nearest`: it is of the first.
-- `body` and `title`: the cosine similarities of its nearest passage and of its title, null where there is no vector of the
-- model or nobody asked: of `others`, only the first `compared` are compared. What the keyword arm knows (`terms` and beside
-- it) comes with those that it has not found.
--
-- `exact`: compare all visible passages, which is faster and complete where the caller sees few; otherwise the HNSW index is
-- scanned iteratively, so that filters do not starve it, and without sorting, or else a plan for any vector would compare all
-- of them as well. The limits are no parameters: a plan for any limit would not use the index. SECURITY DEFINER for the same
-- reason as `search_keyword_candidates`.
create function search_candidates(
    caller_roles text[], model_name text, query_embedding halfvec(384),
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text,
    near boolean, exact boolean, others uuid[], compared integer
) returns table (
    article_id uuid, is_nearest boolean, body float8, title float8,
    language text, terms bytea, title_length integer, body_length integer,
    category_id uuid, tags text[], difficulty text, locale text, translation_group uuid,
    view_count bigint, helpfulness float8, age_days float8)
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
    set hnsw.iterative_scan = 'relaxed_order' set hnsw.ef_search = 200 set hnsw.max_scan_tuples = 40000
    set enable_sort = off set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
    near_articles uuid[];
    near_ordinals integer[];
    near_similarities float8[];
begin
    if near and exact then
        select array_agg(n.article_id), array_agg(n.ordinal), array_agg(n.similarity)
        into near_articles, near_ordinals, near_similarities
        from (select e.article_id, e.ordinal, 1 - (e.embedding <=> query_embedding) as similarity
              from articles a
              join passage_embeddings e on e.tenant_id = a.tenant_id and e.article_id = a.id
              where a.tenant_id = tenant and e.model = model_name
                and article_is_visible(a.status, a.target_roles, caller_roles)
                and article_passes_filters(a.category_id, a.difficulty, a.locale,
                                           wanted_categories, wanted_difficulty, wanted_locale)
                and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
              order by similarity desc -- an expression, so that the index is not used
              limit 200) n;
    elsif near then
        select array_agg(n.article_id), array_agg(n.ordinal), array_agg(n.similarity)
        into near_articles, near_ordinals, near_similarities
        from (select e.article_id, e.ordinal, 1 - (e.embedding <=> query_embedding) as similarity
              from passage_embeddings e
              cross join lateral (select * from articles where tenant_id = tenant and id = e.article_id offset 0) a
              where e.tenant_id = tenant and e.model = model_name
                and article_is_visible(a.status, a.target_roles, caller_roles)
                and article_passes_filters(a.category_id, a.difficulty, a.locale,
                                           wanted_categories, wanted_difficulty, wanted_locale)
                and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
              order by e.embedding <=> query_embedding
              limit 200) n;
    end if;
    return query
    with candidate (id, is_nearest, is_found, is_compared, body, title) as materialized (
        select id, bool_or(similarity is not null), bool_or(similarity is null), bool_or(place <= compared),
               max(similarity) filter (where ordinal > 0), max(similarity) filter (where ordinal = 0)
        from (select id, ordinal, similarity, null::bigint as place
              from unnest(near_articles, near_ordinals, near_similarities) as n (id, ordinal, similarity)
              union all
              select id, null, null, place from unnest(others) with ordinality as o (id, place)) as either
        group by id)
    select c.id, c.is_nearest, coalesce(c.body, v.body), coalesce(c.title, v.title),
           d.language, d.terms, d.title_length, d.body_length,
           a.category_id,
           array(select t.slug from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                 where at.tenant_id = tenant and at.article_id = c.id),
           a.difficulty, a.locale, a.translation_group,
           a.view_count, wilson_lower_bound(a.helpful_count, a.not_helpful_count),
           (extract(epoch from now() - greatest(a.published_at, a.updated_at, a.last_reviewed_at)) / 86400)::float8
    from candidate c
    cross join lateral (select * from articles where tenant_id = tenant and id = c.id offset 0) a
    left join search_documents d on d.tenant_id = tenant and d.article_id = c.id and not c.is_found
    -- The nearest passage of an article is among the nearest of all when any of its passages is.
    left join lateral (
        select max(1 - (e.embedding <=> query_embedding)) filter (where e.ordinal > 0) as body,
               max(1 - (e.embedding <=> query_embedding)) filter (where e.ordinal = 0) as title
        from passage_embeddings e
        where e.tenant_id = tenant and e.article_id = c.id and e.model = model_name
          and (c.is_nearest or c.is_compared) and (c.body is null or c.title is null) and (c.body is null or e.ordinal = 0)
    ) v on true
    where article_is_visible(a.status, a.target_roles, caller_roles);
end
$$;

do $$
declare
    f regprocedure := 'search_candidates(text[], text, halfvec, uuid[], text[], text, text, boolean, boolean, uuid[], integer)';
begin
    -- The new owner of a function needs the right to create in its schema at that moment only.
    grant create on schema public to helpcenter_search;
    execute format('revoke execute on function %s from public', f);
    execute format('grant execute on function %s to helpcenter_app', f);
    execute format('alter function %s owner to helpcenter_search', f);
    revoke create on schema public from helpcenter_search;
end
$$;
