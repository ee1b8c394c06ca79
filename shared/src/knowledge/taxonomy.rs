//! The tree of categories and the tags, for those who arrange them.

use serde_json::json;
use uuid::Uuid;

use super::{
    index, reindex,
    slug::{Slug, slugify},
};
use crate::{audit, db::TenantTx};

/// Most characters in the name of a category.
pub const MAX_CATEGORY_NAME_CHARS: usize = 200;
/// Most characters in the name of a tag.
pub const MAX_TAG_NAME_CHARS: usize = 100;
/// Most categories below each other.
pub const MAX_DEPTH: i64 = 10;

/// A category, whether readers see something in it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Identity.
    pub id: Uuid,
    /// The category above it.
    pub parent_id: Option<Uuid>,
    /// Name.
    pub name: String,
    /// Address.
    pub slug: String,
    /// What is in it.
    pub description: String,
    /// Name of an icon, or empty.
    pub icon: String,
    /// A CSS color, or empty.
    pub color: String,
    /// Its place among those with the same parent, ascending.
    pub display_order: i32,
    /// Whether readers see it.
    pub is_active: bool,
    /// Articles in it, whatever their status; those of its descendants are not counted.
    pub article_count: i64,
    /// The import that keeps it.
    pub source: Option<String>,
}

/// What a category is made of or changed to; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct CategoryChange {
    /// Name.
    pub name: Option<String>,
    /// Address; made of the name when a new category has none.
    pub slug: Option<Slug>,
    /// The category above it, or none.
    pub parent_id: Option<Option<Uuid>>,
    /// What is in it.
    pub description: Option<String>,
    /// Name of an icon, or empty.
    pub icon: Option<String>,
    /// `#rrggbb`, or empty.
    pub color: Option<String>,
    /// Whether readers see it.
    pub is_active: Option<bool>,
}

/// Why categories or tags were not changed; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TaxonomyError {
    /// There is none with this id.
    #[error("There is no {0} with this id.")]
    NotFound(&'static str),
    /// Another one has the address.
    #[error("Another {0} has the slug {1:?}. Choose another name or slug.")]
    SlugTaken(&'static str, String),
    /// It would be below itself, or too deep.
    #[error("{0}")]
    Misplaced(String),
    /// It holds something.
    #[error("The category holds {articles} articles and {categories} categories. Move them first.")]
    NotEmpty {
        /// Articles, whatever their status.
        articles: i64,
        /// Categories right below it.
        categories: i64,
    },
    /// A value is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// All categories, parents before their children, in display order.
pub async fn all_categories(tx: &mut TenantTx) -> Result<Vec<Category>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Category,
        r#"with recursive tree as (
               select c.*, array[(c.display_order, lower(c.name), c.id)] as path from categories c
               where c.tenant_id = $1 and c.parent_id is null
               union all
               select c.*, t.path || (c.display_order, lower(c.name), c.id)
               from categories c join tree t on c.tenant_id = t.tenant_id and c.parent_id = t.id
           )
           select id as "id!", parent_id, name as "name!", slug as "slug!", description as "description!", icon as "icon!",
                  color as "color!", display_order as "display_order!", is_active as "is_active!", source,
                  (select count(*) from articles a where a.tenant_id = tree.tenant_id and a.category_id = tree.id)
                      as "article_count!"
           from tree order by path"#,
        tenant
    )
    .fetch_all(tx.connection())
    .await
}

/// Ids of the category with this slug and of all below it; none, when there is no such category.
pub async fn ids_below(tx: &mut TenantTx, slug: &str) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"with recursive below (id) as (
               select id from categories where tenant_id = $1 and slug = $2
               union
               select c.id from categories c join below b on c.parent_id = b.id where c.tenant_id = $1
           )
           select id as "id!" from below"#,
        tenant,
        slug
    )
    .fetch_all(tx.connection())
    .await
}

/// Makes a category, last among those with its parent.
pub async fn create_category(tx: &mut TenantTx, actor: &str, new: &CategoryChange) -> Result<Uuid, TaxonomyError> {
    let tenant = tx.tenant().uuid();
    lock_tree(tx).await?;
    let name = new.name.clone().unwrap_or_default();
    check_category(new, Some(&name))?;
    let slug = new.slug.clone().or_else(|| slugify(&name)).ok_or_else(|| {
        TaxonomyError::Invalid("`name` must have a letter or digit, or the category a `slug`.".to_owned())
    })?;
    let parent = new.parent_id.flatten();
    check_place(tx, None, parent).await?;
    let id = sqlx::query_scalar!(
        "insert into categories (tenant_id, parent_id, name, slug, description, icon, color, is_active, display_order)
         select $1, $2, $3, $4, $5, $6, $7, $8, coalesce(max(display_order) + 1, 0)
         from categories where tenant_id = $1 and parent_id is not distinct from $2
         on conflict (tenant_id, slug) do nothing returning id",
        tenant,
        parent,
        name.trim(),
        slug.as_str(),
        new.description.as_deref().unwrap_or_default(),
        new.icon.as_deref().unwrap_or_default(),
        new.color.as_deref().unwrap_or_default(),
        new.is_active.unwrap_or(true)
    )
    .fetch_optional(tx.connection())
    .await?
    .ok_or_else(|| TaxonomyError::SlugTaken("category", slug.to_string()))?;
    audit::record_with(tx, actor, "category.created", &id.to_string(), &json!({ "name": name })).await?;
    Ok(id)
}

/// Changes a category; a new parent puts it last among that one's.
pub async fn change_category(
    tx: &mut TenantTx,
    actor: &str,
    id: Uuid,
    change: &CategoryChange,
) -> Result<(), TaxonomyError> {
    let tenant = tx.tenant().uuid();
    lock_tree(tx).await?;
    check_category(change, change.name.as_deref())?;
    let Some(former_parent) =
        sqlx::query_scalar!("select parent_id from categories where tenant_id = $1 and id = $2", tenant, id)
            .fetch_optional(tx.connection())
            .await?
    else {
        return Err(TaxonomyError::NotFound("category"));
    };
    if let Some(slug) = &change.slug {
        let is_taken = sqlx::query_scalar!(
            r#"select exists (select from categories where tenant_id = $1 and slug = $2 and id <> $3) as "taken!""#,
            tenant,
            slug.as_str(),
            id
        )
        .fetch_one(tx.connection())
        .await?;
        if is_taken {
            return Err(TaxonomyError::SlugTaken("category", slug.to_string()));
        }
    }
    let parent = change.parent_id.unwrap_or(former_parent);
    if parent != former_parent {
        check_place(tx, Some(id), parent).await?;
    }
    sqlx::query!(
        "update categories c set name = coalesce($3, name), slug = coalesce($4, slug),
             description = coalesce($5, description), icon = coalesce($6, icon), color = coalesce($7, color),
             is_active = coalesce($8, is_active), parent_id = $9,
             display_order = case when parent_id is not distinct from $9 then display_order else
                 (select coalesce(max(o.display_order) + 1, 0) from categories o
                  where o.tenant_id = $1 and o.parent_id is not distinct from $9) end
         where tenant_id = $1 and id = $2",
        tenant,
        id,
        change.name.as_deref().map(str::trim),
        change.slug.as_ref().map(Slug::as_str),
        change.description.as_deref(),
        change.icon.as_deref(),
        change.color.as_deref(),
        change.is_active,
        parent
    )
    .execute(tx.connection())
    .await?;
    audit::record(tx, actor, "category.changed", &id.to_string()).await?;
    Ok(())
}

/// Puts the categories of a parent into this order. All of them must be named, so that an order that was made while
/// somebody else added one is noticed.
pub async fn order_categories(
    tx: &mut TenantTx,
    actor: &str,
    parent: Option<Uuid>,
    order: &[Uuid],
) -> Result<(), TaxonomyError> {
    let tenant = tx.tenant().uuid();
    lock_tree(tx).await?;
    let mut present = sqlx::query_scalar!(
        "select id from categories where tenant_id = $1 and parent_id is not distinct from $2",
        tenant,
        parent
    )
    .fetch_all(tx.connection())
    .await?;
    let mut named = order.to_vec();
    present.sort();
    named.sort();
    if present != named {
        return Err(TaxonomyError::Invalid(format!(
            "`ids` must name each of the {} categories that are there once; it names {}. Load them again.",
            present.len(),
            named.len()
        )));
    }
    sqlx::query!(
        "update categories c set display_order = o.place - 1
         from unnest($2::uuid[]) with ordinality as o (id, place) where c.tenant_id = $1 and c.id = o.id",
        tenant,
        order
    )
    .execute(tx.connection())
    .await?;
    let subject = parent.map_or_else(|| "top level".to_owned(), |parent| parent.to_string());
    audit::record(tx, actor, "category.ordered", &subject).await?;
    Ok(())
}

/// Removes an empty category.
pub async fn delete_category(tx: &mut TenantTx, actor: &str, id: Uuid) -> Result<(), TaxonomyError> {
    let tenant = tx.tenant().uuid();
    lock_tree(tx).await?;
    let held = sqlx::query!(
        r#"select name, (select count(*) from articles a where a.tenant_id = $1 and a.category_id = $2) as "articles!",
                  (select count(*) from categories c where c.tenant_id = $1 and c.parent_id = $2) as "categories!"
           from categories where tenant_id = $1 and id = $2"#,
        tenant,
        id
    )
    .fetch_optional(tx.connection())
    .await?
    .ok_or(TaxonomyError::NotFound("category"))?;
    if held.articles + held.categories > 0 {
        return Err(TaxonomyError::NotEmpty { articles: held.articles, categories: held.categories });
    }
    sqlx::query!("delete from categories where tenant_id = $1 and id = $2", tenant, id)
        .execute(tx.connection())
        .await?;
    audit::record_with(tx, actor, "category.deleted", &id.to_string(), &json!({ "name": held.name })).await?;
    Ok(())
}

/// Two people who move categories at once could make a cycle together: they take turns.
async fn lock_tree(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().to_string();
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('categories ' || $1, 0))", tenant)
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn check_category(change: &CategoryChange, name: Option<&str>) -> Result<(), TaxonomyError> {
    let invalid = |problem: String| Err(TaxonomyError::Invalid(problem));
    if let Some(name) = name {
        check_name(name, MAX_CATEGORY_NAME_CHARS)?;
    }
    if let Some(color) = &change.color
        && !color.is_empty()
        && !(color.len() == 7 && color.starts_with('#') && color[1..].bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return invalid(format!("`color` must be empty or read like #1a2b3c; this one is {color:?}."));
    }
    if change.icon.as_ref().is_some_and(|icon| {
        icon.len() > 50 || !icon.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }) {
        return invalid("`icon` must be empty or a name of lower-case letters, digits and hyphens.".to_owned());
    }
    if change.description.as_ref().is_some_and(|text| text.chars().count() > 1000) {
        return invalid("`description` may have at most 1000 characters.".to_owned());
    }
    Ok(())
}

fn check_name(name: &str, most: usize) -> Result<(), TaxonomyError> {
    let length = name.trim().chars().count();
    if !(1..=most).contains(&length) || name.chars().any(char::is_control) {
        let problem =
            format!("`name` must have 1 to {most} characters, without control characters; this one has {length}.");
        return Err(TaxonomyError::Invalid(problem));
    }
    Ok(())
}

/// Whether a category, or a new one, can be below a parent.
async fn check_place(tx: &mut TenantTx, id: Option<Uuid>, parent: Option<Uuid>) -> Result<(), TaxonomyError> {
    let Some(parent) = parent else { return Ok(()) };
    let tenant = tx.tenant().uuid();
    let path = sqlx::query!(
        r#"with recursive ancestor (id, parent_id) as (
               select id, parent_id from categories where tenant_id = $1 and id = $2
               union all
               select c.id, c.parent_id from categories c join ancestor a on c.id = a.parent_id where c.tenant_id = $1
           ), below (id, depth) as (
               select $3::uuid, 1 where $3::uuid is not null
               union all
               select c.id, b.depth + 1 from categories c join below b on c.parent_id = b.id where c.tenant_id = $1
           )
           select count(*) as "above!", coalesce(bool_or(id = $3), false) as "is_itself!",
                  (select coalesce(max(depth), 1)::bigint from below) as "below!"
           from ancestor"#,
        tenant,
        parent,
        id
    )
    .fetch_one(tx.connection())
    .await?;
    if path.above == 0 {
        return Err(TaxonomyError::Invalid(format!("`parent_id` names no category: there is no {parent}.")));
    }
    if path.is_itself {
        return Err(TaxonomyError::Misplaced("A category cannot be placed below itself.".to_owned()));
    }
    if path.above + path.below > MAX_DEPTH {
        return Err(TaxonomyError::Misplaced(format!("Categories can be {MAX_DEPTH} levels deep at most.")));
    }
    Ok(())
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Identity.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// Address.
    pub slug: String,
    /// Articles with it, whatever their status.
    pub article_count: i64,
}

/// All tags, by name.
pub async fn all_tags(tx: &mut TenantTx) -> Result<Vec<Tag>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Tag,
        r#"select id, name, slug,
                  (select count(*) from article_tags at where at.tenant_id = t.tenant_id and at.tag_id = t.id) as "article_count!"
           from tags t where tenant_id = $1 order by lower(name), id"#,
        tenant
    )
    .fetch_all(tx.connection())
    .await
}

/// Makes a tag.
pub async fn create_tag(tx: &mut TenantTx, actor: &str, name: &str) -> Result<Uuid, TaxonomyError> {
    let tenant = tx.tenant().uuid();
    check_name(name, MAX_TAG_NAME_CHARS)?;
    let slug = tag_slug(name)?;
    let id = sqlx::query_scalar!(
        "insert into tags (tenant_id, name, slug) values ($1, $2, $3) on conflict do nothing returning id",
        tenant,
        name.trim(),
        slug.as_str()
    )
    .fetch_optional(tx.connection())
    .await?
    .ok_or_else(|| TaxonomyError::SlugTaken("tag", slug.to_string()))?;
    audit::record_with(tx, actor, "tag.created", &id.to_string(), &json!({ "name": name })).await?;
    Ok(id)
}

/// Renames a tag; its slug follows. Search finds its articles by the new name once a job has indexed them.
pub async fn rename_tag(tx: &mut TenantTx, actor: &str, id: Uuid, name: &str) -> Result<(), TaxonomyError> {
    let tenant = tx.tenant().uuid();
    check_name(name, MAX_TAG_NAME_CHARS)?;
    let slug = tag_slug(name)?;
    let is_taken = sqlx::query_scalar!(
        r#"select exists (select from tags where tenant_id = $1 and slug = $2 and id <> $3) as "taken!""#,
        tenant,
        slug.as_str(),
        id
    )
    .fetch_one(tx.connection())
    .await?;
    if is_taken {
        return Err(TaxonomyError::SlugTaken("tag", slug.to_string()));
    }
    let changed = sqlx::query!(
        "update tags set name = $3, slug = $4 where tenant_id = $1 and id = $2",
        tenant,
        id,
        name.trim(),
        slug.as_str()
    )
    .execute(tx.connection())
    .await?;
    if changed.rows_affected() == 0 {
        return Err(TaxonomyError::NotFound("tag"));
    }
    audit::record_with(tx, actor, "tag.renamed", &id.to_string(), &json!({ "name": name })).await?;
    index::lock(tx).await?;
    let tagged = published_with_tag(tx, id).await?;
    reindex::words_of(tx, &tagged).await?;
    Ok(())
}

/// Removes a tag from all articles and for good. Search finds them by its name until a job has indexed them.
pub async fn delete_tag(tx: &mut TenantTx, actor: &str, id: Uuid) -> Result<(), TaxonomyError> {
    let tenant = tx.tenant().uuid();
    // Before the index, which those who give an article this tag want next.
    let name = sqlx::query_scalar!("select name from tags where tenant_id = $1 and id = $2 for update", tenant, id)
        .fetch_optional(tx.connection())
        .await?
        .ok_or(TaxonomyError::NotFound("tag"))?;
    index::lock(tx).await?;
    let tagged = published_with_tag(tx, id).await?;
    sqlx::query!("delete from tags where tenant_id = $1 and id = $2", tenant, id).execute(tx.connection()).await?;
    audit::record_with(tx, actor, "tag.deleted", &id.to_string(), &json!({ "name": name })).await?;
    reindex::words_of(tx, &tagged).await?;
    Ok(())
}

fn tag_slug(name: &str) -> Result<Slug, TaxonomyError> {
    slugify(name).ok_or_else(|| TaxonomyError::Invalid("`name` must have a letter or digit.".to_owned()))
}

async fn published_with_tag(tx: &mut TenantTx, tag: Uuid) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select at.article_id from article_tags at join articles a on a.tenant_id = at.tenant_id and a.id = at.article_id
         where at.tenant_id = $1 and at.tag_id = $2 and a.status = 'PUBLISHED'",
        tenant,
        tag
    )
    .fetch_all(tx.connection())
    .await
}
