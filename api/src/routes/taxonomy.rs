//! Categories and tags, for those who arrange them.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json, Path},
};
use serde::{Deserialize, Serialize};
use shared::{
    db::TenantTx,
    knowledge::{
        slug::Slug,
        taxonomy::{self, Category, CategoryChange, Tag, TaxonomyError},
    },
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{given, refusals::InvalidBody};
use crate::{
    Services,
    caller::{Author, Editor},
    error::{ApiError, Problem},
};

/// All categories.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CategoryList {
    /// Parents before their children, in display order.
    results: Vec<ManagedCategory>,
}

/// A category, whether readers see something in it or not.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ManagedCategory {
    id: Uuid,
    parent_id: Option<Uuid>,
    name: String,
    slug: String,
    description: String,
    icon: String,
    color: String,
    /// Whether readers see it.
    is_active: bool,
    /// Articles in it, whatever their status; those of categories below it are not counted.
    article_count: i64,
    /// The import that keeps it; null: it was made here.
    source: Option<String>,
}

/// A new category. It comes last among those with its parent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCategoryBody {
    /// 1 to 200 characters.
    name: String,
    /// Its address; made of the name when left out.
    slug: Option<String>,
    /// Null or left out: at the top.
    parent_id: Option<Uuid>,
    description: Option<String>,
    /// Name of an icon.
    icon: Option<String>,
    /// Such as `#1a2b3c`.
    color: Option<String>,
    is_active: Option<bool>,
}

/// A change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CategoryChangeBody {
    name: Option<String>,
    slug: Option<String>,
    /// Where it moves to, last among those there; null: to the top.
    #[serde(default, deserialize_with = "given")]
    parent_id: Option<Option<Uuid>>,
    description: Option<String>,
    icon: Option<String>,
    color: Option<String>,
    is_active: Option<bool>,
}

/// The order of the categories with the same parent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CategoryOrderBody {
    /// Null: those at the top.
    parent_id: Option<Uuid>,
    /// All of them, in the wanted order.
    ids: Vec<Uuid>,
}

/// All tags.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TagList {
    /// By name.
    results: Vec<ManagedTag>,
}

/// A tag.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ManagedTag {
    id: Uuid,
    name: String,
    slug: String,
    /// Articles with it, whatever their status.
    article_count: i64,
}

/// The name of a tag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TagBody {
    /// 1 to 100 characters.
    name: String,
}

/// All categories, also those that readers do not see.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/categories/", tag = "Writing", operation_id = "listCategoriesToArrange",
    responses(
        (status = 200, description = "The categories", body = CategoryList),
        Author,
    )
)]
pub(crate) async fn categories(
    services: Data<Services>,
    Author(caller): Author,
) -> Result<Json<CategoryList>, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    Ok(Json(CategoryList { results: taxonomy::all_categories(&mut tx).await?.into_iter().map(category).collect() }))
}

/// Makes a category.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/categories/", tag = "Writing", operation_id = "createCategory",
    request_body = NewCategoryBody,
    responses(
        (status = 201, description = "The category", body = ManagedCategory),
        (status = 409, description = "Another one has the slug", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn create_category(
    services: Data<Services>,
    Editor(caller): Editor,
    body: Json<NewCategoryBody>,
) -> Result<HttpResponse, ApiError> {
    let body = body.into_inner();
    let new = CategoryChange {
        name: Some(body.name),
        slug: body.slug.as_deref().map(parse_slug).transpose()?,
        parent_id: Some(body.parent_id),
        description: body.description,
        icon: body.icon,
        color: body.color,
        is_active: body.is_active,
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let id = taxonomy::create_category(&mut tx, &caller.actor(), &new).await?;
    let made = find_category(&mut tx, id).await?;
    tx.commit().await?;
    let address = format!("/api/v2/help-center/admin/categories/{id}/");
    Ok(HttpResponse::Created().insert_header((header::LOCATION, address)).json(made))
}

/// Changes a category, or moves it with all that is below it.
#[utoipa::path(
    patch, path = "/api/v2/help-center/admin/categories/{id}/", tag = "Writing", operation_id = "changeCategory",
    params(("id" = String, Path, description = "Id of the category")),
    request_body = CategoryChangeBody,
    responses(
        (status = 200, description = "The category as it is now", body = ManagedCategory),
        (status = 404, description = "No such category", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another one has the slug, or it cannot be placed there", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn change_category(
    services: Data<Services>,
    Editor(caller): Editor,
    id: Path<String>,
    body: Json<CategoryChangeBody>,
) -> Result<Json<ManagedCategory>, ApiError> {
    let id = id.parse().map_err(|_| TaxonomyError::NotFound("category"))?;
    let body = body.into_inner();
    let change = CategoryChange {
        name: body.name,
        slug: body.slug.as_deref().map(parse_slug).transpose()?,
        parent_id: body.parent_id,
        description: body.description,
        icon: body.icon,
        color: body.color,
        is_active: body.is_active,
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    taxonomy::change_category(&mut tx, &caller.actor(), id, &change).await?;
    let changed = find_category(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(changed))
}

/// Puts the categories with the same parent into an order.
#[utoipa::path(
    put, path = "/api/v2/help-center/admin/categories/order/", tag = "Writing", operation_id = "orderCategories",
    request_body = CategoryOrderBody,
    responses(
        (status = 200, description = "All categories", body = CategoryList),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn order_categories(
    services: Data<Services>,
    Editor(caller): Editor,
    body: Json<CategoryOrderBody>,
) -> Result<Json<CategoryList>, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    taxonomy::order_categories(&mut tx, &caller.actor(), body.parent_id, &body.ids).await?;
    let results = taxonomy::all_categories(&mut tx).await?.into_iter().map(category).collect();
    tx.commit().await?;
    Ok(Json(CategoryList { results }))
}

/// Removes a category that holds no article and no other category.
#[utoipa::path(
    delete, path = "/api/v2/help-center/admin/categories/{id}/", tag = "Writing", operation_id = "deleteCategory",
    params(("id" = String, Path, description = "Id of the category")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such category", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It holds articles or categories", body = Problem, content_type = "application/problem+json"),
        Editor,
    )
)]
pub(crate) async fn delete_category(
    services: Data<Services>,
    Editor(caller): Editor,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = id.parse().map_err(|_| TaxonomyError::NotFound("category"))?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    taxonomy::delete_category(&mut tx, &caller.actor(), id).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// All tags.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/tags/", tag = "Writing", operation_id = "listTagsToArrange",
    responses(
        (status = 200, description = "The tags", body = TagList),
        Author,
    )
)]
pub(crate) async fn tags(services: Data<Services>, Author(caller): Author) -> Result<Json<TagList>, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    Ok(Json(TagList { results: taxonomy::all_tags(&mut tx).await?.into_iter().map(tag).collect() }))
}

/// Makes a tag.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/tags/", tag = "Writing", operation_id = "createTag",
    request_body = TagBody,
    responses(
        (status = 201, description = "The tag", body = ManagedTag),
        (status = 409, description = "Another one has the slug", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn create_tag(
    services: Data<Services>,
    Editor(caller): Editor,
    body: Json<TagBody>,
) -> Result<HttpResponse, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let id = taxonomy::create_tag(&mut tx, &caller.actor(), &body.name).await?;
    let made = find_tag(&mut tx, id).await?;
    tx.commit().await?;
    let address = format!("/api/v2/help-center/admin/tags/{id}/");
    Ok(HttpResponse::Created().insert_header((header::LOCATION, address)).json(made))
}

/// Renames a tag; its address follows.
///
/// Lists and filters know it at once. Search finds its articles by the new name when a job has indexed them.
#[utoipa::path(
    patch, path = "/api/v2/help-center/admin/tags/{id}/", tag = "Writing", operation_id = "renameTag",
    params(("id" = String, Path, description = "Id of the tag")),
    request_body = TagBody,
    responses(
        (status = 200, description = "The tag as it is now", body = ManagedTag),
        (status = 404, description = "No such tag", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another one has the slug", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn rename_tag(
    services: Data<Services>,
    Editor(caller): Editor,
    id: Path<String>,
    body: Json<TagBody>,
) -> Result<Json<ManagedTag>, ApiError> {
    let id = id.parse().map_err(|_| TaxonomyError::NotFound("tag"))?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    taxonomy::rename_tag(&mut tx, &caller.actor(), id, &body.name).await?;
    let renamed = find_tag(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Json(renamed))
}

/// Removes a tag from all articles and for good.
///
/// Lists and filters know it at once. Search finds its articles by the name until a job has indexed them.
#[utoipa::path(
    delete, path = "/api/v2/help-center/admin/tags/{id}/", tag = "Writing", operation_id = "deleteTag",
    params(("id" = String, Path, description = "Id of the tag")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such tag", body = Problem, content_type = "application/problem+json"),
        Editor,
    )
)]
pub(crate) async fn delete_tag(
    services: Data<Services>,
    Editor(caller): Editor,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = id.parse().map_err(|_| TaxonomyError::NotFound("tag"))?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    taxonomy::delete_tag(&mut tx, &caller.actor(), id).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

fn parse_slug(text: &str) -> Result<Slug, ApiError> {
    text.parse().map_err(|problem| ApiError::invalid(format!("`slug`: {problem}.")))
}

async fn find_category(tx: &mut TenantTx, id: Uuid) -> Result<ManagedCategory, ApiError> {
    let found = taxonomy::all_categories(tx).await?.into_iter().find(|category| category.id == id);
    Ok(found.map(category).ok_or(TaxonomyError::NotFound("category"))?)
}

async fn find_tag(tx: &mut TenantTx, id: Uuid) -> Result<ManagedTag, ApiError> {
    let found = taxonomy::all_tags(tx).await?.into_iter().find(|tag| tag.id == id);
    Ok(found.map(tag).ok_or(TaxonomyError::NotFound("tag"))?)
}

fn category(category: Category) -> ManagedCategory {
    ManagedCategory {
        id: category.id,
        parent_id: category.parent_id,
        name: category.name,
        slug: category.slug,
        description: category.description,
        icon: category.icon,
        color: category.color,
        is_active: category.is_active,
        article_count: category.article_count,
        source: category.source,
    }
}

fn tag(tag: Tag) -> ManagedTag {
    ManagedTag { id: tag.id, name: tag.name, slug: tag.slug, article_count: tag.article_count }
}
