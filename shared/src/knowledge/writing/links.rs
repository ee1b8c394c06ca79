//! Links between articles and images that are written as addresses, so that they go on leading to the article when its
//! address changes, are known to be broken when there is none, and tell who may see an image.

use uuid::Uuid;

use super::store;
use crate::{
    db::TenantTx,
    knowledge::{
        assets,
        store::{Link, links as known_links, set_links},
    },
    markdown,
};

/// Finds out where the links of an article lead, those of its latest text and of the one that readers see. What an import
/// knows of the links in its files is kept.
pub(super) async fn update(tx: &mut TenantTx, article: Uuid) -> Result<(), sqlx::Error> {
    let known = known_links(tx, article).await?;
    let mut links: Vec<Link> = Vec::new();
    for (text, is_shown) in store::texts(tx, article).await? {
        let found = markdown::destinations(&text);
        for destination in found.links.into_iter().chain(found.images) {
            if let Some(link) = links.iter_mut().find(|link| link.destination == destination) {
                link.is_shown |= is_shown;
                continue;
            }
            let is_address = article_address(&destination).is_some() || assets::hash_in_address(&destination).is_some();
            if let Some(link) = known.iter().find(|known| known.destination == destination)
                && (link.target.is_some() || link.asset.is_some() || !is_address)
            {
                links.push(Link { is_shown, ..link.clone() });
            } else if let Some((slug, fragment)) = article_address(&destination) {
                let target = store::article_at(tx, &slug).await?;
                links.push(Link { fragment: fragment.to_owned(), target, asset: None, is_shown, destination });
            } else if let Some(hash) = assets::hash_in_address(&destination) {
                let asset = assets::id_of(tx, hash).await?;
                links.push(Link { fragment: String::new(), target: None, asset, is_shown, destination });
            }
        }
    }
    set_links(tx, article, &links).await
}

/// The slug and fragment in the address of an article's page: `/articles/SLUG/#FRAGMENT`, with or without the last slash.
fn article_address(destination: &str) -> Option<(String, &str)> {
    let (path, fragment) = destination.split_once('#').unwrap_or((destination, ""));
    let slug = path.strip_prefix("/articles/")?;
    let slug = slug.strip_suffix('/').unwrap_or(slug);
    let slug = percent_encoding::percent_decode_str(slug).decode_utf8().ok()?;
    (!slug.is_empty() && !slug.contains('/')).then(|| (slug.into_owned(), fragment))
}

#[cfg(test)]
mod tests {
    use super::article_address;

    #[test]
    fn addresses_of_articles_are_told_from_others() {
        let found = |destination| article_address(destination).map(|(slug, fragment)| (slug, fragment.to_owned()));
        let expected = |slug: &str, fragment: &str| Some((slug.to_owned(), fragment.to_owned()));
        assert_eq!(found("/articles/reset/"), expected("reset", ""));
        assert_eq!(found("/articles/reset#steps"), expected("reset", "steps"));
        assert_eq!(found("/articles/%E6%97%A5/"), expected("日", ""));
        for other in ["/articles/", "/articles/a/b/", "articles/a/", "https://example.com/articles/a/", "../a.md"] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
