//! Categories.

use actix_web::web::{Data, Json};
use serde::Serialize;
use shared::knowledge::{self, CategoryNode};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{Services, caller::Reader, error::ApiError};

/// The categories in which the caller may see something.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CategoryTree {
    /// The top of the tree, in display order.
    results: Vec<CategoryLine>,
}

/// A category.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CategoryLine {
    id: Uuid,
    name: String,
    slug: String,
    /// Address of its page, from the root of the site.
    url: String,
    description: String,
    icon: String,
    color: String,
    /// Articles that the caller may see, in it and in those below it.
    article_count: i64,
    #[schema(no_recursion)]
    children: Vec<CategoryLine>,
}

/// The tree of categories in which the caller may see something, with the number of articles in each.
#[utoipa::path(
    get, path = "/api/v2/help-center/categories/", tag = "Categories", operation_id = "listCategories",
    responses(
        (status = 200, description = "The tree", body = CategoryTree),
        Reader,
    )
)]
pub(crate) async fn tree(services: Data<Services>, Reader(caller): Reader) -> Result<Json<CategoryTree>, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let tree = knowledge::categories(&mut tx, &caller.roles).await?;
    Ok(Json(CategoryTree { results: tree.into_iter().map(line).collect() }))
}

/// The address of a category's page.
pub(crate) fn category_url(slug: &str) -> String {
    format!("/categories/{slug}/")
}

fn line(node: CategoryNode) -> CategoryLine {
    CategoryLine {
        id: node.id,
        url: category_url(&node.slug),
        name: node.name,
        slug: node.slug,
        description: node.description,
        icon: node.icon,
        color: node.color,
        article_count: node.article_count,
        children: node.children.into_iter().map(line).collect(),
    }
}
