-- The semantic arm says which articles are near, as the keyword arm says which have the words: similarities are measured in the
-- memory of whoever searches, who remembers vectors as well as words.

drop function search_semantic_candidates(text[], text, halfvec, uuid[], text[], text, text, boolean, boolean, uuid[]);

-- The articles of the 200 passages that are nearest to the query, of those that the caller may see and that pass the filters;
-- one for each of the passages, in no order.
--
-- `exact`: compare all visible passages, which is faster and complete where the caller sees few; otherwise the HNSW index is
-- scanned iteratively, so that filters do not starve it, and without sorting, or else a plan for any vector would compare all
-- of them as well. The limit is no parameter: a plan for any limit would not use the index. SECURITY DEFINER for the same
-- reason as `search_keyword_candidates`.
create function search_semantic_candidates(
    caller_roles text[], model_name text, query_embedding halfvec(384),
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text, exact boolean
) returns setof uuid
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
    set hnsw.iterative_scan = 'relaxed_order' set hnsw.ef_search = 200 set hnsw.max_scan_tuples = 40000
    set enable_sort = off set plan_cache_mode = force_generic_plan as $$
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
begin
    if exact then
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
    f regprocedure := 'search_semantic_candidates(text[], text, halfvec, uuid[], text[], text, text, boolean)';
begin
    -- The new owner of a function needs the right to create in its schema at that moment only.
    grant create on schema public to helpcenter_search;
    execute format('revoke execute on function %s from public', f);
    execute format('grant execute on function %s to helpcenter_app', f);
    execute format('alter function %s owner to helpcenter_search', f);
    revoke create on schema public from helpcenter_search;
end
$$;
