-- Writing articles: what is under way beside the published text, old addresses, and articles that belong together.

alter table articles
    add column review_requested_at timestamptz, -- the latest revision waits for an editor's eyes
    add column publish_at timestamptz, -- when a revision that an editor chose will be published by itself
    add column publish_revision_id uuid,
    add constraint articles_translation_key unique (tenant_id, translation_group, locale),
    add constraint articles_schedule_is_whole check ((publish_at is null) = (publish_revision_id is null)),
    add foreign key (tenant_id, publish_revision_id) references revisions (tenant_id, id) deferrable initially deferred;
create index articles_scheduled_index on articles (tenant_id, publish_at) where publish_at is not null;
create index articles_updated_index on articles (tenant_id, updated_at desc, id desc);

-- Addresses that articles had once: they lead to the present ones. Kept by a trigger, so that every way to change a slug
-- keeps them; what an article is called now always wins.
create table former_slugs (
    tenant_id uuid not null,
    slug text not null check (length(slug) between 1 and 200),
    article_id uuid not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, slug),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade
);
create index former_slugs_article_index on former_slugs (tenant_id, article_id);

create function keep_former_slug() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        insert into former_slugs (tenant_id, slug, article_id) values (old.tenant_id, old.slug, old.id)
        on conflict (tenant_id, slug) do update set article_id = excluded.article_id, created_at = now();
    end if;
    delete from former_slugs where tenant_id = new.tenant_id and slug = new.slug;
    return null;
end
$$;
create trigger articles_slug_is_new after insert on articles for each row execute function keep_former_slug();
create trigger articles_slug_changed after update of slug on articles
    for each row when (old.slug <> new.slug) execute function keep_former_slug();

-- What an editor wants to be read next, in this order.
create table related_articles (
    tenant_id uuid not null,
    article_id uuid not null,
    related_id uuid not null,
    position integer not null check (position >= 0),
    primary key (tenant_id, article_id, related_id),
    constraint related_articles_is_another check (article_id <> related_id),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, related_id) references articles (tenant_id, id) on delete cascade
);
create index related_articles_related_index on related_articles (tenant_id, related_id);

create index audit_log_latest_index on audit_log (tenant_id, created_at desc, id desc);

call protect_tenant_table('former_slugs');
call protect_tenant_table('related_articles');
grant select, insert, update, delete on former_slugs, related_articles to helpcenter_app;

-- The lower bound of the 95 % Wilson score interval of the share of positive votes; 0 without votes (Wilson 1927, z = 1.96).
create function wilson_lower_bound(positive bigint, negative bigint) returns float8
    language sql immutable strict parallel safe
    return case when positive + negative = 0 then 0 else (
        select (share + 1.9208 / votes - 1.96 * sqrt((share * (1 - share) + 0.9604 / votes) / votes)) / (1 + 3.8416 / votes)
        from (select (positive + negative)::float8 as votes, positive::float8 / (positive + negative) as share) as v) end;
