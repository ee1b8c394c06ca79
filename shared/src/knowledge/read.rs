//! What readers see. Every query here asks `article_is_visible` with the caller's roles.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::assets;
use crate::{auth::Roles, db::TenantTx};

/// An article in a list.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ArticleSummary {
    /// Identity.
    pub id: Uuid,
    /// Present address.
    pub slug: String,
    /// Title.
    pub title: String,
    /// The author's, or the beginning of the text where the author wrote none.
    pub summary: String,
    /// Its category.
    pub category_id: Option<Uuid>,
    /// `BEGINNER`, `INTERMEDIATE` or `ADVANCED`.
    pub difficulty: String,
    /// Language.
    pub locale: String,
    /// What its translations have in common.
    pub translation_group: Uuid,
    /// How often it was read.
    pub view_count: i64,
    /// How many found it helpful.
    pub helpful_count: i64,
    /// How many did not.
    pub not_helpful_count: i64,
    /// When readers first saw it.
    pub published_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

impl ArticleSummary {
    /// helpful / (helpful + not helpful); 0.5 without votes.
    pub fn helpful_ratio(&self) -> f64 {
        helpful_ratio(self.helpful_count, self.not_helpful_count)
    }
}

/// helpful / (helpful + not helpful); 0.5 without votes.
#[expect(clippy::cast_precision_loss, reason = "votes stay far below 2^52")]
pub(crate) fn helpful_ratio(helpful: i64, not_helpful: i64) -> f64 {
    match helpful + not_helpful {
        0 => 0.5,
        votes => helpful as f64 / votes as f64,
    }
}

/// An article as its readers see it.
#[derive(Debug, Clone)]
pub struct ArticleView {
    /// What a list shows of it.
    pub summary: ArticleSummary,
    /// Markdown of the published revision.
    pub content: String,
    /// Number of the published revision.
    pub revision: i32,
    /// Raised by every change of the article.
    pub version: i32,
    /// Names of its tags, sorted.
    pub tags: Vec<String>,
    /// When somebody last read it critically.
    pub last_reviewed_at: Option<DateTime<Utc>>,
}

/// The article with this id or slug. `None`: there is none that the caller may see; which of the two is not told.
pub async fn article(tx: &mut TenantTx, roles: &Roles, id_or_slug: &str) -> Result<Option<ArticleView>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select a.id, a.slug, r.title, r.shown_summary as summary, r.content, r.number, a.category_id, a.difficulty, a.locale,
                  a.translation_group, a.view_count, a.helpful_count, a.not_helpful_count, a.published_at as "published_at!", a.updated_at,
                  a.version, a.last_reviewed_at,
                  array(select t.name from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                        where at.tenant_id = a.tenant_id and at.article_id = a.id order by t.name) as "tags!"
           from articles a join revisions r on r.tenant_id = a.tenant_id and r.id = a.published_revision_id
           where a.tenant_id = $1 and (a.id = $2 or a.slug = $3)
             and article_is_visible(a.status, a.target_roles, $4)
           order by a.id = $2 desc limit 1"#,
        tenant,
        Uuid::try_parse(id_or_slug).ok(),
        id_or_slug,
        roles.as_slice()
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|r| ArticleView {
        summary: ArticleSummary {
            id: r.id,
            slug: r.slug,
            title: r.title,
            summary: r.summary,
            category_id: r.category_id,
            difficulty: r.difficulty,
            locale: r.locale,
            translation_group: r.translation_group,
            view_count: r.view_count,
            helpful_count: r.helpful_count,
            not_helpful_count: r.not_helpful_count,
            published_at: r.published_at,
            updated_at: r.updated_at,
        },
        content: r.content,
        revision: r.number,
        version: r.version,
        tags: r.tags,
        last_reviewed_at: r.last_reviewed_at,
    }))
}

/// The present slug of the article that had this one once. `None`: none did that the caller may see.
pub async fn moved_to(tx: &mut TenantTx, roles: &Roles, former_slug: &str) -> Result<Option<String>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select a.slug from former_slugs f join articles a on a.tenant_id = f.tenant_id and a.id = f.article_id
         where f.tenant_id = $1 and f.slug = $2 and article_is_visible(a.status, a.target_roles, $3)",
        tenant,
        former_slug,
        roles.as_slice()
    )
    .fetch_optional(tx.connection())
    .await
}

/// Where a link or an image of an article leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTo {
    /// To an article that the caller may see.
    Article {
        /// Its present address.
        slug: String,
        /// The part after `#`.
        fragment: String,
    },
    /// To an image: its address, from the root of the site.
    Image(String),
    /// Nowhere, or to what the caller may not see.
    Nothing,
}

/// Where the links and images of an article that the caller sees lead, by destination as written.
pub async fn link_targets(
    tx: &mut TenantTx,
    roles: &Roles,
    article_id: Uuid,
) -> Result<HashMap<String, LinkTo>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select l.destination, l.fragment, a.slug as "slug?", s.hash as "hash?", s.name as "name?"
           from article_links l
           left join assets s on s.tenant_id = l.tenant_id and s.id = l.asset_id
           left join articles a on a.tenant_id = l.tenant_id and a.id = l.target_article_id
                               and article_is_visible(a.status, a.target_roles, $3)
           where l.tenant_id = $1 and l.article_id = $2"#,
        tenant,
        article_id,
        roles.as_slice()
    )
    .fetch_all(tx.connection())
    .await?;
    let to = |slug: Option<String>, fragment, image: Option<(String, String)>| match (slug, image) {
        (Some(slug), _) => LinkTo::Article { slug, fragment },
        (None, Some((hash, name))) => LinkTo::Image(assets::address(&hash, &name)),
        (None, None) => LinkTo::Nothing,
    };
    Ok(rows.into_iter().map(|r| (r.destination, to(r.slug, r.fragment, r.hash.zip(r.name)))).collect())
}

/// A category in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryNode {
    /// Identity.
    pub id: Uuid,
    /// Address.
    pub slug: String,
    /// Name.
    pub name: String,
    /// What is in it.
    pub description: String,
    /// Name of an icon, or empty.
    pub icon: String,
    /// A CSS color, or empty.
    pub color: String,
    /// Visible articles in it and in its descendants.
    pub article_count: i64,
    /// The categories below it.
    pub children: Vec<CategoryNode>,
}

/// The tree of active categories in which the caller may see something, in display order. A category without a visible
/// article is left out with its name: it would tell what the caller may not see.
pub async fn categories(tx: &mut TenantTx, roles: &Roles) -> Result<Vec<CategoryNode>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select c.id, c.parent_id, c.slug, c.name, c.description, c.icon, c.color,
                  (select count(*) from articles a
                   where a.tenant_id = c.tenant_id and a.category_id = c.id
                     and article_is_visible(a.status, a.target_roles, $2)) as "article_count!"
           from categories c where c.tenant_id = $1 and c.is_active
           order by c.display_order, lower(c.name), c.id"#,
        tenant,
        roles.as_slice()
    )
    .fetch_all(tx.connection())
    .await?;
    let mut children: HashMap<Option<Uuid>, Vec<CategoryNode>> = HashMap::new();
    for r in rows {
        children.entry(r.parent_id).or_default().push(CategoryNode {
            id: r.id,
            slug: r.slug,
            name: r.name,
            description: r.description,
            icon: r.icon,
            color: r.color,
            article_count: r.article_count,
            children: Vec::new(),
        });
    }
    Ok(assemble(None, &mut children))
}

/// Takes a parent's children out of the map, and theirs; counts descendants; drops what is empty.
fn assemble(parent: Option<Uuid>, children: &mut HashMap<Option<Uuid>, Vec<CategoryNode>>) -> Vec<CategoryNode> {
    let mut nodes = children.remove(&parent).unwrap_or_default();
    for node in &mut nodes {
        node.children = assemble(Some(node.id), children);
        node.article_count += node.children.iter().map(|child| child.article_count).sum::<i64>();
    }
    nodes.retain(|node| node.article_count > 0);
    nodes
}

/// A category in a breadcrumb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crumb {
    /// Name.
    pub name: String,
    /// Address.
    pub slug: String,
}

/// The path from the root to each of the tree's categories, itself included.
pub fn breadcrumbs(tree: &[CategoryNode]) -> HashMap<Uuid, Vec<Crumb>> {
    fn walk(nodes: &[CategoryNode], path: &[Crumb], found: &mut HashMap<Uuid, Vec<Crumb>>) {
        for node in nodes {
            let mut here = path.to_vec();
            here.push(Crumb { name: node.name.clone(), slug: node.slug.clone() });
            walk(&node.children, &here, found);
            found.insert(node.id, here);
        }
    }
    let mut found = HashMap::new();
    walk(tree, &[], &mut found);
    found
}

/// The tree's category with this slug.
pub fn category_by_slug<'a>(tree: &'a [CategoryNode], slug: &str) -> Option<&'a CategoryNode> {
    tree.iter().find_map(|node| if node.slug == slug { Some(node) } else { category_by_slug(&node.children, slug) })
}

/// The tree's category with this id.
pub fn category_by_id(tree: &[CategoryNode], id: Uuid) -> Option<&CategoryNode> {
    tree.iter().find_map(|node| if node.id == id { Some(node) } else { category_by_id(&node.children, id) })
}

/// A category's id and those of all below it.
pub fn category_with_descendants(node: &CategoryNode) -> Vec<Uuid> {
    let mut ids = vec![node.id];
    for child in &node.children {
        ids.extend(category_with_descendants(child));
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, own: i64) -> CategoryNode {
        CategoryNode {
            id: Uuid::now_v7(),
            slug: name.to_lowercase(),
            name: name.to_owned(),
            description: String::new(),
            icon: String::new(),
            color: String::new(),
            article_count: own,
            children: Vec::new(),
        }
    }

    #[test]
    fn counts_include_descendants_and_empty_branches_are_left_out() {
        let (parent, child, empty) = (node("Operations", 1), node("Work Orders", 2), node("Secret", 0));
        let mut children = HashMap::from([(Some(parent.id), vec![child.clone()]), (None, vec![parent.clone(), empty])]);
        let tree = assemble(None, &mut children);
        assert_eq!(tree.len(), 1);
        assert_eq!(tree[0].article_count, 3);
        let path: Vec<String> = breadcrumbs(&tree)[&child.id].iter().map(|c| c.name.clone()).collect();
        assert_eq!(path, ["Operations", "Work Orders"]);
        assert_eq!(category_with_descendants(&tree[0]), [parent.id, child.id]);
        assert_eq!(category_by_slug(&tree, "work orders").map(|n| n.id), Some(child.id));
    }

    #[test]
    fn the_helpful_ratio_is_a_half_without_votes() {
        assert!((helpful_ratio(0, 0) - 0.5).abs() < f64::EPSILON);
        assert!((helpful_ratio(3, 1) - 0.75).abs() < f64::EPSILON);
    }
}
