-- Each arm says which articles it found; what is known of these beside (words, facets, age) is asked for by itself, so that whoever
-- searches can remember it. Filters and visibility stand once in each arm.

drop function search_keyword_candidates(text[], integer[], integer[], boolean, tsquery, uuid[], text[], text, text, integer);
drop function search_candidates(text[], text, halfvec, uuid[], text[], text, text, boolean, boolean, uuid[], integer);

-- Articles that the caller may see, that pass the filters and that have any of `wanted_terms`. `are_many`: there may be more than
-- are returned; then at most so many of those with a term in the title, of those with all of `every_term`, and of the others.
-- `wanted_phrase`: only articles with a passage that matches it, when it is given.
--
-- Planning takes as long as the query, and a plan for any terms must not begin with whom the caller may see: terms come first,
-- and `offset 0` keeps the look at each article behind them. SECURITY DEFINER, because under row-level security the planner
-- may not use the GIN indexes (`&&` and `@@` are not leakproof): the tenant of the transaction and the visibility rule are
-- therefore *inside* the function, and its owner reads only the tables of search.
create function search_keyword_candidates(
    caller_roles text[], wanted_terms integer[], every_term integer[], are_many boolean, wanted_phrase tsquery,
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text, candidate_limit integer
) returns setof uuid
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp parallel safe
    set plan_cache_mode = force_generic_plan as $$
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
begin
    return query
    with titled as materialized (
        select d.article_id from search_documents d
        where are_many and d.tenant_id = tenant and d.title_term_ids && wanted_terms),
    complete as materialized (
        select d.article_id from search_documents d
        where are_many and d.tenant_id = tenant and d.term_ids @> every_term),
    matched as materialized (
        select d.article_id from search_documents d where d.tenant_id = tenant and d.term_ids && wanted_terms)
    select distinct found.article_id
    from (values (1), (2), (3)) as ways (way)
    cross join lateral (
        select m.article_id
        from (select article_id from titled where way = 1
              union all select article_id from complete where way = 2
              union all select article_id from matched where way = 3) m
        cross join lateral (select * from articles where tenant_id = tenant and id = m.article_id offset 0) a
        where article_is_visible(a.status, a.target_roles, caller_roles)
          and article_passes_filters(a.category_id, a.difficulty, a.locale, wanted_categories, wanted_difficulty, wanted_locale)
          and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
        limit candidate_limit) found
    where wanted_phrase is null or exists (
        select from passages p where p.tenant_id = tenant and p.article_id = found.article_id and p.tsv @@ wanted_phrase);
end
$$;

-- With `near` the articles of the 200 passages that are nearest to the query, of those that the caller may see and that pass the
-- filters, and `others`, which another arm found. `body` and `title`: the cosine similarities of an article's nearest passage and
-- of its title, null where there is no vector of the model. `is_nearest`: one of its passages is among the nearest.
--
-- `exact`: compare all visible passages, which is faster and complete where the caller sees few; otherwise the HNSW index is
-- scanned iteratively, so that filters do not starve it, and without sorting, or else a plan for any vector would compare all
-- of them as well. The limits are no parameters: a plan for any limit would not use the index. SECURITY DEFINER for the same
-- reason as `search_keyword_candidates`.
create function search_semantic_candidates(
    caller_roles text[], model_name text, query_embedding halfvec(384),
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text,
    near boolean, exact boolean, others uuid[]
) returns table (article_id uuid, is_nearest boolean, body float8, title float8)
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
    with nearest (id, body, title) as materialized (
        select id, max(similarity) filter (where ordinal > 0), max(similarity) filter (where ordinal = 0)
        from unnest(near_articles, near_ordinals, near_similarities) as n (id, ordinal, similarity) group by id)
    -- The nearest passage of an article is among the nearest of all when any of its passages is.
    select n.id, true,
           coalesce(n.body, (
               select max(1 - (e.embedding <=> query_embedding)) from passage_embeddings e
               where e.tenant_id = tenant and e.article_id = n.id and e.ordinal > 0 and e.model = model_name)),
           coalesce(n.title, (
               select max(1 - (e.embedding <=> query_embedding)) from passage_embeddings e
               where e.tenant_id = tenant and e.article_id = n.id and e.ordinal = 0 and e.model = model_name))
    from nearest n
    union all
    select other.id, false, measured.body, measured.title
    from unnest(others) as other (id)
    cross join lateral (
        select max(1 - (e.embedding <=> query_embedding)) filter (where e.ordinal > 0) as body,
               max(1 - (e.embedding <=> query_embedding)) filter (where e.ordinal = 0) as title
        from passage_embeddings e
        where e.tenant_id = tenant and e.article_id = other.id and e.model = model_name) measured
    where coalesce(measured.body, measured.title) is not null and not exists (select from nearest n where n.id = other.id);
end
$$;

do $$
declare
    f regprocedure;
begin
    -- The new owner of a function needs the right to create in its schema at that moment only.
    grant create on schema public to helpcenter_search;
    foreach f in array array[
        'search_keyword_candidates(text[], integer[], integer[], boolean, tsquery, uuid[], text[], text, text, integer)'::regprocedure,
        'search_semantic_candidates(text[], text, halfvec, uuid[], text[], text, text, boolean, boolean, uuid[])'::regprocedure
    ] loop
        execute format('revoke execute on function %s from public', f);
        execute format('grant execute on function %s to helpcenter_app', f);
        execute format('alter function %s owner to helpcenter_search', f);
    end loop;
    revoke create on schema public from helpcenter_search;
end
$$;
