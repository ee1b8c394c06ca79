-- What a search costs grows less with the passages: articles with a common word are looked through only as far as others are missing,
-- and how far the HNSW index is scanned is said by whoever searches, who knows how many passages there are.

-- Articles that the caller may see, that pass the filters and that have any of `wanted_terms`. `are_many`: there may be more than
-- are returned; then at most so many of those with a term in the title, as many of those with all of `every_term`, and of the
-- others what is missing of so many. `wanted_phrase`: only articles with a passage that matches it, when it is given.
--
-- Planning takes as long as the query, and a plan for any terms must not begin with whom the caller may see: terms come first,
-- and `offset 0` keeps the look at each article behind them. SECURITY DEFINER, because under row-level security the planner
-- may not use the GIN indexes (`&&` and `@@` are not leakproof): the tenant of the transaction and the visibility rule are
-- therefore *inside* the function, and its owner reads only the tables of search.
create or replace function search_keyword_candidates(
    caller_roles text[], wanted_terms integer[], every_term integer[], are_many boolean, wanted_phrase tsquery,
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text, candidate_limit integer
) returns setof uuid
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp parallel safe
    set plan_cache_mode = force_generic_plan as $$
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
    found_articles uuid[] := '{}';
begin
    for way in case when are_many then 1 else 3 end .. 3 loop
        found_articles := found_articles || array(
            select m.article_id
            from (select article_id from search_documents
                  where way = 1 and tenant_id = tenant and title_term_ids && wanted_terms
                  union all
                  select article_id from search_documents
                  where way = 2 and tenant_id = tenant and term_ids @> every_term
                  union all
                  select article_id from search_documents
                  where way = 3 and tenant_id = tenant and term_ids && wanted_terms) m
            cross join lateral (select * from articles where tenant_id = tenant and id = m.article_id offset 0) a
            where article_is_visible(a.status, a.target_roles, caller_roles)
              and article_passes_filters(a.category_id, a.difficulty, a.locale, wanted_categories, wanted_difficulty, wanted_locale)
              and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
            limit case when way < 3 then candidate_limit else greatest(candidate_limit - cardinality(found_articles), 0) end);
    end loop;
    return query
    select distinct found.article_id from unnest(found_articles) as found (article_id)
    where wanted_phrase is null or exists (
        select from passages p where p.tenant_id = tenant and p.article_id = found.article_id and p.tsv @@ wanted_phrase);
end
$$;

-- The articles of the 200 passages that are nearest to the query, of those that the caller may see and that pass the filters;
-- one for each of the passages, in no order.
--
-- `ef_search`: how many passages a scan of the HNSW index keeps in view. The scan is iterative, so that filters do not starve it,
-- and without sorting, or else a plan for any vector would compare all passages. Null: compare all that the caller may see, which
-- is faster and complete where these are few. The limit is no parameter: a plan for any limit would not use the index. SECURITY
-- DEFINER for the same reason as `search_keyword_candidates`.
drop function search_semantic_candidates(text[], text, halfvec, uuid[], text[], text, text, boolean);
create function search_semantic_candidates(
    caller_roles text[], model_name text, query_embedding halfvec(384),
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text, ef_search integer
) returns setof uuid
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
    set hnsw.iterative_scan = 'relaxed_order' set hnsw.ef_search = 200 set hnsw.max_scan_tuples = 40000
    set enable_sort = off set plan_cache_mode = force_generic_plan as $$
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
begin
    if ef_search is null then
        return query
        select e.article_id
        from articles a
        join passage_embeddings e on e.tenant_id = a.tenant_id and e.article_id = a.id
        where a.tenant_id = tenant and e.model = model_name
          and article_is_visible(a.status, a.target_roles, caller_roles)
          and article_passes_filters(a.category_id, a.difficulty, a.locale, wanted_categories, wanted_difficulty, wanted_locale)
          and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
        order by (e.embedding <=> query_embedding) + 0 -- an expression, so that the index is not used
        limit 200;
    else
        perform set_config('hnsw.ef_search', ef_search::text, true); -- for this function only, as it is set above
        return query
        select e.article_id
        from passage_embeddings e
        cross join lateral (select * from articles where tenant_id = tenant and id = e.article_id offset 0) a
        where e.tenant_id = tenant and e.model = model_name
          and article_is_visible(a.status, a.target_roles, caller_roles)
          and article_passes_filters(a.category_id, a.difficulty, a.locale, wanted_categories, wanted_difficulty, wanted_locale)
          and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
        order by e.embedding <=> query_embedding
        limit 200;
    end if;
end
$$;

do $$
declare
    f regprocedure := 'search_semantic_candidates(text[], text, halfvec, uuid[], text[], text, text, integer)';
begin
    -- The new owner of a function needs the right to create in its schema at that moment only.
    grant create on schema public to helpcenter_search;
    execute format('revoke execute on function %s from public', f);
    execute format('grant execute on function %s to helpcenter_app', f);
    execute format('alter function %s owner to helpcenter_search', f);
    revoke create on schema public from helpcenter_search;
end
$$;
