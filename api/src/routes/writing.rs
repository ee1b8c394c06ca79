//! Articles, for those who write them.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, EntityTag},
    web::{Data, Json, Path, Query},
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    auth::Principal,
    db::TenantTx,
    knowledge::{
        self, Locale,
        slug::Slug,
        taxonomy,
        writing::{
            self, ArticleChange, ManagedArticle, ManagedFilter, ManagedSort, NewArticle, Step, WriteError, Writer,
        },
    },
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    articles::parse_difficulty,
    given, paging,
    refusals::{InvalidBody, InvalidRequest},
};
use crate::{
    Services,
    caller::{Author, Editor},
    error::{ApiError, Code, Problem},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// Which articles to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WritingQuery {
    /// Only in this state: `DRAFT`, `REVIEW`, `PUBLISHED` or `ARCHIVED`. Several are separated by commas.
    status: Option<String>,
    /// Only of this category and those below it, by slug.
    category: Option<String>,
    /// Only with this tag, by slug.
    tag: Option<String>,
    /// Only in this language.
    locale: Option<String>,
    /// Only those that this one wrote a revision of.
    author: Option<String>,
    /// Only those that an import of this name keeps.
    source: Option<String>,
    /// Only with this in the title, in upper or lower case.
    title: Option<String>,
    /// `requested`: the latest text waits for an editor. `due`: somebody should have read it again by today.
    review: Option<String>,
    /// `updated` (the default, the latest first), `title`, `views`, `helpful` or `review_due`.
    sort: Option<String>,
    /// How many at most, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200, default = 50)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// A page of articles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WritingPage {
    results: Vec<WritingArticle>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// An article with its latest text, whatever its status.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct WritingArticle {
    id: Uuid,
    slug: String,
    /// Address of its page, from the root of the site. Readers find something there while it is published.
    url: String,
    /// `DRAFT`, `REVIEW`, `PUBLISHED` or `ARCHIVED`.
    status: String,
    /// Raised by every change: send it as `If-Match` with the next one.
    version: i32,
    /// Of the latest revision, like summary and content.
    title: String,
    /// Empty: readers see the beginning of the text.
    summary: String,
    /// Markdown. Left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// Number of the latest revision.
    revision: i32,
    /// Number of the revision that was published last; readers see it while the status is `PUBLISHED`.
    published_revision: Option<i32>,
    /// Whether the latest text is newer than the one that readers see.
    has_unpublished_text: bool,
    /// Since when the latest text waits for an editor.
    review_requested_at: Option<DateTime<Utc>>,
    /// When it will be published by itself.
    publish_at: Option<DateTime<Utc>>,
    /// Number of the revision that will be.
    publish_revision: Option<i32>,
    category_id: Option<Uuid>,
    /// Names, sorted.
    tags: Vec<String>,
    difficulty_level: String,
    /// Who may read it once it is published: role names, or `all`.
    target_roles: Vec<String>,
    locale: String,
    /// The same article in other languages.
    translations: Vec<TranslationLine>,
    /// What an editor wants to be read next, in this order.
    related: Vec<Uuid>,
    /// Who wrote its revisions, sorted.
    authors: Vec<String>,
    /// The import that keeps it; null: it was written here.
    source: Option<String>,
    /// Its file in that import.
    source_path: Option<String>,
    view_count: i64,
    helpful_count: i64,
    not_helpful_count: i64,
    /// helpful / votes; 0.5 without votes.
    helpful_ratio: f64,
    /// Last reviewed over 180 days ago, or never, and found helpful by fewer than 0.6 of the votes.
    is_stale: bool,
    published_at: Option<DateTime<Utc>>,
    last_reviewed_at: Option<DateTime<Utc>>,
    review_due_on: Option<NaiveDate>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The same article in another language.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TranslationLine {
    id: Uuid,
    locale: String,
    slug: String,
    status: String,
}

/// A new article. It begins as a draft.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewArticleBody {
    /// 1 to 200 characters.
    title: String,
    /// At most 500 characters. Without one, readers see the beginning of the text.
    #[serde(default)]
    summary: String,
    /// Markdown.
    #[serde(default)]
    content: String,
    /// Its address; made of the title when left out.
    slug: Option<String>,
    category_id: Option<Uuid>,
    /// Names; tags that do not exist are made.
    #[serde(default)]
    tags: Vec<String>,
    /// `BEGINNER` (when left out), `INTERMEDIATE` or `ADVANCED`.
    difficulty: Option<String>,
    /// Who may read it once it is published: role names, or `all`, which is meant when left out.
    target_roles: Option<Vec<String>>,
    /// Its language; `en` when left out.
    locale: Option<String>,
    /// The article that it says the same as, in another language.
    translation_of: Option<Uuid>,
    /// When somebody should read it again.
    review_due_on: Option<NaiveDate>,
    /// What should be read next, at most 20 articles.
    #[serde(default)]
    related: Vec<Uuid>,
    /// What the revision is about.
    #[serde(default)]
    note: String,
}

/// A change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArticleChangeBody {
    /// The version that the change was made for, instead of the header `If-Match`.
    version: Option<i32>,
    title: Option<String>,
    summary: Option<String>,
    content: Option<String>,
    /// The former one leads to it from then on.
    slug: Option<String>,
    /// Null: no category.
    #[serde(default, deserialize_with = "given")]
    category_id: Option<Option<Uuid>>,
    /// Names of all of its tags.
    tags: Option<Vec<String>>,
    difficulty: Option<String>,
    target_roles: Option<Vec<String>>,
    locale: Option<String>,
    /// Null: of none.
    #[serde(default, deserialize_with = "given")]
    translation_of: Option<Option<Uuid>>,
    /// Null: never.
    #[serde(default, deserialize_with = "given")]
    review_due_on: Option<Option<NaiveDate>>,
    related: Option<Vec<Uuid>>,
    /// What the revision is about.
    #[serde(default)]
    note: String,
}

/// A step on an article's way to its readers. Every step of an editor ends what was scheduled before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepBody {
    /// The version that the step was meant for, instead of the header `If-Match`.
    version: Option<i32>,
    /// `DRAFT`, `REVIEW`, `PUBLISHED` or `ARCHIVED`.
    status: String,
    /// With `PUBLISHED`: not now, but then.
    publish_at: Option<DateTime<Utc>>,
    /// With `PUBLISHED`: this revision instead of the latest.
    revision: Option<i32>,
}

/// A confirmed review.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewBody {
    /// The version that was read, instead of the header `If-Match`.
    version: Option<i32>,
    /// When somebody should read it again; null or left out: never.
    review_due_on: Option<NaiveDate>,
}

/// Lists articles of every status.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/articles/", tag = "Writing", operation_id = "listArticlesToWrite",
    params(WritingQuery),
    responses(
        (status = 200, description = "A page of articles", body = WritingPage),
        InvalidRequest, Author,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Author(caller): Author,
    query: Query<WritingQuery>,
) -> Result<Json<WritingPage>, ApiError> {
    let query = query.into_inner();
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let sort = query.sort.as_deref().map(parse_sort).transpose()?.unwrap_or_default();
    let after = paging::after::<(String, Uuid)>(query.cursor.as_deref())?;
    let now = services.clock.now();
    let mut tx = services.database.tenant(caller.tenant).await?;
    let filter = filter(&mut tx, query, now).await?;
    let mut articles = writing::managed_articles(&mut tx, &filter, sort, after.as_ref(), limit + 1).await?;
    let next_cursor = paging::next_cursor(&mut articles, limit, |(key, last)| (key.clone(), last.id));
    let results = articles.into_iter().map(|(_, a)| WritingArticle { content: None, ..shown(a, now) }).collect();
    Ok(Json(WritingPage { results, next_cursor }))
}

/// Creates a draft.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/articles/", tag = "Writing", operation_id = "createArticle",
    request_body = NewArticleBody,
    responses(
        (status = 201, description = "The draft", body = WritingArticle),
        (status = 409, description = "Another article has the slug", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Author,
    )
)]
pub(crate) async fn create(
    services: Data<Services>,
    Author(caller): Author,
    body: Json<NewArticleBody>,
) -> Result<HttpResponse, ApiError> {
    let body = body.into_inner();
    let new = NewArticle {
        text: knowledge::ArticleText { title: body.title, summary: body.summary, content: body.content },
        slug: body.slug.as_deref().map(parse_slug).transpose()?,
        category_id: body.category_id,
        tags: body.tags,
        difficulty: body.difficulty.as_deref().map(parse_difficulty).transpose()?.unwrap_or_default(),
        target_roles: body.target_roles.unwrap_or_else(|| vec!["all".to_owned()]),
        locale: body.locale.as_deref().map(parse_locale).transpose()?.unwrap_or_default(),
        translation_of: body.translation_of,
        review_due_on: body.review_due_on,
        related: body.related,
        note: body.note,
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let id = writing::create(&mut tx, &Writer::of(&caller), &new).await?;
    let article = find(&mut tx, id).await?;
    tx.commit().await?;
    let address = format!("/api/v2/help-center/admin/articles/{id}/");
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, address))
        .insert_header(header::ETag(EntityTag::new_strong(article.version.to_string())))
        .json(shown(article, services.clock.now())))
}

/// One article with its latest text. The answer's `ETag` is its version.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/articles/{id}/", tag = "Writing", operation_id = "getArticleToWrite",
    params(("id" = String, Path, description = "Id of the article")),
    responses(
        (status = 200, description = "The article", body = WritingArticle),
        (status = 404, description = "No such article", body = Problem, content_type = "application/problem+json"),
        Author,
    )
)]
pub(crate) async fn detail(
    services: Data<Services>,
    Author(caller): Author,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let article = find(&mut tx, parse_id(&id)?).await?;
    Ok(answer(article, services.clock.now()))
}

/// Changes an article. A changed title, summary or content is a new revision, which readers see once it is published;
/// everything else takes effect at once.
///
/// Whoever changes an article names the version that they saw, in the header `If-Match` or as `version`. When somebody else
/// was faster, the answer is 409 with the article as it is (`current`) and as it would have been (`submitted`).
#[utoipa::path(
    patch, path = "/api/v2/help-center/admin/articles/{id}/", tag = "Writing", operation_id = "changeArticle",
    params(("id" = String, Path, description = "Id of the article"),
           ("If-Match" = Option<String>, Header, description = "The version that the change was made for")),
    request_body = ArticleChangeBody,
    responses(
        (status = 200, description = "The article as it is now", body = WritingArticle),
        (status = 401, description = "No valid credential", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not change this", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such article", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it, or another article has the slug", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "The request does not say which version it is for", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
        InvalidBody,
    )
)]
pub(crate) async fn change(
    services: Data<Services>,
    request: HttpRequest,
    Author(caller): Author,
    id: Path<String>,
    body: Json<ArticleChangeBody>,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(&id)?;
    let body = body.into_inner();
    let seen = version(&request, body.version)?;
    let change = ArticleChange {
        title: body.title,
        summary: body.summary,
        content: body.content,
        slug: body.slug.as_deref().map(parse_slug).transpose()?,
        category_id: body.category_id,
        tags: body.tags,
        difficulty: body.difficulty.as_deref().map(parse_difficulty).transpose()?,
        target_roles: body.target_roles,
        locale: body.locale.as_deref().map(parse_locale).transpose()?,
        translation_of: body.translation_of,
        review_due_on: body.review_due_on,
        related: body.related,
        note: body.note,
    };
    let now = services.clock.now();
    let mut tx = services.database.tenant(caller.tenant).await?;
    match writing::change(&mut tx, &Writer::of(&caller), id, seen, &change).await {
        Ok(()) => {}
        Err(WriteError::Conflict { seen, current }) => {
            let submitted = with_change(&current, &change);
            return Err(conflict(seen, *current, Some(submitted), now));
        }
        Err(error) => return Err(error.into()),
    }
    let article = find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(answer(article, now))
}

/// Moves an article on its way to the readers: hands it in, publishes it now or later, takes it back, archives it.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/articles/{id}/status/", tag = "Writing", operation_id = "setArticleStatus",
    params(("id" = String, Path, description = "Id of the article"),
           ("If-Match" = Option<String>, Header, description = "The version that the step was meant for")),
    request_body = StepBody,
    responses(
        (status = 200, description = "The article as it is now", body = WritingArticle),
        (status = 401, description = "No valid credential", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The step is for editors", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such article", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it, or the step cannot be taken", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "The request does not say which version it is for", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
        InvalidBody,
    )
)]
pub(crate) async fn set_status(
    services: Data<Services>,
    request: HttpRequest,
    Author(caller): Author,
    id: Path<String>,
    body: Json<StepBody>,
) -> Result<HttpResponse, ApiError> {
    let step = parse_step(&body)?;
    let now = services.clock.now();
    act(&services, &request, &caller, &id, body.version, async |tx, writer, id, seen| {
        writing::take_step(tx, writer, id, seen, step, now).await
    })
    .await
}

/// Notes that an editor read the article critically and found it good.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/articles/{id}/review/", tag = "Writing", operation_id = "confirmArticleReview",
    params(("id" = String, Path, description = "Id of the article"),
           ("If-Match" = Option<String>, Header, description = "The version that was read")),
    request_body = ReviewBody,
    responses(
        (status = 200, description = "The article as it is now", body = WritingArticle),
        (status = 404, description = "No such article", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "The request does not say which version it is for", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn review(
    services: Data<Services>,
    request: HttpRequest,
    Author(caller): Author,
    id: Path<String>,
    body: Json<ReviewBody>,
) -> Result<HttpResponse, ApiError> {
    act(&services, &request, &caller, &id, body.version, async |tx, writer, id, seen| {
        writing::confirm_review(tx, writer, id, seen, body.review_due_on).await
    })
    .await
}

/// Does something to an article at the version that the caller saw, and answers with the article as it is then.
pub(super) async fn act(
    services: &Services,
    request: &HttpRequest,
    caller: &Principal,
    id: &str,
    version_in_body: Option<i32>,
    act: impl AsyncFnOnce(&mut TenantTx, &Writer, Uuid, i32) -> Result<(), WriteError>,
) -> Result<HttpResponse, ApiError> {
    let id = parse_id(id)?;
    let seen = version(request, version_in_body)?;
    let now = services.clock.now();
    let mut tx = services.database.tenant(caller.tenant).await?;
    act(&mut tx, &Writer::of(caller), id, seen).await.map_err(|error| match error {
        WriteError::Conflict { seen, current } => conflict(seen, *current, None, now),
        error => error.into(),
    })?;
    let article = find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(answer(article, now))
}

pub(super) async fn find(tx: &mut TenantTx, id: Uuid) -> Result<ManagedArticle, ApiError> {
    Ok(writing::managed_article(tx, id).await?.ok_or(WriteError::NotFound)?)
}

pub(super) fn parse_id(id: &str) -> Result<Uuid, ApiError> {
    id.parse().map_err(|_| WriteError::NotFound.into())
}

/// The version that a request is for: the header `If-Match`, which may be quoted and weak, or what the body says.
fn version(request: &HttpRequest, in_body: Option<i32>) -> Result<i32, ApiError> {
    let Some(header) = request.headers().get(header::IF_MATCH) else {
        return in_body.ok_or_else(|| {
            ApiError::new(
                Code::VersionRequired,
                "Say which version of the article this is for: its `version`, in the header `If-Match` or in the body.",
            )
        });
    };
    let tag = header.to_str().unwrap_or_default().trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
    tag.parse()
        .map_err(|_| ApiError::invalid(format!("`If-Match` must be a version, such as \"3\"; this one is {tag:?}.")))
}

/// An answer whose `ETag` is the version.
fn answer(article: ManagedArticle, now: DateTime<Utc>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(header::ETag(EntityTag::new_strong(article.version.to_string())))
        .json(shown(article, now))
}

fn conflict(seen: i32, current: ManagedArticle, submitted: Option<ManagedArticle>, now: DateTime<Utc>) -> ApiError {
    let detail = WriteError::Conflict { seen, current: Box::new(current.clone()) }.to_string();
    ApiError::new(Code::VersionConflict, detail)
        .with("current", &shown(current, now))
        .with("submitted", &submitted.map(|article| shown(article, now)))
}

/// What the article would have been if the change had come first.
fn with_change(current: &ManagedArticle, change: &ArticleChange) -> ManagedArticle {
    let mut article = current.clone();
    let change = change.clone();
    article.title = change.title.unwrap_or(article.title);
    article.summary = change.summary.unwrap_or(article.summary);
    article.content = change.content.unwrap_or(article.content);
    article.slug = change.slug.map_or(article.slug, Slug::into_string);
    article.category_id = change.category_id.unwrap_or(article.category_id);
    article.tags = change.tags.unwrap_or(article.tags);
    article.difficulty = change.difficulty.map_or(article.difficulty, |difficulty| difficulty.to_string());
    article.target_roles = change.target_roles.unwrap_or(article.target_roles);
    article.locale = change.locale.map_or(article.locale, |locale| locale.to_string());
    article.review_due_on = change.review_due_on.unwrap_or(article.review_due_on);
    article.related = change.related.unwrap_or(article.related);
    article
}

async fn filter(tx: &mut TenantTx, query: WritingQuery, now: DateTime<Utc>) -> Result<ManagedFilter, ApiError> {
    let categories = match &query.category {
        Some(slug) => Some(taxonomy::ids_below(tx, slug).await?),
        None => None,
    };
    let statuses = query
        .status
        .iter()
        .flat_map(|statuses| statuses.split(','))
        .map(|status| parse_status(status).map(knowledge::Status::as_str))
        .collect::<Result<_, _>>()?;
    let (is_review_requested, review_due_by) = match query.review.as_deref() {
        None => (false, None),
        Some("requested") => (true, None),
        Some("due") => (false, Some(now.date_naive())),
        Some(_) => return Err(ApiError::invalid("`review` must be `requested` or `due`.")),
    };
    Ok(ManagedFilter {
        statuses,
        categories,
        tag: query.tag,
        locale: query.locale,
        author: query.author,
        source: query.source,
        title: query.title,
        is_review_requested,
        review_due_by,
    })
}

fn parse_sort(name: &str) -> Result<ManagedSort, ApiError> {
    match name {
        "updated" => Ok(ManagedSort::Updated),
        "title" => Ok(ManagedSort::Title),
        "views" => Ok(ManagedSort::Views),
        "helpful" => Ok(ManagedSort::Helpful),
        "review_due" => Ok(ManagedSort::ReviewDue),
        _ => Err(ApiError::invalid("`sort` must be `updated`, `title`, `views`, `helpful` or `review_due`.")),
    }
}

fn parse_status(name: &str) -> Result<knowledge::Status, ApiError> {
    name.parse().map_err(|problem| ApiError::invalid(format!("`status`: {problem}.")))
}

fn parse_slug(text: &str) -> Result<Slug, ApiError> {
    text.parse().map_err(|problem| ApiError::invalid(format!("`slug`: {problem}.")))
}

fn parse_locale(tag: &str) -> Result<Locale, ApiError> {
    tag.parse().map_err(|problem| ApiError::invalid(format!("`locale`: {problem}.")))
}

fn parse_step(body: &StepBody) -> Result<Step, ApiError> {
    let step = match parse_status(&body.status)? {
        knowledge::Status::Draft => Step::Draft,
        knowledge::Status::Review => Step::Review,
        knowledge::Status::Published => return Ok(Step::Publish { revision: body.revision, at: body.publish_at }),
        knowledge::Status::Archived => Step::Archive,
    };
    if body.publish_at.is_some() || body.revision.is_some() {
        return Err(ApiError::invalid("`publish_at` and `revision` belong to the status `PUBLISHED`."));
    }
    Ok(step)
}

fn shown(article: ManagedArticle, now: DateTime<Utc>) -> WritingArticle {
    WritingArticle {
        url: super::article_url(&article.slug),
        has_unpublished_text: article.has_unpublished_text(),
        helpful_ratio: article.helpful_ratio(),
        is_stale: article.is_stale(now),
        id: article.id,
        slug: article.slug,
        status: article.status,
        version: article.version,
        title: article.title,
        summary: article.summary,
        content: Some(article.content),
        revision: article.revision,
        published_revision: article.published_revision,
        review_requested_at: article.review_requested_at,
        publish_at: article.publish_at,
        publish_revision: article.publish_revision,
        category_id: article.category_id,
        tags: article.tags,
        difficulty_level: article.difficulty,
        target_roles: article.target_roles,
        locale: article.locale,
        translations: article
            .translations
            .into_iter()
            .map(|t| TranslationLine { id: t.id, locale: t.locale, slug: t.slug, status: t.status })
            .collect(),
        related: article.related,
        authors: article.authors,
        source: article.source,
        source_path: article.source_path,
        view_count: article.view_count,
        helpful_count: article.helpful_count,
        not_helpful_count: article.not_helpful_count,
        published_at: article.published_at,
        last_reviewed_at: article.last_reviewed_at,
        review_due_on: article.review_due_on,
        created_at: article.created_at,
        updated_at: article.updated_at,
    }
}
