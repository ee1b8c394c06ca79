//! What admins teach search: synonyms, and articles that are pinned to queries.

use serde_json::json;
use uuid::Uuid;

use super::Query;
use crate::{audit, db::TenantTx, knowledge::words};

/// Most groups of synonyms of a tenant: every search compares its words with all of them.
pub const MAX_SYNONYMS: i64 = 2_000;
/// Most terms in a group.
pub const MAX_TERMS: usize = 20;
/// Most characters in a term.
pub const MAX_TERM_CHARS: usize = 100;
/// Most articles that are pinned to one query.
pub const MAX_PINNED: usize = 10;

/// Why something was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum TeachError {
    /// What was asked for cannot be; the message names the field.
    #[error("{0}")]
    Invalid(String),
    /// There is no such group.
    #[error("There is no such group of synonyms.")]
    NotFound,
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Terms that mean the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynonymGroup {
    /// Identity.
    pub id: Uuid,
    /// As they were entered.
    pub terms: Vec<String>,
}

/// All groups, by their first term.
pub async fn synonyms(tx: &mut TenantTx) -> Result<Vec<SynonymGroup>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        SynonymGroup,
        "select id, terms from synonyms where tenant_id = $1 order by lower(terms[1]), id",
        tenant
    )
    .fetch_all(tx.connection())
    .await
}

/// Adds a group, or replaces the one with this id.
pub async fn put_synonyms(
    tx: &mut TenantTx,
    actor: &str,
    id: Option<Uuid>,
    terms: &[String],
) -> Result<SynonymGroup, TeachError> {
    let tenant = tx.tenant().uuid();
    let (terms, compared) = checked_terms(terms)?;
    let existing = sqlx::query_scalar!(r#"select count(*) as "n!" from synonyms where tenant_id = $1"#, tenant)
        .fetch_one(tx.connection())
        .await?;
    if id.is_none() && existing >= MAX_SYNONYMS {
        return Err(TeachError::Invalid(format!(
            "There are {MAX_SYNONYMS} groups of synonyms, which is the most there may be."
        )));
    }
    let id = match id {
        None => {
            sqlx::query_scalar!(
                "insert into synonyms (tenant_id, terms, words) values ($1, $2, $3) returning id",
                tenant,
                &terms,
                &compared
            )
            .fetch_one(tx.connection())
            .await?
        }
        Some(id) => sqlx::query_scalar!(
            "update synonyms set terms = $3, words = $4 where tenant_id = $1 and id = $2 returning id",
            tenant,
            id,
            &terms,
            &compared
        )
        .fetch_optional(tx.connection())
        .await?
        .ok_or(TeachError::NotFound)?,
    };
    audit::record_with(tx, actor, "synonyms.changed", &id.to_string(), &json!({ "terms": terms })).await?;
    Ok(SynonymGroup { id, terms })
}

/// Removes a group.
pub async fn delete_synonyms(tx: &mut TenantTx, actor: &str, id: Uuid) -> Result<(), TeachError> {
    let tenant = tx.tenant().uuid();
    let terms =
        sqlx::query_scalar!("delete from synonyms where tenant_id = $1 and id = $2 returning terms", tenant, id)
            .fetch_optional(tx.connection())
            .await?
            .ok_or(TeachError::NotFound)?;
    audit::record_with(tx, actor, "synonyms.deleted", &id.to_string(), &json!({ "terms": terms })).await?;
    Ok(())
}

/// The terms without white space at both ends, and how a query's words are compared with each.
fn checked_terms(terms: &[String]) -> Result<(Vec<String>, Vec<String>), TeachError> {
    let terms: Vec<String> = terms.iter().map(|term| term.trim().to_owned()).collect();
    let compared: Vec<String> = terms.iter().map(|term| words(term).to_lowercase()).collect();
    let has_length = |term: &String| (1..=MAX_TERM_CHARS).contains(&term.chars().count());
    if !(2..=MAX_TERMS).contains(&terms.len()) || !terms.iter().all(has_length) {
        return Err(TeachError::Invalid(format!(
            "`terms` must hold 2 to {MAX_TERMS} terms of 1 to {MAX_TERM_CHARS} characters."
        )));
    }
    for (index, term) in compared.iter().enumerate() {
        if term.is_empty() || terms[index].chars().any(char::is_control) {
            return Err(TeachError::Invalid(format!("`terms`: {:?} has no letter or digit.", terms[index])));
        }
        if compared[..index].contains(term) {
            return Err(TeachError::Invalid(format!("`terms`: {:?} is there twice.", terms[index])));
        }
    }
    Ok((terms, compared))
}

/// A query and the articles that come first for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Normalised.
    pub query: String,
    /// In their order.
    pub article_ids: Vec<Uuid>,
}

/// All pins, by query.
pub async fn pins(tx: &mut TenantTx) -> Result<Vec<Pin>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Pin,
        r#"select query, array_agg(article_id order by position) as "article_ids!"
           from search_pins where tenant_id = $1 group by query order by query"#,
        tenant
    )
    .fetch_all(tx.connection())
    .await
}

/// Pins exactly these articles to a query; none takes its pins away.
pub async fn pin(tx: &mut TenantTx, actor: &str, query: &Query, articles: &[Uuid]) -> Result<Pin, TeachError> {
    let tenant = tx.tenant().uuid();
    if articles.len() > MAX_PINNED {
        return Err(TeachError::Invalid(format!("`article_ids` may hold at most {MAX_PINNED} ids.")));
    }
    let known = sqlx::query_scalar!("select id from articles where tenant_id = $1 and id = any ($2)", tenant, articles)
        .fetch_all(tx.connection())
        .await?;
    if let Some(unknown) = articles.iter().find(|id| !known.contains(id)) {
        return Err(TeachError::Invalid(format!("`article_ids`: there is no article {unknown}.")));
    }
    if let Some(twice) = articles.iter().enumerate().find_map(|(n, id)| articles[..n].contains(id).then_some(id)) {
        return Err(TeachError::Invalid(format!("`article_ids`: {twice} is there twice.")));
    }
    let query = query.normalised();
    sqlx::query!("delete from search_pins where tenant_id = $1 and query = $2", tenant, query)
        .execute(tx.connection())
        .await?;
    sqlx::query!(
        "insert into search_pins (tenant_id, query, article_id, position)
         select $1, $2, article, place - 1 from unnest($3::uuid[]) with ordinality as pinned (article, place)",
        tenant,
        query,
        articles
    )
    .execute(tx.connection())
    .await?;
    audit::record_with(tx, actor, "search.pinned", &query, &json!({ "article_ids": articles })).await?;
    Ok(Pin { query, article_ids: articles.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_compared_like_the_words_of_a_query() {
        let terms = |given: &[&str]| checked_terms(&given.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(terms(&[" SSO ", "Single sign-on"]).unwrap().1, ["sso", "single sign on signon"]);
        for bad in [&["one"][..], &["a", "A"], &["a", "!"], &["a", ""]] {
            assert!(matches!(terms(bad), Err(TeachError::Invalid(_))), "{bad:?}");
        }
    }
}
