//! Help for the page of the host application that somebody is on: what its admins chose for it, then what others read there,
//! then what is about its title and address.

mod pattern;
mod rules;

use std::collections::HashSet;

use uuid::Uuid;

pub use pattern::{Pattern, PatternError};
pub(super) use rules::ReadyRules;
pub use rules::{MAX_PRIORITY, MAX_RULE_ARTICLES, NewRule, Rule, RuleError, delete_rule, put_rule, rules};

use super::{Arm, Search, SearchRequest, query::MAX_LENGTH};
use crate::{
    auth::Roles,
    db::TenantTx,
    knowledge::{self, ArticleSummary, PageUrl},
    tenancy::TenantId,
};

/// Fewer people than this say nothing about a page, and too much about themselves.
const READ_BY: i64 = 3;
/// What was read longer ago does not count.
const READ_WITHIN_DAYS: i32 = 90;
/// So many views tell what people read on a page: more would only take longer.
const LATEST_VIEWS: i64 = 5_000;

/// The page that somebody is on.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Its address.
    pub url: &'a PageUrl,
    /// Its title; may be empty.
    pub title: &'a str,
    /// The reader's language.
    pub language: Option<&'a str>,
}

/// Why an article is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A rule says so.
    Rule,
    /// People who were on the page read it.
    ReadHere,
    /// It is about what the page's title and address say.
    Similar,
}

/// What helps on a page.
#[derive(Debug, Clone)]
pub struct PageHelp {
    /// In their order; at most one of several translations.
    pub articles: Vec<(ArticleSummary, Reason)>,
    /// What was not available.
    pub degraded: Vec<Arm>,
}

impl Search {
    /// At most `limit` articles for a page. Each step is taken as long as there are fewer.
    pub async fn page_help(
        &self,
        tenant: TenantId,
        roles: &Roles,
        page: Page<'_>,
        limit: usize,
    ) -> Result<PageHelp, sqlx::Error> {
        let mut help = PageHelp { articles: Vec::new(), degraded: Vec::new() };
        let mut groups = HashSet::new();
        let mut add = |help: &mut PageHelp, found: Vec<ArticleSummary>, reason| {
            let new = found.into_iter().filter(|article| groups.insert(article.translation_group));
            let room = limit - help.articles.len();
            help.articles.extend(new.take(room).map(|article| (article, reason)));
        };
        let mut tx = self.database.tenant(tenant).await?;
        let by_rule = self.ready_rules(&mut tx).await?.articles(page.url);
        add(&mut help, knowledge::articles_by_id(&mut tx, roles, &by_rule, page.language).await?, Reason::Rule);
        if help.articles.len() < limit {
            let read = read_on(&mut tx, roles, page.url, 2 * limit).await?;
            let read = knowledge::articles_by_id(&mut tx, roles, &read, page.language).await?;
            add(&mut help, read, Reason::ReadHere);
        }
        drop(tx);
        if help.articles.len() < limit
            && let Some(request) = request(page, limit + help.articles.len())
        {
            let found = self.run(tenant, roles, &request).await?;
            let ids: Vec<Uuid> = found.hits.iter().map(|hit| hit.id).collect();
            let mut tx = self.database.tenant(tenant).await?;
            let similar = knowledge::articles_by_id(&mut tx, roles, &ids, page.language).await?;
            add(&mut help, similar, Reason::Similar);
            help.degraded.clone_from(&found.degraded);
        }
        Ok(help)
    }
}

/// A search for the title and the words of the path. `None`: they have none.
fn request(page: Page<'_>, limit: usize) -> Option<SearchRequest> {
    let words = format!("{} {}", page.title, page.url.words());
    // What is quoted in a title need not occur just so.
    let words: String =
        words.chars().filter(|c| !matches!(c, '"' | '\u{201C}'..='\u{201F}')).take(MAX_LENGTH).collect();
    let request = SearchRequest::new(words.parse().ok()?, limit);
    Some(SearchRequest { language: page.language.map(str::to_owned), ..request })
}

/// What people read who were on the page: the visible articles that most of them read, first.
async fn read_on(tx: &mut TenantTx, roles: &Roles, page: &PageUrl, limit: usize) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select latest.article_id
         from (select v.article_id, v.reader, v.viewed_at
               from article_views v join articles a on a.tenant_id = v.tenant_id and a.id = v.article_id
               where v.tenant_id = $1 and v.page = $2 and v.viewed_at > now() - make_interval(days => $4)
                 and article_is_visible(a.status, a.target_roles, $3)
               order by v.viewed_at desc limit $7) latest
         group by latest.article_id having count(distinct latest.reader) >= $5
         order by count(distinct latest.reader) desc, max(latest.viewed_at) desc, latest.article_id limit $6",
        tenant,
        page.key(),
        roles.as_slice(),
        READ_WITHIN_DAYS,
        READ_BY,
        i64::try_from(limit).unwrap_or(i64::MAX),
        LATEST_VIEWS
    )
    .fetch_all(tx.connection())
    .await
}
