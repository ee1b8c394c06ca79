//! One change of many articles.

use actix_web::{
    HttpResponse,
    web::{Data, Json},
};
use serde::Deserialize;
use shared::{
    audit,
    knowledge::{BulkAction, BulkChange},
    queue,
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    jobs::{self, JobStarted},
    refusals::InvalidBody,
};
use crate::{Services, caller::Editor, error::ApiError};

/// Most articles in one request.
const MAX_ARTICLES: usize = 10_000;

/// What to do to which articles.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkBody {
    /// `publish`, `archive`, `move` or `tag`.
    action: String,
    /// The articles, 1 to 10,000.
    article_ids: Vec<Uuid>,
    /// With `move`: where to; null: into no category.
    category_id: Option<Uuid>,
    /// With `tag`: names of tags that each article gets.
    #[serde(default)]
    add_tags: Vec<String>,
    /// With `tag`: names of tags that each article loses.
    #[serde(default)]
    remove_tags: Vec<String>,
}

/// Publishes, archives, moves or tags many articles. The job's result says how many were changed, were as wanted already, and
/// could not be changed, with the reason.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/articles/bulk/", tag = "Writing", operation_id = "changeManyArticles",
    request_body = BulkBody,
    responses(
        (status = 202, description = "The job that does it", body = JobStarted),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn change(
    services: Data<Services>,
    Editor(caller): Editor,
    body: Json<BulkBody>,
) -> Result<HttpResponse, ApiError> {
    let body = body.into_inner();
    if !(1..=MAX_ARTICLES).contains(&body.article_ids.len()) {
        let problem =
            format!("`article_ids` must name 1 to {MAX_ARTICLES} articles; here are {}.", body.article_ids.len());
        return Err(ApiError::invalid(problem));
    }
    let action = match body.action.as_str() {
        "publish" => BulkAction::Publish,
        "archive" => BulkAction::Archive,
        "move" => BulkAction::Move { category_id: body.category_id },
        "tag" if body.add_tags.is_empty() && body.remove_tags.is_empty() => {
            return Err(ApiError::invalid("With `tag`, name tags in `add_tags` or `remove_tags`."));
        }
        "tag" => BulkAction::Tag { add: body.add_tags, remove: body.remove_tags },
        _ => return Err(ApiError::invalid("`action` must be `publish`, `archive`, `move` or `tag`.")),
    };
    let subject = format!("{} articles", body.article_ids.len());
    let job = BulkChange { action, article_ids: body.article_ids, actor: caller.actor() };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let job_id = queue::enqueue(&mut tx, &job).await?.uuid();
    audit::record(&mut tx, &caller.actor(), &format!("article.bulk_{}", body.action), &subject).await?;
    tx.commit().await?;
    Ok(jobs::started(job_id))
}
