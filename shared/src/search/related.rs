//! What to read after an article: what its editor chose, then what is about the same.

use std::{collections::HashSet, sync::Arc};

use pgvector::HalfVector;
use uuid::Uuid;

use super::{Query, Search, SearchRequest};
use crate::{
    auth::Roles,
    db::TenantTx,
    knowledge::{self, ArticleSummary, ArticleView},
};

/// How many articles are named.
const RELATED: usize = 5;
/// How many are remembered: of those that are about the same, some may be among those that an editor chose.
const REMEMBERED: usize = 2 * RELATED;
/// The least cosine similarity of two articles that are about the same thing; see docs/adr/0006-reading.md.
const FLOOR: f64 = 0.45;

/// Whom an article is shown to.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Shown {
    tenant: Uuid,
    roles: Vec<String>,
    article: Uuid,
}

/// What is known of an article before anything is looked for.
struct State {
    version: i64,
    model: Option<String>,
    is_multilingual: bool,
    /// What an editor chose, in their order.
    chosen: Vec<Uuid>,
}

impl Search {
    /// At most five articles to be read after this one: those that its editor chose, then the nearest by meaning, those in its
    /// language before others; without vectors, those of its category and tags. Never its translations, and of several
    /// translations of another article one.
    ///
    /// What is near is remembered as long as nothing changes that search knows; what is shown of it is read anew.
    pub async fn related(
        &self,
        tx: &mut TenantTx,
        roles: &Roles,
        article: &ArticleView,
    ) -> Result<Vec<ArticleSummary>, sqlx::Error> {
        let state = state(tx, article.summary.id).await?;
        let near = self.remembered(tx, roles, article, &state).await?;
        let ids: Vec<Uuid> = state.chosen.iter().chain(near.iter()).copied().collect();
        let mut groups = HashSet::from([article.summary.translation_group]);
        let found = knowledge::articles_by_id(tx, roles, &ids, Some(&article.summary.locale)).await?;
        Ok(found.into_iter().filter(|article| groups.insert(article.translation_group)).take(RELATED).collect())
    }

    async fn remembered(
        &self,
        tx: &mut TenantTx,
        roles: &Roles,
        article: &ArticleView,
        state: &State,
    ) -> Result<Arc<[Uuid]>, sqlx::Error> {
        let mut of_roles = roles.as_slice().to_vec();
        of_roles.sort_unstable();
        let shown = Shown { tenant: tx.tenant().uuid(), roles: of_roles, article: article.summary.id };
        if let Some((_, near)) = self.related.get(&shown).await.filter(|(known, _)| *known == state.version) {
            return Ok(near);
        }
        let near: Arc<[Uuid]> = self.about_the_same(tx, roles, article, state).await?.into();
        self.related.insert(shown, (state.version, Arc::clone(&near))).await;
        Ok(near)
    }

    /// The nearest articles in the article's language; where these are few, then those in others.
    async fn about_the_same(
        &self,
        tx: &mut TenantTx,
        roles: &Roles,
        article: &ArticleView,
        state: &State,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let Some(model) = &state.model else { return alike(tx, roles, article).await };
        let Some(own) = centre(tx, article.summary.id, model).await? else {
            return alike(tx, roles, article).await;
        };
        let mut found = Vec::new();
        let own_language = state.is_multilingual.then(|| Some(article.summary.locale.clone()));
        for locale in own_language.into_iter().chain([None]) {
            if found.len() >= REMEMBERED {
                break;
            }
            let request = SearchRequest { locale, ..SearchRequest::new(Query::nothing(), REMEMBERED) };
            let near = self.nearest(tx, roles, &request, model, &own).await?;
            for id in nearest_first(tx, &near, article.summary.translation_group, model, &own).await? {
                if !found.contains(&id) {
                    found.push(id);
                }
            }
        }
        found.truncate(REMEMBERED);
        Ok(found)
    }
}

async fn state(tx: &mut TenantTx, article: Uuid) -> Result<State, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        State,
        r#"select coalesce(v.version, 0) as "version!", v.model as "model?",
                  (select count(*) > 1 from search_totals s
                   where s.tenant_id = a.tenant_id and s.article_count > 0) as "is_multilingual!",
                  array(select related_id from related_articles l
                        where l.tenant_id = a.tenant_id and l.article_id = a.id order by l.position) as "chosen!"
           from articles a left join search_versions v on v.tenant_id = a.tenant_id
           where a.tenant_id = $1 and a.id = $2"#,
        tenant,
        article
    )
    .fetch_one(tx.connection())
    .await
}

/// The mean of an article's vectors, of unit length. `None`: it has none.
async fn centre(tx: &mut TenantTx, article: Uuid, model: &str) -> Result<Option<HalfVector>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"select l2_normalize(avg(e.embedding)) as "centre: HalfVector"
           from passages p join passage_embeddings e on e.tenant_id = p.tenant_id and e.passage_id = p.id
           where p.tenant_id = $1 and p.article_id = $2 and e.model = $3"#,
        tenant,
        article,
        model
    )
    .fetch_one(tx.connection())
    .await
}

/// Of these articles those that are about the same as a vector, nearest first, without the translations of one group.
async fn nearest_first(
    tx: &mut TenantTx,
    articles: &[Uuid],
    group: Uuid,
    model: &str,
    vector: &HalfVector,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select a.id
         from articles a
         join passages p on p.tenant_id = a.tenant_id and p.article_id = a.id
         join passage_embeddings e on e.tenant_id = p.tenant_id and e.passage_id = p.id and e.model = $4
         where a.tenant_id = $1 and a.id = any ($2) and a.translation_group <> $3
         group by a.id
         having 1 - (avg(e.embedding) <=> $5) >= $6
         order by avg(e.embedding) <=> $5, a.id",
        tenant,
        articles,
        group,
        model,
        vector as &HalfVector,
        FLOOR
    )
    .fetch_all(tx.connection())
    .await
}

/// Articles with tags or the category of this one, most tags first.
async fn alike(tx: &mut TenantTx, roles: &Roles, article: &ArticleView) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "with shared as (
             select o.article_id, count(*) as tags
             from article_tags t join article_tags o on o.tenant_id = t.tenant_id and o.tag_id = t.tag_id
             where t.tenant_id = $1 and t.article_id = $2 group by o.article_id)
         select a.id from articles a left join shared s on s.article_id = a.id
         where a.tenant_id = $1 and article_is_visible(a.status, a.target_roles, $3) and a.translation_group <> $4
           and (s.article_id is not null or a.category_id = $5)
         order by a.locale = $6 desc, coalesce(s.tags, 0) desc, a.category_id is not distinct from $5 desc,
                  a.helpfulness desc, a.view_count desc, a.id
         limit $7",
        tenant,
        article.summary.id,
        roles.as_slice(),
        article.summary.translation_group,
        article.summary.category_id,
        article.summary.locale,
        i64::try_from(REMEMBERED).unwrap_or(i64::MAX)
    )
    .fetch_all(tx.connection())
    .await
}
