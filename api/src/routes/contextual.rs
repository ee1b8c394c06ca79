//! Help for the page of the host application that somebody is on, and the rules for it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Json, Path, Query},
};
use serde::{Deserialize, Serialize};
use shared::{
    auth::Principal,
    knowledge,
    search::{
        Arm,
        contextual::{self, NewRule, Page, Reason, Rule, RuleError},
    },
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    articles::{ArticleLine, line},
    paging,
    refusals::{InvalidBody, InvalidRequest},
    search::asked_in,
    views::parse_page,
};
use crate::{
    Services,
    caller::{Admin, Reader},
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 5;
const MAX_LIMIT: i64 = 20;
const MAX_TITLE: usize = 300;

/// The page that somebody is on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContextualQuery {
    /// Its address, absolute or from the root of its site, at most 2048 characters. It is not kept.
    #[param(max_length = 2048, example = "https://app.example.com/projects/42/billing")]
    url: String,
    /// Its title, at most 300 characters.
    #[param(max_length = 300, example = "Billing")]
    title: Option<String>,
    /// How many at most, 1 to 20; 5 when left out.
    #[param(minimum = 1, maximum = 20, default = 5)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
}

/// What helps on a page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContextualHelp {
    /// What rules say, then what was read there, then what is similar.
    results: Vec<ContextualArticle>,
    /// The arms of search that were not available: `semantic` while the embedding model is away.
    #[schema(value_type = Vec<String>)]
    degraded: Vec<Arm>,
}

/// An article that helps on a page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContextualArticle {
    #[serde(flatten)]
    line: ArticleLine,
    /// `rule`: an admin chose it for such pages. `read_here`: at least three people read it on this page in the last 90 days.
    /// `similar`: it is about what the page's title and address say.
    #[schema(value_type = String)]
    reason: Reason,
}

/// All rules.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleList {
    /// In the order in which they apply: greater priorities first, then patterns with more fixed text, then older rules.
    results: Vec<RuleLine>,
}

/// Articles for the pages whose address matches a pattern.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleLine {
    id: Uuid,
    pattern: String,
    /// In their order. Who may not see one of them does not get it.
    article_ids: Vec<Uuid>,
    priority: i32,
    is_active: bool,
}

/// Articles for the pages whose address matches a pattern.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleBody {
    /// A URL pattern of 1 to 500 characters: a path such as `/settings/*` or `/projects/:id/billing`, with a host before it where
    /// only that one is meant, with `?query` or `#fragment` behind it where these matter.
    #[schema(min_length = 1, max_length = 500, example = "/projects/:id/billing")]
    pattern: String,
    /// 1 to 10, in their order.
    #[schema(min_items = 1, max_items = 10)]
    article_ids: Vec<Uuid>,
    /// Rules with a greater one come first; -1000 to 1000.
    #[serde(default)]
    #[schema(minimum = -1000, maximum = 1000, default = 0)]
    priority: i32,
    /// Whether it is used.
    #[serde(default = "active")]
    #[schema(default = true)]
    is_active: bool,
}

fn active() -> bool {
    true
}

/// Articles that help on a page of the host application. Articles in the language of the header `Accept-Language` come before
/// others.
#[utoipa::path(
    get, path = "/api/v2/help-center/contextual/", tag = "Contextual help", operation_id = "getContextualHelp",
    params(ContextualQuery),
    responses(
        (status = 200, description = "What helps, best first", body = ContextualHelp),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn help(
    services: Data<Services>,
    Reader(caller): Reader,
    http: HttpRequest,
    query: Query<ContextualQuery>,
) -> Result<Json<ContextualHelp>, ApiError> {
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let url = parse_page(&query.url)?;
    let title = query.title.as_deref().unwrap_or_default();
    let length = title.chars().count();
    if length > MAX_TITLE {
        return Err(ApiError::invalid(format!(
            "`title` may have at most {MAX_TITLE} characters; this one has {length}."
        )));
    }
    let language = asked_in(&http);
    let page = Page { url: &url, title, language: language.as_deref() };
    let limit = usize::try_from(limit).unwrap_or_default();
    let help = services.search.page_help(caller.tenant, &caller.roles, page, limit).await?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let paths = knowledge::category_paths(&mut tx).await?;
    let results =
        help.articles.into_iter().map(|(article, reason)| ContextualArticle { line: line(article, &paths), reason });
    Ok(Json(ContextualHelp { results: results.collect(), degraded: help.degraded }))
}

/// Lists the rules.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/contextual-rules/", tag = "Contextual help", operation_id = "listContextualRules",
    responses(
        (status = 200, description = "All rules", body = RuleList),
        Admin,
    )
)]
pub(crate) async fn rules(services: Data<Services>, Admin(caller): Admin) -> Result<Json<RuleList>, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let results = contextual::rules(&mut tx).await?.into_iter().map(rule_line).collect();
    Ok(Json(RuleList { results }))
}

/// Adds a rule.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/contextual-rules/", tag = "Contextual help", operation_id = "addContextualRule",
    request_body = RuleBody,
    responses(
        (status = 201, description = "The rule", body = RuleLine),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn add_rule(
    services: Data<Services>,
    Admin(caller): Admin,
    body: Json<RuleBody>,
) -> Result<HttpResponse, ApiError> {
    let rule = put_rule(&services, &caller, None, body).await?;
    let address = format!("/api/v2/help-center/admin/contextual-rules/{}/", rule.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, address)).json(rule))
}

/// Replaces a rule.
#[utoipa::path(
    put, path = "/api/v2/help-center/admin/contextual-rules/{id}/", tag = "Contextual help", operation_id = "replaceContextualRule",
    params(("id" = String, Path, description = "Id of the rule")),
    request_body = RuleBody,
    responses(
        (status = 200, description = "The rule", body = RuleLine),
        (status = 404, description = "No such rule", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn replace_rule(
    services: Data<Services>,
    Admin(caller): Admin,
    id: Path<String>,
    body: Json<RuleBody>,
) -> Result<Json<RuleLine>, ApiError> {
    let id = id.parse().map_err(|_| RuleError::NotFound)?;
    Ok(Json(put_rule(&services, &caller, Some(id), body).await?))
}

/// Removes a rule.
#[utoipa::path(
    delete, path = "/api/v2/help-center/admin/contextual-rules/{id}/", tag = "Contextual help", operation_id = "deleteContextualRule",
    params(("id" = String, Path, description = "Id of the rule")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such rule", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn delete_rule(
    services: Data<Services>,
    Admin(caller): Admin,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = id.parse().map_err(|_| RuleError::NotFound)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    contextual::delete_rule(&mut tx, &caller.actor(), id).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Adds a rule, or replaces the one with this id.
async fn put_rule(
    services: &Services,
    caller: &Principal,
    id: Option<Uuid>,
    body: Json<RuleBody>,
) -> Result<RuleLine, ApiError> {
    let RuleBody { pattern, article_ids, priority, is_active } = body.into_inner();
    let new = NewRule { pattern, article_ids, priority, is_active };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let rule = contextual::put_rule(&mut tx, &caller.actor(), id, &new).await?;
    tx.commit().await?;
    Ok(rule_line(rule))
}

fn rule_line(rule: Rule) -> RuleLine {
    RuleLine {
        id: rule.id,
        pattern: rule.pattern,
        article_ids: rule.article_ids,
        priority: rule.priority,
        is_active: rule.is_active,
    }
}
