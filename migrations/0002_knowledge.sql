-- Categories, tags, articles, their revisions and the passages that search works on.

create table categories (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    parent_id uuid,
    name text not null check (length(name) between 1 and 200),
    slug text not null check (length(slug) between 1 and 200),
    description text not null default '',
    icon text not null default '',
    color text not null default '',
    display_order integer not null default 0,
    is_active boolean not null default true,
    source text, -- the import that keeps this category, and the folder in it that it stands for
    source_path text,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint categories_slug_key unique (tenant_id, slug),
    constraint categories_source_path_key unique (tenant_id, source, source_path),
    foreign key (tenant_id, parent_id) references categories (tenant_id, id)
);
create index categories_parent_index on categories (tenant_id, parent_id);

create function refuse_category_cycle() returns trigger language plpgsql as $$
begin
    if exists (
        with recursive ancestor (id) as (
            select new.parent_id
            union
            select c.parent_id from categories c join ancestor a on c.id = a.id
            where c.tenant_id = new.tenant_id and c.parent_id is not null
        )
        select from ancestor where id = new.id
    ) then
        raise exception 'category % cannot be placed below itself', new.id
            using errcode = 'check_violation', constraint = 'categories_no_cycle';
    end if;
    return new;
end
$$;
create trigger categories_no_cycle before insert or update of parent_id on categories
    for each row when (new.parent_id is not null) execute function refuse_category_cycle();

create table tags (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    name text not null check (length(name) between 1 and 100),
    slug text not null check (length(slug) between 1 and 100),
    primary key (tenant_id, id),
    constraint tags_slug_key unique (tenant_id, slug)
);

create table articles (
    tenant_id uuid not null references tenants (id) on delete cascade,
    id uuid not null default uuidv7(),
    slug text not null check (length(slug) between 1 and 200),
    category_id uuid,
    difficulty text not null default 'BEGINNER' check (difficulty in ('BEGINNER', 'INTERMEDIATE', 'ADVANCED')),
    target_roles text[] not null default '{}', -- empty: nobody
    locale text not null default 'en',
    translation_group uuid not null default uuidv7(),
    status text not null default 'DRAFT' check (status in ('DRAFT', 'REVIEW', 'PUBLISHED', 'ARCHIVED')),
    version integer not null default 1, -- raised by every change, for optimistic locking
    published_revision_id uuid, -- what readers see
    latest_revision_id uuid, -- what authors edit
    view_count bigint not null default 0,
    helpful_count bigint not null default 0,
    not_helpful_count bigint not null default 0,
    published_at timestamptz,
    last_reviewed_at timestamptz,
    review_due_on date,
    source text, -- the import that keeps this article, and its file in it
    source_path text,
    source_front_matter jsonb not null default '{}', -- keys of the file's front matter that have no column
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint articles_slug_key unique (tenant_id, slug),
    constraint articles_source_path_key unique (tenant_id, source, source_path),
    constraint articles_published_has_revision check (status <> 'PUBLISHED' or published_revision_id is not null),
    foreign key (tenant_id, category_id) references categories (tenant_id, id)
);
create index articles_category_index on articles (tenant_id, category_id);
create index articles_published_index on articles (tenant_id, published_at desc, id desc) where status = 'PUBLISHED';

create table revisions (
    tenant_id uuid not null,
    id uuid not null default uuidv7(),
    article_id uuid not null,
    number integer not null check (number > 0),
    title text not null check (length(title) between 1 and 200),
    summary text not null default '' check (length(summary) <= 500),
    content text not null default '',
    note text not null default '',
    author text not null, -- who wrote it: a person's subject, or the import
    created_at timestamptz not null default now(),
    primary key (tenant_id, id),
    constraint revisions_number_key unique (tenant_id, article_id, number),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade
);
alter table articles
    add foreign key (tenant_id, published_revision_id) references revisions (tenant_id, id) deferrable initially deferred,
    add foreign key (tenant_id, latest_revision_id) references revisions (tenant_id, id) deferrable initially deferred;

create table article_tags (
    tenant_id uuid not null,
    article_id uuid not null,
    tag_id uuid not null,
    primary key (tenant_id, article_id, tag_id),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, tag_id) references tags (tenant_id, id) on delete cascade
);
create index article_tags_tag_index on article_tags (tenant_id, tag_id);

-- Links between articles, as the author wrote their destinations. The content is kept as written; a page puts the
-- target's present address in when it is shown. No target: the link is broken.
create table article_links (
    tenant_id uuid not null,
    article_id uuid not null,
    destination text not null,
    fragment text not null default '', -- the part after `#`, without it
    target_article_id uuid,
    primary key (tenant_id, article_id, destination),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, target_article_id) references articles (tenant_id, id) on delete set null (target_article_id)
);
create index article_links_target_index on article_links (tenant_id, target_article_id);

-- THE visibility rule. Every surface that shows, lists, counts or searches articles asks this function.
-- `caller_roles`: the caller's roles, without `all`. An article without target roles is visible to nobody.
create function article_is_visible(status text, target_roles text[], caller_roles text[]) returns boolean
    language sql immutable parallel safe
    return status = 'PUBLISHED' and target_roles && (caller_roles || array['all']);

create table passages (
    tenant_id uuid not null,
    id uuid not null default uuidv7(),
    article_id uuid not null,
    revision_id uuid not null,
    ordinal integer not null check (ordinal >= 0), -- 0 is the title
    heading_path text[] not null default '{}',
    anchor text,
    body text not null, -- plain text, as a reader sees it
    context text not null, -- what is embedded: title, heading path and body
    tsv tsvector not null,
    primary key (tenant_id, id),
    constraint passages_ordinal_key unique (tenant_id, revision_id, ordinal),
    foreign key (tenant_id, article_id) references articles (tenant_id, id) on delete cascade,
    foreign key (tenant_id, revision_id) references revisions (tenant_id, id) on delete cascade
);
create index passages_article_index on passages (tenant_id, article_id);
create index passages_tsv_index on passages using gin (tsv);

create table passage_embeddings (
    tenant_id uuid not null,
    passage_id uuid not null,
    model text not null, -- name and version of the model that made the vector
    embedding vector(384) not null, -- unit length
    created_at timestamptz not null default now(),
    primary key (tenant_id, passage_id, model),
    foreign key (tenant_id, passage_id) references passages (tenant_id, id) on delete cascade
);
create index passage_embeddings_hnsw_index on passage_embeddings using hnsw (embedding vector_cosine_ops);

call protect_tenant_table('categories');
call protect_tenant_table('tags');
call protect_tenant_table('articles');
call protect_tenant_table('revisions');
call protect_tenant_table('article_tags');
call protect_tenant_table('article_links');
call protect_tenant_table('passages');
call protect_tenant_table('passage_embeddings');
grant select, insert, update, delete on
    categories, tags, articles, revisions, article_tags, article_links, passages, passage_embeddings to helpcenter_app;
