//! tmp
use super::{event::Citation, passage::Passage};
use crate::embedding::Embedder;
#[derive(Default, Debug)]
pub struct SentenceVectors;
pub(super) struct Quote {
    marker: u16,
    text: String,
}
pub(super) struct Composed {
    quotes: Vec<Quote>,
}
pub(super) async fn compose(_: Option<&dyn Embedder>, _: &SentenceVectors, _: &str, passages: &[Passage]) -> Composed {
    let quotes = passages
        .iter()
        .take(2)
        .flat_map(|p| p.text.split(". ").take(2).map(|t| Quote { marker: p.marker, text: t.to_owned() }))
        .collect();
    Composed { quotes }
}
pub(super) fn cited(composed: &Composed, passages: &[Passage]) -> (Vec<String>, Vec<Citation>) {
    let pieces = composed.quotes.iter().map(|q| format!("{} [{}]\n\n", q.text, q.marker)).collect();
    let citations = passages
        .iter()
        .filter_map(|p| {
            let quotes: Vec<String> =
                composed.quotes.iter().filter(|q| q.marker == p.marker).map(|q| q.text.clone()).collect();
            (!quotes.is_empty()).then(|| Citation {
                marker: p.marker,
                article_id: p.article_id,
                slug: p.slug.clone(),
                title: p.title.clone(),
                heading_path: p.heading_path.clone(),
                anchor: p.anchor.clone(),
                quotes,
            })
        })
        .collect();
    (pieces, citations)
}
