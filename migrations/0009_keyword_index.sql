-- The keyword index, by term: every language has its own stems and statistics, and an article's row is small enough to score
-- hundreds of them in a millisecond.

drop function search_keyword_candidates(text[], tsquery, uuid[], text[], text, text, integer);
drop function search_semantic_candidates(text[], text, vector, uuid[], text[], text, text, integer, integer);
drop table search_documents, search_terms, search_totals;
drop function count_search_documents, refuse_update;

-- The filters of a search request, beside visibility. Null: not asked for. Two functions of plain values: the first becomes part
-- of the query that calls it, and the other is not called without tags.
drop function article_passes_filters(articles, uuid[], text[], text, text);
create function article_passes_filters(
    category_id uuid, difficulty text, locale text, wanted_categories uuid[], wanted_difficulty text, wanted_locale text
) returns boolean language sql immutable parallel safe
    return (wanted_categories is null or category_id = any (wanted_categories))
       and (wanted_difficulty is null or difficulty = wanted_difficulty)
       and (wanted_locale is null or locale = wanted_locale);
create function article_has_tag(tenant uuid, article uuid, wanted_tags text[]) returns boolean
    language sql stable parallel safe
    return exists (select from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                   where at.tenant_id = tenant and at.article_id = article and t.slug = any (wanted_tags));

-- The same formula, written so that it becomes part of the query that calls it.
create or replace function wilson_lower_bound(positive bigint, negative bigint) returns float8
    language sql immutable parallel safe
    return case when positive + negative = 0 then 0::float8 else
        (positive::float8 / (positive + negative) + 1.9208 / (positive + negative)::float8
         - 1.96 * sqrt(((positive::float8 / (positive + negative)) * (negative::float8 / (positive + negative))
                        + 0.9604 / (positive + negative)::float8) / (positive + negative)::float8))
        / (1 + 3.8416 / (positive + negative)::float8) end;

-- What stems and stop words an article of this locale has: the primary subtag of a language that PostgreSQL can stem, or
-- `simple`. Scripts that are written without spaces are cut into words before they come here (shared/src/knowledge/words.rs).
create function search_language(locale text) returns text
    language sql immutable parallel safe
    return case split_part(lower(locale), '-', 1)
        when 'nb' then 'no' when 'nn' then 'no'
        when 'ar' then 'ar' when 'ca' then 'ca' when 'da' then 'da' when 'de' then 'de' when 'el' then 'el'
        when 'en' then 'en' when 'es' then 'es' when 'et' then 'et' when 'eu' then 'eu' when 'fi' then 'fi'
        when 'fr' then 'fr' when 'ga' then 'ga' when 'hi' then 'hi' when 'hu' then 'hu' when 'hy' then 'hy'
        when 'id' then 'id' when 'it' then 'it' when 'lt' then 'lt' when 'ne' then 'ne' when 'nl' then 'nl'
        when 'no' then 'no' when 'pt' then 'pt' when 'ro' then 'ro' when 'ru' then 'ru' when 'sr' then 'sr'
        when 'sv' then 'sv' when 'ta' then 'ta' when 'tr' then 'tr' when 'yi' then 'yi'
        else 'simple' end;

do $$
declare
    language text;
begin
    foreach language in array array[
        'arabic', 'armenian', 'basque', 'catalan', 'danish', 'dutch', 'estonian', 'finnish', 'french', 'german', 'greek',
        'hindi', 'hungarian', 'indonesian', 'irish', 'italian', 'lithuanian', 'nepali', 'norwegian', 'portuguese', 'romanian',
        'russian', 'serbian', 'spanish', 'swedish', 'tamil', 'turkish', 'yiddish'
    ] loop
        execute format('create text search configuration help_%1$s (copy = %1$s)', language);
        execute format(
            'alter text search configuration help_%1$s alter mapping for hword, hword_part, word with unaccent, %1$s_stem',
            language);
    end loop;
end
$$;

-- The configuration of a language as `search_language` names it.
create function search_configuration(language text) returns regconfig
    language sql immutable parallel safe
    return case language
        when 'ar' then 'public.help_arabic'::regconfig when 'ca' then 'public.help_catalan'::regconfig
        when 'da' then 'public.help_danish'::regconfig when 'de' then 'public.help_german'::regconfig
        when 'el' then 'public.help_greek'::regconfig when 'en' then 'public.help_english'::regconfig
        when 'es' then 'public.help_spanish'::regconfig when 'et' then 'public.help_estonian'::regconfig
        when 'eu' then 'public.help_basque'::regconfig when 'fi' then 'public.help_finnish'::regconfig
        when 'fr' then 'public.help_french'::regconfig when 'ga' then 'public.help_irish'::regconfig
        when 'hi' then 'public.help_hindi'::regconfig when 'hu' then 'public.help_hungarian'::regconfig
        when 'hy' then 'public.help_armenian'::regconfig when 'id' then 'public.help_indonesian'::regconfig
        when 'it' then 'public.help_italian'::regconfig when 'lt' then 'public.help_lithuanian'::regconfig
        when 'ne' then 'public.help_nepali'::regconfig when 'nl' then 'public.help_dutch'::regconfig
        when 'no' then 'public.help_norwegian'::regconfig when 'pt' then 'public.help_portuguese'::regconfig
        when 'ro' then 'public.help_romanian'::regconfig when 'ru' then 'public.help_russian'::regconfig
        when 'sr' then 'public.help_serbian'::regconfig when 'sv' then 'public.help_swedish'::regconfig
        when 'ta' then 'public.help_tamil'::regconfig when 'tr' then 'public.help_turkish'::regconfig
        when 'yi' then 'public.help_yiddish'::regconfig
        else 'public.help_simple'::regconfig end;

create or replace function text_search_configuration(locale text) returns regconfig
    language sql immutable parallel safe
    return search_configuration(search_language(locale));

-- The terms of a tenant's articles, each with a number of its own: the index by number knows no other tenant's terms.
create table search_terms (
    tenant_id uuid not null references tenants (id) on delete cascade,
    language text not null,
    lexeme text not null,
    id integer not null generated by default as identity,
    word text not null, -- the shortest that it stood for in the article where it occurred first, in lower case
    article_count integer not null default 0, -- articles of the language in which it occurs
    title_count integer not null default 0, -- of these, with it in the title
    primary key (tenant_id, language, lexeme),
    constraint search_terms_id_key unique (tenant_id, id)
) with (fillfactor = 70);
create index search_terms_word_index on search_terms (tenant_id, word text_pattern_ops);

create table search_totals (
    tenant_id uuid not null references tenants (id) on delete cascade,
    language text not null,
    article_count bigint not null default 0,
    title_length bigint not null default 0,
    body_length bigint not null default 0,
    primary key (tenant_id, language)
) with (fillfactor = 50);

-- One row per searchable article: which terms it has, and how often.
create table search_documents (
    tenant_id uuid not null,
    article_id uuid not null,
    revision_id uuid not null,
    language text not null,
    term_ids integer[] not null, -- ascending
    title_term_ids integer[] not null, -- of these, those of the title
    terms bytea not null, -- six bytes for each of term_ids: the number, big-endian, then how often in the title and in the body, each at most 255
    title_length integer not null, -- in words
    body_length integer not null,
    passage_count integer not null,
    primary key (tenant_id, article_id),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, revision_id) references revisions (tenant_id, id) on delete cascade
);
alter table search_documents alter column terms set storage external; -- read whole and often, and too dense to compress
create index search_documents_terms_index on search_documents using gin (term_ids);
create index search_documents_title_terms_index on search_documents using gin (title_term_ids);

-- Statement triggers keep the statistics exactly in step with search_documents. The totals come first and terms in order, so
-- that two publishers of one tenant wait for each other and never deadlock.
create function count_search_documents() returns trigger language plpgsql as $$
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
        select tenant_id, id, count(*) as articles, count(*) filter (where id = any (title_term_ids)) as titles
        from changed, unnest(term_ids) as id group by tenant_id, id),
    locked as (
        select t.tenant_id, t.id, c.articles, c.titles
        from search_terms t join counted c on c.tenant_id = t.tenant_id and c.id = t.id
        order by t.tenant_id, t.id for update of t)
    update search_terms t
    set article_count = t.article_count + sign * l.articles, title_count = t.title_count + sign * l.titles
    from locked l where l.tenant_id = t.tenant_id and l.id = t.id;
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

-- Candidates of the keyword arm: articles that the caller may see with any of `wanted_terms`. `are_many`: there may be more
-- than are returned; then at most so many of those with a term in the title, of those with all of `every_term`, and of the
-- others. `wanted_phrase`: only articles with a passage that matches it, when it is given.
--
-- SECURITY DEFINER, because under row-level security the planner may not use the GIN indexes (`&&` and `@@` are not
-- leakproof): the tenant of the transaction and the visibility rule are therefore *inside* the function, and its owner reads
-- only these tables.
create policy search on search_documents for select to helpcenter_search using (true);
grant select on search_documents to helpcenter_search;

create function search_keyword_candidates(
    caller_roles text[], wanted_terms integer[], every_term integer[], are_many boolean, wanted_phrase tsquery,
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text, candidate_limit integer
) returns table (article_id uuid, language text, terms bytea, title_length integer, body_length integer)
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp parallel safe as $$
#variable_conflict use_column
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
begin
    if not are_many then
        return query
        select d.article_id, d.language, d.terms, d.title_length, d.body_length
        from search_documents d
        join articles a on a.tenant_id = d.tenant_id and a.id = d.article_id
        where d.tenant_id = tenant and d.term_ids && wanted_terms
          and article_is_visible(a.status, a.target_roles, caller_roles)
          and article_passes_filters(a.category_id, a.difficulty, a.locale,
                                     wanted_categories, wanted_difficulty, wanted_locale)
          and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
          and (wanted_phrase is null or exists (
               select from passages p
               where p.tenant_id = d.tenant_id and p.article_id = d.article_id and p.tsv @@ wanted_phrase))
        limit candidate_limit;
        return;
    end if;
    return query
    with found (article_id) as (
        (select d.article_id from search_documents d
         join articles a on a.tenant_id = d.tenant_id and a.id = d.article_id
         where d.tenant_id = tenant and d.title_term_ids && wanted_terms
           and article_is_visible(a.status, a.target_roles, caller_roles)
           and article_passes_filters(a.category_id, a.difficulty, a.locale,
                                      wanted_categories, wanted_difficulty, wanted_locale)
           and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
         limit candidate_limit)
        union
        (select d.article_id from search_documents d
         join articles a on a.tenant_id = d.tenant_id and a.id = d.article_id
         where d.tenant_id = tenant and d.term_ids @> every_term
           and article_is_visible(a.status, a.target_roles, caller_roles)
           and article_passes_filters(a.category_id, a.difficulty, a.locale,
                                      wanted_categories, wanted_difficulty, wanted_locale)
           and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
         limit candidate_limit)
        union
        (select d.article_id from search_documents d
         join articles a on a.tenant_id = d.tenant_id and a.id = d.article_id
         where d.tenant_id = tenant and d.term_ids && wanted_terms
           and article_is_visible(a.status, a.target_roles, caller_roles)
           and article_passes_filters(a.category_id, a.difficulty, a.locale,
                                      wanted_categories, wanted_difficulty, wanted_locale)
           and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
         limit candidate_limit))
    select d.article_id, d.language, d.terms, d.title_length, d.body_length
    from found
    join search_documents d on d.tenant_id = tenant and d.article_id = found.article_id
    where wanted_phrase is null or exists (
        select from passages p where p.tenant_id = d.tenant_id and p.article_id = d.article_id and p.tsv @@ wanted_phrase);
end
$$;

drop index passages_article_index;
create index passages_article_index on passages (tenant_id, article_id, ordinal);

-- Candidates of the semantic arm: the articles of the 200 nearest visible passages, with the similarity of the nearest of the
-- body's and of the title's; null: not among them. `exact`: compare all of them, which is faster and complete where the
-- caller sees few; otherwise through the HNSW index, scanned iteratively so that filters do not starve it. Without sorting, or
-- else a plan for any vector would compare all of them as well.
create function search_semantic_candidates(
    caller_roles text[], model_name text, query_embedding vector(384),
    wanted_categories uuid[], wanted_tags text[], wanted_difficulty text, wanted_locale text, exact boolean
) returns table (
    article_id uuid, body float8, title float8, language text, terms bytea, title_length integer, body_length integer)
    language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
    set hnsw.iterative_scan = 'relaxed_order' set hnsw.ef_search = 300 set hnsw.max_scan_tuples = 40000
    set enable_sort = off as $$
#variable_conflict use_column
declare
    tenant uuid := current_setting('app.tenant_id')::uuid;
begin
    if exact then
        return query
        select near.*, d.language, d.terms, d.title_length, d.body_length from (
            select nearest.article_id, max(similarity) filter (where ordinal > 0), max(similarity) filter (where ordinal = 0)
            from (
                select p.article_id, p.ordinal, 1 - (e.embedding <=> query_embedding) as similarity
                from passage_embeddings e
                join passages p on p.tenant_id = e.tenant_id and p.id = e.passage_id
                join articles a on a.tenant_id = p.tenant_id and a.id = p.article_id
                where e.tenant_id = tenant and e.model = model_name
                  and article_is_visible(a.status, a.target_roles, caller_roles)
                  and article_passes_filters(a.category_id, a.difficulty, a.locale,
                                             wanted_categories, wanted_difficulty, wanted_locale)
                  and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
                order by similarity desc -- an expression, so that the index is not used
                limit 200
            ) nearest group by nearest.article_id
        ) near (article_id, body, title)
        left join search_documents d on d.tenant_id = tenant and d.article_id = near.article_id;
    else
        return query
        select near.*, d.language, d.terms, d.title_length, d.body_length from (
            select nearest.article_id, max(similarity) filter (where ordinal > 0), max(similarity) filter (where ordinal = 0)
            from (
                select p.article_id, p.ordinal, 1 - (e.embedding <=> query_embedding) as similarity
                from passage_embeddings e
                join passages p on p.tenant_id = e.tenant_id and p.id = e.passage_id
                join articles a on a.tenant_id = p.tenant_id and a.id = p.article_id
                where e.tenant_id = tenant and e.model = model_name
                  and article_is_visible(a.status, a.target_roles, caller_roles)
                  and article_passes_filters(a.category_id, a.difficulty, a.locale,
                                             wanted_categories, wanted_difficulty, wanted_locale)
                  and (wanted_tags is null or article_has_tag(a.tenant_id, a.id, wanted_tags))
                order by e.embedding <=> query_embedding
                limit 200
            ) nearest group by nearest.article_id
        ) near (article_id, body, title)
        left join search_documents d on d.tenant_id = tenant and d.article_id = near.article_id;
    end if;
end
$$;

-- Articles that the caller may see with all of `every_term` and one of `any_term` in the title. SECURITY DEFINER for the same
-- reason.
create function search_title_candidates(caller_roles text[], every_term integer[], any_term integer[], candidate_limit integer)
    returns setof uuid
    language sql stable security definer set search_path = pg_catalog, public, pg_temp parallel safe
begin atomic
    select a.id
    from search_documents d
    join articles a on a.tenant_id = d.tenant_id and a.id = d.article_id
    where d.tenant_id = current_setting('app.tenant_id')::uuid
      and d.title_term_ids @> every_term and d.title_term_ids && any_term
      and article_is_visible(a.status, a.target_roles, caller_roles)
    limit candidate_limit;
end;

do $$
declare
    f regprocedure;
begin
    -- The new owner of a function needs the right to create in its schema at that moment only.
    grant create on schema public to helpcenter_search;
    foreach f in array array[
        'search_keyword_candidates(text[], integer[], integer[], boolean, tsquery, uuid[], text[], text, text, integer)'::regprocedure,
        'search_semantic_candidates(text[], text, vector, uuid[], text[], text, text, boolean)'::regprocedure,
        'search_title_candidates(text[], integer[], integer[], integer)'::regprocedure
    ] loop
        execute format('revoke execute on function %s from public', f);
        execute format('grant execute on function %s to helpcenter_app', f);
        execute format('alter function %s owner to helpcenter_search', f);
    end loop;
    revoke create on schema public from helpcenter_search;
end
$$;
