//! The SQL of putting back what was exported, beside what `knowledge::store` has for other files.

use uuid::Uuid;

use crate::{
    db::TenantTx,
    knowledge::{export::format::ArticleBlock, store::SourcedArticle},
};

/// An article by its id, with the text that its file has: what readers see, or the latest when they see none.
pub(super) async fn article(tx: &mut TenantTx, id: Uuid) -> Result<Option<SourcedArticle>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        SourcedArticle,
        r#"select a.id, r.id as revision_id, a.slug, r.title, r.summary, r.content, a.category_id,
                  a.difficulty, a.target_roles, a.locale, a.status, a.review_due_on,
                  a.source_front_matter as front_matter,
                  array(select t.name from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                        where at.tenant_id = a.tenant_id and at.article_id = a.id order by t.name) as "tags!"
           from articles a join revisions r on r.tenant_id = a.tenant_id
               and r.id = case when a.status = 'PUBLISHED' then a.published_revision_id else a.latest_revision_id end
           where a.tenant_id = $1 and a.id = $2 for update of a"#,
        tenant,
        id
    )
    .fetch_optional(tx.connection())
    .await
}

/// Creates an article without text as it was exported; its first revision follows in the same transaction.
pub(super) async fn insert_article(tx: &mut TenantTx, slug: &str, block: &ArticleBlock) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into articles (tenant_id, id, slug, source, source_path, translation_group, published_at, last_reviewed_at)
         values ($1, $2, $3, $4, $5, coalesce($6, uuidv7()), $7, $8) returning id",
        tenant,
        block.id,
        slug,
        block.source,
        block.source_path,
        block.translation_group,
        block.published_at,
        block.last_reviewed_at
    )
    .fetch_one(tx.connection())
    .await
}

/// Lets former addresses lead to an article, as far as none of them is another article's.
pub(super) async fn keep_former_slugs(tx: &mut TenantTx, article: Uuid, slugs: &[String]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "insert into former_slugs (tenant_id, slug, article_id)
         select $1, former.slug, $2 from unnest($3::text[]) as former (slug)
         where not exists (select from articles a where a.tenant_id = $1 and a.slug = former.slug)
         on conflict do nothing",
        tenant,
        article,
        slugs
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The latest text of an article, and whether readers see another one.
pub(super) async fn latest_text(
    tx: &mut TenantTx,
    article: Uuid,
) -> Result<Option<(String, String, String, bool)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select r.title, r.summary, r.content,
                  (a.status = 'PUBLISHED' and a.published_revision_id is distinct from r.id) as "is_draft!"
           from articles a join revisions r on r.tenant_id = a.tenant_id and r.id = a.latest_revision_id
           where a.tenant_id = $1 and a.id = $2 for update of a"#,
        tenant,
        article
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| (row.title, row.summary, row.content, row.is_draft)))
}

/// Notes that an article was changed.
pub(super) async fn raise_version(tx: &mut TenantTx, article: Uuid) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update articles set version = version + 1, updated_at = now() where tenant_id = $1 and id = $2",
        tenant,
        article
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Sets what should be read next, as far as it is there.
pub(super) async fn set_related(tx: &mut TenantTx, article: Uuid, related: &[Uuid]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "delete from related_articles where tenant_id = $1 and article_id = $2 and related_id <> all ($3)",
        tenant,
        article,
        related
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into related_articles as r (tenant_id, article_id, related_id, position)
         select $1, $2, a.id, min(w.position) - 1
         from unnest($3::uuid[]) with ordinality as w (id, position)
         join articles a on a.tenant_id = $1 and a.id = w.id and a.id <> $2
         group by a.id
         on conflict (tenant_id, article_id, related_id) do update set position = excluded.position
         where r.position <> excluded.position",
        tenant,
        article,
        related
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What a file says of its folder's category.
pub(super) struct CategoryValues<'a> {
    pub(super) id: Option<Uuid>,
    pub(super) parent_id: Option<Uuid>,
    pub(super) name: &'a str,
    pub(super) slug: &'a str,
    pub(super) description: Option<&'a str>,
    pub(super) icon: Option<&'a str>,
    pub(super) color: Option<&'a str>,
    pub(super) order: Option<i32>,
    pub(super) is_active: Option<bool>,
    pub(super) source: Option<&'a str>,
    pub(super) source_path: Option<&'a str>,
}

/// The category with this id.
pub(super) async fn category(tx: &mut TenantTx, id: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("select id from categories where tenant_id = $1 and id = $2", tenant, id)
        .fetch_optional(tx.connection())
        .await
}

/// Creates a category, unless its slug or folder has one already; then `None`.
pub(super) async fn insert_category(tx: &mut TenantTx, new: &CategoryValues<'_>) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into categories (tenant_id, id, parent_id, name, slug, description, icon, color, display_order, is_active,
                                 source, source_path)
         values ($1, coalesce($2, uuidv7()), $3, $4, $5, coalesce($6, ''), coalesce($7, ''), coalesce($8, ''),
                 coalesce($9, 0), coalesce($10, true), $11, $12)
         on conflict do nothing returning id",
        tenant,
        new.id,
        new.parent_id,
        new.name,
        new.slug,
        new.description,
        new.icon,
        new.color,
        new.order,
        new.is_active,
        new.source,
        new.source_path
    )
    .fetch_optional(tx.connection())
    .await
}

/// Changes a category to what is given; whether anything was different. A slug that another one has is left alone, and the
/// parent unless the category was exported.
pub(super) async fn update_category(
    tx: &mut TenantTx,
    id: Uuid,
    values: &CategoryValues<'_>,
    has_name: bool,
    has_slug: bool,
) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let changed = sqlx::query!(
        "update categories c
         set parent_id = n.parent_id, name = n.name, slug = n.slug, description = n.description, icon = n.icon,
             color = n.color, display_order = n.display_order, is_active = n.is_active
         from (select id, case when $3 then $4 else parent_id end as parent_id, case when $5 then $6 else name end as name,
                      case when $7 and not exists (select from categories o
                                                   where o.tenant_id = $1 and o.slug = $8 and o.id <> $2)
                           then $8 else slug end as slug,
                      coalesce($9, description) as description, coalesce($10, icon) as icon, coalesce($11, color) as color,
                      coalesce($12, display_order) as display_order, coalesce($13, is_active) as is_active
               from categories where tenant_id = $1 and id = $2) n
         where c.tenant_id = $1 and c.id = n.id
           and (c.parent_id, c.name, c.slug, c.description, c.icon, c.color, c.display_order, c.is_active)
               is distinct from
               (n.parent_id, n.name, n.slug, n.description, n.icon, n.color, n.display_order, n.is_active)",
        tenant,
        id,
        values.id.is_some(),
        values.parent_id,
        has_name,
        values.name,
        has_slug,
        values.slug,
        values.description,
        values.icon,
        values.color,
        values.order,
        values.is_active
    )
    .execute(tx.connection())
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Makes tags that are not there: name and slug of each.
pub(super) async fn insert_tags(tx: &mut TenantTx, tags: &[(String, String)]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (names, slugs): (Vec<String>, Vec<String>) = tags.iter().cloned().unzip();
    sqlx::query!(
        "insert into tags (tenant_id, name, slug) select $1, * from unnest($2::text[], $3::text[]) on conflict do nothing",
        tenant,
        &names,
        &slugs
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
