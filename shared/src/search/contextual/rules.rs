//! The rules: which articles help on which pages, as admins wrote them.

use std::{cmp::Reverse, sync::Arc};

use serde_json::json;
use uuid::Uuid;

use super::{
    super::Search,
    pattern::{Pattern, PatternError},
};
use crate::{audit, db::TenantTx, knowledge::PageUrl};

/// Most rules of a tenant: a page is compared with all of them.
const MAX_RULES: i64 = 200;
/// Most articles of a rule.
pub const MAX_RULE_ARTICLES: usize = 10;
/// The greatest priority, and below zero the least.
pub const MAX_PRIORITY: i32 = 1_000;

/// Articles for the pages whose address matches a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Identity.
    pub id: Uuid,
    /// See [`Pattern`].
    pub pattern: String,
    /// In their order.
    pub article_ids: Vec<Uuid>,
    /// Rules with a greater one come first.
    pub priority: i32,
    /// Whether it is used.
    pub is_active: bool,
}

/// A rule to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRule {
    /// See [`Pattern`].
    pub pattern: String,
    /// In their order, at least one.
    pub article_ids: Vec<Uuid>,
    /// Rules with a greater one come first.
    pub priority: i32,
    /// Whether it is used.
    pub is_active: bool,
}

/// Why a rule was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// What was asked for cannot be; the message names the field.
    #[error("{0}")]
    Invalid(String),
    /// There is no such rule.
    #[error("There is no such rule.")]
    NotFound,
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<PatternError> for RuleError {
    fn from(error: PatternError) -> Self {
        Self::Invalid(format!("`pattern` {error}."))
    }
}

/// All rules, in the order in which they apply: greater priorities first, then more specific patterns, then older rules.
pub async fn rules(tx: &mut TenantTx) -> Result<Vec<Rule>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let mut rules = sqlx::query_as!(
        Rule,
        r#"select r.id, r.pattern, r.priority, r.is_active,
                  array(select l.article_id from contextual_rule_articles l
                        where l.tenant_id = r.tenant_id and l.rule_id = r.id order by l.position) as "article_ids!"
           from contextual_rules r where r.tenant_id = $1 order by r.id"#,
        tenant
    )
    .fetch_all(tx.connection())
    .await?;
    let fixed = |rule: &Rule| rule.pattern.parse::<Pattern>().map(|pattern| pattern.fixed_chars()).unwrap_or_default();
    rules.sort_by_cached_key(|rule| (Reverse(rule.priority), Reverse(fixed(rule))));
    Ok(rules)
}

/// Adds a rule, or replaces the one with this id.
pub async fn put_rule(tx: &mut TenantTx, actor: &str, id: Option<Uuid>, new: &NewRule) -> Result<Rule, RuleError> {
    let tenant = tx.tenant().uuid();
    let pattern: Pattern = new.pattern.parse()?;
    check(tx, new).await?;
    let id = match id {
        None => {
            let existing =
                sqlx::query_scalar!(r#"select count(*) as "n!" from contextual_rules where tenant_id = $1"#, tenant)
                    .fetch_one(tx.connection())
                    .await?;
            if existing >= MAX_RULES {
                return Err(RuleError::Invalid(format!(
                    "There are {MAX_RULES} rules, which is the most there may be."
                )));
            }
            sqlx::query_scalar!(
                "insert into contextual_rules (tenant_id, pattern, priority, is_active) values ($1, $2, $3, $4) returning id",
                tenant,
                pattern.as_str(),
                new.priority,
                new.is_active
            )
            .fetch_one(tx.connection())
            .await?
        }
        Some(id) => sqlx::query_scalar!(
            "update contextual_rules set pattern = $3, priority = $4, is_active = $5
             where tenant_id = $1 and id = $2 returning id",
            tenant,
            id,
            pattern.as_str(),
            new.priority,
            new.is_active
        )
        .fetch_optional(tx.connection())
        .await?
        .ok_or(RuleError::NotFound)?,
    };
    sqlx::query!("delete from contextual_rule_articles where tenant_id = $1 and rule_id = $2", tenant, id)
        .execute(tx.connection())
        .await?;
    sqlx::query!(
        "insert into contextual_rule_articles (tenant_id, rule_id, article_id, position)
         select $1, $2, article, place - 1 from unnest($3::uuid[]) with ordinality as listed (article, place)",
        tenant,
        id,
        &new.article_ids
    )
    .execute(tx.connection())
    .await?;
    let rule = Rule {
        id,
        pattern: pattern.as_str().to_owned(),
        article_ids: new.article_ids.clone(),
        priority: new.priority,
        is_active: new.is_active,
    };
    let details = json!({
        "pattern": rule.pattern, "article_ids": rule.article_ids, "priority": rule.priority, "is_active": rule.is_active,
    });
    audit::record_with(tx, actor, "contextual_rule.changed", &id.to_string(), &details).await?;
    Ok(rule)
}

/// Removes a rule.
pub async fn delete_rule(tx: &mut TenantTx, actor: &str, id: Uuid) -> Result<(), RuleError> {
    let tenant = tx.tenant().uuid();
    let pattern = sqlx::query_scalar!(
        "delete from contextual_rules where tenant_id = $1 and id = $2 returning pattern",
        tenant,
        id
    )
    .fetch_optional(tx.connection())
    .await?
    .ok_or(RuleError::NotFound)?;
    audit::record_with(tx, actor, "contextual_rule.deleted", &id.to_string(), &json!({ "pattern": pattern })).await?;
    Ok(())
}

async fn check(tx: &mut TenantTx, new: &NewRule) -> Result<(), RuleError> {
    let tenant = tx.tenant().uuid();
    let articles = &new.article_ids;
    if !(1..=MAX_RULE_ARTICLES).contains(&articles.len()) {
        return Err(RuleError::Invalid(format!("`article_ids` must hold 1 to {MAX_RULE_ARTICLES} ids.")));
    }
    if !(-MAX_PRIORITY..=MAX_PRIORITY).contains(&new.priority) {
        return Err(RuleError::Invalid(format!("`priority` must be from -{MAX_PRIORITY} to {MAX_PRIORITY}.")));
    }
    if let Some(twice) = articles.iter().enumerate().find_map(|(n, id)| articles[..n].contains(id).then_some(id)) {
        return Err(RuleError::Invalid(format!("`article_ids`: {twice} is there twice.")));
    }
    let known = sqlx::query_scalar!("select id from articles where tenant_id = $1 and id = any ($2)", tenant, articles)
        .fetch_all(tx.connection())
        .await?;
    match articles.iter().find(|id| !known.contains(id)) {
        Some(unknown) => Err(RuleError::Invalid(format!("`article_ids`: there is no article {unknown}."))),
        None => Ok(()),
    }
}

/// The active rules of a tenant, ready to be compared with pages.
#[derive(Debug, Default)]
pub(in super::super) struct ReadyRules(Vec<(Pattern, Vec<Uuid>)>);

impl ReadyRules {
    /// How many there are.
    pub(in super::super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The articles of the rules that match a page, in their order.
    pub(super) fn articles(&self, page: &PageUrl) -> Vec<Uuid> {
        let matching = self.0.iter().filter(|(pattern, _)| pattern.matches(page));
        matching.flat_map(|(_, articles)| articles.iter().copied()).collect()
    }
}

impl Search {
    /// The rules of the transaction's tenant, remembered as long as nothing changes.
    pub(super) async fn ready_rules(&self, tx: &mut TenantTx) -> Result<Arc<ReadyRules>, sqlx::Error> {
        let tenant = tx.tenant().uuid();
        let version = sqlx::query_scalar!("select version from search_versions where tenant_id = $1", tenant)
            .fetch_optional(tx.connection())
            .await?
            .unwrap_or_default();
        if let Some((_, ready)) = self.rules.get(&tenant).await.filter(|(known, _)| *known == version) {
            return Ok(ready);
        }
        let active = rules(tx).await?.into_iter().filter(|rule| rule.is_active);
        let ready = active.filter_map(|rule| Some((rule.pattern.parse().ok()?, rule.article_ids))).collect();
        let ready = Arc::new(ReadyRules(ready));
        self.rules.insert(tenant, (version, Arc::clone(&ready))).await;
        Ok(ready)
    }
}
