//! The tree of categories as readers see it, and where in it their articles are.

use std::collections::HashMap;

use uuid::Uuid;

use crate::{auth::Roles, db::TenantTx};

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
/// article is left out with its name: it would tell what the caller may not see. Looks at every published article; where only
/// the categories of visible articles are named, [`category_paths`] does.
pub async fn categories(tx: &mut TenantTx, roles: &Roles) -> Result<Vec<CategoryNode>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select c.id, c.parent_id, c.slug, c.name, c.description, c.icon, c.color,
                  coalesce(seen.article_count, 0) as "article_count!"
           from categories c
           left join (select a.category_id, count(*) as article_count from articles a
                      where a.tenant_id = $1 and article_is_visible(a.status, a.target_roles, $2)
                      group by a.category_id) seen on seen.category_id = c.id
           where c.tenant_id = $1 and c.is_active
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

/// Where categories are: of each the path from the root, itself included. For the categories of articles that the caller sees:
/// whoever sees an article may know where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CategoryPaths(HashMap<Uuid, Vec<Crumb>>);

impl CategoryPaths {
    /// The paths in a tree.
    pub fn in_tree(tree: &[CategoryNode]) -> Self {
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
        Self(found)
    }

    /// The path to a category. Nothing: there is none, or it is not active or below one that is not.
    pub fn of(&self, category: Option<Uuid>) -> &[Crumb] {
        category.and_then(|id| self.0.get(&id)).map_or(&[], Vec::as_slice)
    }

    /// The category with this slug and those below it. Nothing is as good as a category in which the caller sees nothing.
    pub fn below(&self, slug: &str) -> Vec<Uuid> {
        let is_below = |path: &[Crumb]| path.iter().any(|crumb| crumb.slug == slug);
        let mut ids: Vec<Uuid> = self.0.iter().filter(|(_, path)| is_below(path)).map(|(id, _)| *id).collect();
        ids.sort_unstable(); // answers to searches are kept by what was asked for
        ids
    }
}

/// The paths to all active categories, whoever sees something in them. Costs the same whatever the number of articles.
pub async fn category_paths(tx: &mut TenantTx) -> Result<CategoryPaths, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows =
        sqlx::query!("select id, parent_id, slug, name from categories where tenant_id = $1 and is_active", tenant)
            .fetch_all(tx.connection())
            .await?;
    let by_id: HashMap<Uuid, _> = rows.iter().map(|row| (row.id, row)).collect();
    // None: one of those above it is not active.
    let path = |id: Uuid| {
        let (mut path, mut next) = (Vec::new(), Some(id));
        while let Some(id) = next {
            let row = by_id.get(&id)?;
            path.push(Crumb { name: row.name.clone(), slug: row.slug.clone() });
            next = row.parent_id;
        }
        path.reverse();
        Some(path)
    };
    Ok(CategoryPaths(rows.iter().filter_map(|row| Some((row.id, path(row.id)?))).collect()))
}

/// The tree's category with this slug.
pub fn category_by_slug<'a>(tree: &'a [CategoryNode], slug: &str) -> Option<&'a CategoryNode> {
    tree.iter().find_map(|node| if node.slug == slug { Some(node) } else { category_by_slug(&node.children, slug) })
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
        let paths = CategoryPaths::in_tree(&tree);
        let path: Vec<&str> = paths.of(Some(child.id)).iter().map(|crumb| crumb.name.as_str()).collect();
        assert_eq!(path, ["Operations", "Work Orders"]);
        assert_eq!(paths.of(None), []);
        assert_eq!(paths.below("work orders"), [child.id]);
        assert_eq!(paths.below("operations").len(), 2);
        assert!(paths.below("secret").is_empty());
        assert_eq!(category_by_slug(&tree, "work orders").map(|n| n.id), Some(child.id));
    }
}
