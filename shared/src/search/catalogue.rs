//! What searches know of articles beside their texts, kept in memory: most of what is found was found before.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quick_cache::{Weighter, sync::Cache};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::{bm25, store, vectors::Vectors};
use crate::db::TenantTx;

/// Most memory that is taken beside vectors, in bytes; a thousand articles take one or two million.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// Most memory that vectors take, in bytes; a thousand articles of seven passages take five million.
const KEPT_VECTOR_BYTES: u64 = 128 * 1024 * 1024;
/// About how many articles these are.
const KEPT_ARTICLES: usize = 40_000;
/// What an article takes beside its words, in bytes, about.
const ENTRY_BYTES: usize = 400;
/// How old views and votes may be that decide between articles that fit alike.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// Remembers what articles are. Whether the caller may see one is asked anew in each search, and not here. A search looks up
/// hundreds, hence another cache than elsewhere: moka's bookkeeping for each took twice the time.
#[derive(Clone)]
pub(super) struct Catalogue {
    entries: Arc<Cache<Key, Arc<Entry>, Bytes>>,
    vectors: Arc<Cache<VectorsKey, Arc<Vectors>, Bytes>>,
    since: Instant,
}

/// An article, the version of its tenant's index, which every change that matters raises, and in which span of [`KEPT_FOR`].
type Key = (Uuid, i64, u64);
/// An article and the version of its tenant's index, which says which model serves.
type VectorsKey = (Uuid, i64);

/// Articles by their ids, which nobody outside chooses: a quick hash will do.
pub(super) type ByArticle<T> = FxHashMap<Uuid, T>;
/// What is known of articles.
pub(super) type Entries = ByArticle<Arc<Entry>>;

/// What is known of an article.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) facts: Facts,
    /// `None`: it is not indexed.
    pub(super) words: Option<Words>,
}

/// What an article is, beside its text.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) category_id: Option<Uuid>,
    /// Slugs.
    pub(super) tags: Vec<String>,
    pub(super) difficulty: String,
    pub(super) locale: String,
    pub(super) translation_group: Uuid,
    pub(super) view_count: i64,
    /// Lower bound of the share of helpful votes, 0 to 1.
    pub(super) helpfulness: f64,
    /// Days since its text was changed or reviewed.
    pub(super) age_days: f64,
}

/// Which words an article has.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) language: String,
    /// As [`bm25::Document`] reads them.
    pub(super) terms: Vec<u8>,
    pub(super) title_length: i32,
    pub(super) body_length: i32,
}

impl Words {
    pub(super) fn document(&self) -> bm25::Document<'_> {
        bm25::Document { terms: &self.terms, title_length: self.title_length, body_length: self.body_length }
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Entry>> for Bytes {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        let terms = entry.words.as_ref().map_or(0, |words| words.terms.len());
        u64::try_from(ENTRY_BYTES + terms).unwrap_or(u64::MAX)
    }
}

impl Weighter<VectorsKey, Arc<Vectors>> for Bytes {
    fn weight(&self, _: &VectorsKey, vectors: &Arc<Vectors>) -> u64 {
        vectors.bytes()
    }
}

impl Catalogue {
    pub(super) fn new() -> Self {
        let entries = Arc::new(Cache::with_weighter(KEPT_ARTICLES, KEPT_BYTES, Bytes));
        let vectors = Arc::new(Cache::with_weighter(KEPT_ARTICLES, KEPT_VECTOR_BYTES, Bytes));
        Self { entries, vectors, since: Instant::now() }
    }

    /// What is known of these articles, in one query at most; `version` is that of the tenant's index. Those that are gone are
    /// missing.
    pub(super) async fn entries(
        &self,
        tx: &mut TenantTx,
        version: i64,
        articles: impl IntoIterator<Item = Uuid>,
    ) -> Result<Entries, sqlx::Error> {
        let span = self.since.elapsed().as_secs() / KEPT_FOR.as_secs();
        let mut known = Entries::default();
        let mut unknown = Vec::new();
        for id in articles {
            match self.entries.get(&(id, version, span)) {
                Some(entry) => drop(known.insert(id, entry)),
                None => unknown.push(id),
            }
        }
        if !unknown.is_empty() {
            for (id, entry) in store::entries(tx, &unknown).await? {
                let entry = Arc::new(entry);
                self.entries.insert((id, version, span), Arc::clone(&entry));
                known.insert(id, entry);
            }
        }
        Ok(known)
    }

    /// The vectors of these articles by the model that serves, in one query at most; `version` is that of the tenant's index.
    pub(super) async fn vectors(
        &self,
        tx: &mut TenantTx,
        version: i64,
        model: &str,
        articles: impl IntoIterator<Item = Uuid>,
    ) -> Result<ByArticle<Arc<Vectors>>, sqlx::Error> {
        let mut known = ByArticle::default();
        let mut unknown = Vec::new();
        for id in articles {
            match self.vectors.get(&(id, version)) {
                Some(vectors) => drop(known.insert(id, vectors)),
                None => unknown.push(id),
            }
        }
        if !unknown.is_empty() {
            for (id, vectors) in store::vectors(tx, model, &unknown).await? {
                let vectors = Arc::new(vectors);
                self.vectors.insert((id, version), Arc::clone(&vectors));
                known.insert(id, vectors);
            }
        }
        Ok(known)
    }
}
