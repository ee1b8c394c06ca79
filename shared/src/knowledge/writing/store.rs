//! The SQL of writing articles, beside what `knowledge::store` has for the import too.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{ArticleChange, ManagedArticle, NewArticle};
use crate::{
    db::TenantTx,
    knowledge::{locale::Locale, slug::slugify},
};

/// What an article holds beside its text and its way to the readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) slug: String,
    pub(super) category_id: Option<Uuid>,
    pub(super) tags: Vec<String>,
    pub(super) difficulty: String,
    pub(super) target_roles: Vec<String>,
    pub(super) locale: Locale,
    pub(super) translation_group: Uuid,
    pub(super) review_due_on: Option<NaiveDate>,
}

impl Properties {
    pub(super) fn of(article: &ManagedArticle) -> Self {
        Self {
            slug: article.slug.clone(),
            category_id: article.category_id,
            tags: article.tags.clone(),
            difficulty: article.difficulty.clone(),
            target_roles: article.target_roles.clone(),
            locale: article.locale.parse().unwrap_or_default(),
            translation_group: article.translation_group,
            review_due_on: article.review_due_on,
        }
    }

    pub(super) fn apply(&mut self, change: &ArticleChange) {
        let ArticleChange { slug, category_id, tags, difficulty, target_roles, locale, review_due_on, .. } = change;
        if let Some(slug) = slug {
            self.slug = slug.to_string();
        }
        if let Some(category_id) = category_id {
            self.category_id = *category_id;
        }
        if let Some(tags) = tags {
            self.tags.clone_from(tags);
        }
        if let Some(difficulty) = difficulty {
            difficulty.as_str().clone_into(&mut self.difficulty);
        }
        if let Some(target_roles) = target_roles {
            self.target_roles.clone_from(target_roles);
        }
        if let Some(locale) = locale {
            self.locale.clone_from(locale);
        }
        if let Some(review_due_on) = review_due_on {
            self.review_due_on = *review_due_on;
        }
    }

    /// Names of the fields that differ.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        // Tags are one by their slug, whatever the spelling of the name that came first.
        let slugs = |names: &[String]| {
            let mut slugs: Vec<_> = names.iter().filter_map(|name| slugify(name)).collect();
            slugs.sort();
            slugs.dedup();
            slugs
        };
        let compared = [
            ("slug", self.slug != other.slug),
            ("category", self.category_id != other.category_id),
            ("tags", slugs(&self.tags) != slugs(&other.tags)),
            ("difficulty", self.difficulty != other.difficulty),
            ("target_roles", self.target_roles != other.target_roles),
            ("locale", self.locale != other.locale),
            ("translation_of", self.translation_group != other.translation_group),
            ("review_due_on", self.review_due_on != other.review_due_on),
        ];
        compared.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

/// Creates an article without text; its first revision follows in the same transaction.
pub(super) async fn insert(
    tx: &mut TenantTx,
    slug: &str,
    new: &NewArticle,
    translation_group: Option<Uuid>,
) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into articles (tenant_id, slug, category_id, difficulty, target_roles, locale, translation_group, review_due_on)
         values ($1, $2, $3, $4, $5, $6, coalesce($7, uuidv7()), $8) returning id",
        tenant,
        slug,
        new.category_id,
        new.difficulty.as_str(),
        &new.target_roles,
        new.locale.as_str(),
        translation_group,
        new.review_due_on
    )
    .fetch_one(tx.connection())
    .await
}

/// Sets an article's properties and raises its version.
pub(super) async fn update(tx: &mut TenantTx, id: Uuid, next: &Properties) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update articles set slug = $3, category_id = $4, difficulty = $5, target_roles = $6, locale = $7,
             translation_group = $8, review_due_on = $9, version = version + 1, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant,
        id,
        next.slug,
        next.category_id,
        next.difficulty,
        &next.target_roles,
        next.locale.as_str(),
        next.translation_group,
        next.review_due_on
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Keeps others from changing the article until the transaction ends.
pub(super) async fn lock(tx: &mut TenantTx, id: Uuid) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("select from articles where tenant_id = $1 and id = $2 for no key update", tenant, id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

pub(super) async fn category_exists(tx: &mut TenantTx, id: Uuid) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"select exists (select from categories where tenant_id = $1 and id = $2) as "exists!""#,
        tenant,
        id
    )
    .fetch_one(tx.connection())
    .await
}

/// What an article's translations have in common. `None`: there is no such article.
pub(super) async fn translation_group(tx: &mut TenantTx, id: Uuid) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("select translation_group from articles where tenant_id = $1 and id = $2", tenant, id)
        .fetch_optional(tx.connection())
        .await
}

/// The article of a group in a language.
pub(super) async fn translated(tx: &mut TenantTx, group: Uuid, locale: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select id from articles where tenant_id = $1 and translation_group = $2 and locale = $3",
        tenant,
        group,
        locale
    )
    .fetch_optional(tx.connection())
    .await
}

/// Replaces what should be read next; returns an id that is no article's, and then nothing was changed.
pub(super) async fn set_related(tx: &mut TenantTx, id: Uuid, related: &[Uuid]) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let unknown = sqlx::query_scalar!(
        r#"select wanted as "wanted!" from unnest($2::uuid[]) as wanted
           where not exists (select from articles where tenant_id = $1 and id = wanted) limit 1"#,
        tenant,
        related
    )
    .fetch_optional(tx.connection())
    .await?;
    if unknown.is_some() {
        return Ok(unknown);
    }
    sqlx::query!("delete from related_articles where tenant_id = $1 and article_id = $2", tenant, id)
        .execute(tx.connection())
        .await?;
    sqlx::query!(
        "insert into related_articles (tenant_id, article_id, related_id, position)
         select $1, $2, related_id, min(position) - 1
         from unnest($3::uuid[]) with ordinality as r (related_id, position) group by related_id",
        tenant,
        id,
        related
    )
    .execute(tx.connection())
    .await?;
    Ok(None)
}

/// Where an article goes on its way to the readers.
pub(super) enum Move<'a> {
    /// It becomes what is named; readers do not see it, or any more.
    To(&'a str),
    /// Its latest text waits for an editor; readers go on seeing what they see.
    ReviewRequested,
    /// Readers see this revision from now on.
    Published(Uuid),
    /// They will at that time.
    Scheduled(Uuid, DateTime<Utc>),
}

/// Moves an article on. What was scheduled before is not any more, unless the schedule is not the mover's to end.
pub(super) async fn take(tx: &mut TenantTx, id: Uuid, to: &Move<'_>, keeps_schedule: bool) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (status, published, scheduled) = match to {
        Move::To(status) => (Some(*status), None, None),
        Move::ReviewRequested => (None, None, None),
        Move::Published(revision) => (Some("PUBLISHED"), Some(*revision), None),
        Move::Scheduled(revision, at) => (None, None, Some((*revision, *at))),
    };
    let waits = matches!(to, Move::To("REVIEW") | Move::ReviewRequested);
    sqlx::query!(
        "update articles set status = coalesce($3, status), version = version + 1, updated_at = now(),
             published_revision_id = coalesce($4, published_revision_id),
             published_at = case when $4::uuid is null then published_at else coalesce(published_at, now()) end,
             last_reviewed_at = case when $4::uuid is null then last_reviewed_at else now() end,
             review_requested_at = case when $7 then coalesce(review_requested_at, now()) end,
             publish_revision_id = case when $8 then publish_revision_id else $5 end,
             publish_at = case when $8 then publish_at else $6 end
         where tenant_id = $1 and id = $2",
        tenant,
        id,
        status,
        published,
        scheduled.map(|(revision, _)| revision),
        scheduled.map(|(_, at)| at),
        waits,
        keeps_schedule
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The revision of an article with this number.
pub(super) async fn revision_id(tx: &mut TenantTx, article: Uuid, number: i32) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select id from revisions where tenant_id = $1 and article_id = $2 and number = $3",
        tenant,
        article,
        number
    )
    .fetch_optional(tx.connection())
    .await
}

/// The revision that is scheduled for exactly this time.
pub(super) async fn scheduled_revision(
    tx: &mut TenantTx,
    id: Uuid,
    at: DateTime<Utc>,
) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let revision = sqlx::query_scalar!(
        "select publish_revision_id from articles where tenant_id = $1 and id = $2 and publish_at = $3",
        tenant,
        id,
        at
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(revision.flatten())
}

/// Notes that somebody read the article critically, and when somebody should again.
pub(super) async fn reviewed(tx: &mut TenantTx, id: Uuid, due_on: Option<NaiveDate>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update articles set last_reviewed_at = now(), review_due_on = $3, version = version + 1, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant,
        id,
        due_on
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The texts that readers and authors see, the published one, where there is one, and the latest; and whether readers see it.
pub(super) async fn texts(tx: &mut TenantTx, id: Uuid) -> Result<Vec<(String, bool)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select r.content, (r.id = a.published_revision_id and a.status = 'PUBLISHED') is true as "is_shown!"
           from articles a join revisions r on r.tenant_id = a.tenant_id and r.article_id = a.id
           where a.tenant_id = $1 and a.id = $2
             and (r.id = a.latest_revision_id or r.id = a.published_revision_id and a.status = 'PUBLISHED')"#,
        tenant,
        id
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.content, row.is_shown)).collect())
}

/// The article that has, or once had, this slug.
pub(super) async fn article_at(tx: &mut TenantTx, slug: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let found = sqlx::query_scalar!(
        r#"select id as "id!" from articles where tenant_id = $1 and slug = $2
           union all select article_id from former_slugs where tenant_id = $1 and slug = $2 limit 1"#,
        tenant,
        slug
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}
