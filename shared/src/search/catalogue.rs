//! What searches know of articles beside their texts, kept in memory: most of what is found was found before.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quick_cache::{Weighter, sync::Cache};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::{
    bm25,
    query_vector::QueryVector,
    store,
    vectors::{Similarities, Vectors},
};
use crate::db::TenantTx;

/// How many of three bytes are for vectors: an article of seven passages takes 5 kB with them, and 1 or 2 kB without.
const SHARE_OF_VECTORS: u64 = 2;
/// How many bytes an article takes in all, about.
const ARTICLE_BYTES: u64 = 5_000;
/// Of how many articles a search fetches vectors to remember them; of others that it has to compare, PostgreSQL does it. Fetching
/// takes longer than comparing, and is in vain where there are far more articles than can be remembered.
const FETCHED_AT_ONCE: usize = 40;
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
    /// Takes about so many MiB of memory.
    pub(super) fn new(megabytes: u32) -> Self {
        let bytes = 1024 * 1024 * u64::from(megabytes);
        let articles = usize::try_from(bytes / ARTICLE_BYTES).unwrap_or(usize::MAX);
        let for_vectors = bytes / 3 * SHARE_OF_VECTORS;
        let entries = Arc::new(Cache::with_weighter(articles, bytes - for_vectors, Bytes));
        let vectors = Arc::new(Cache::with_weighter(articles, for_vectors, Bytes));
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
        let mut known = Entries::default();
        let mut unknown = Vec::new();
        let elapsed = self.since.elapsed();
        for id in articles {
            match self.entries.get(&(id, version, span(id, elapsed))) {
                Some(entry) => drop(known.insert(id, entry)),
                None => unknown.push(id),
            }
        }
        if !unknown.is_empty() {
            for (id, entry) in store::entries(tx, &unknown).await? {
                let entry = Arc::new(entry);
                self.entries.insert((id, version, span(id, elapsed)), Arc::clone(&entry));
                known.insert(id, entry);
            }
        }
        Ok(known)
    }

    /// How near these articles are to a query, with one question to PostgreSQL at most; `version` is that of the tenant's index.
    pub(super) async fn similarities(
        &self,
        tx: &mut TenantTx,
        version: i64,
        query: &QueryVector,
        articles: impl IntoIterator<Item = Uuid>,
    ) -> Result<ByArticle<Similarities>, sqlx::Error> {
        let mut known = ByArticle::default();
        let mut unknown = Vec::new();
        for id in articles {
            match self.vectors.get(&(id, version)) {
                Some(vectors) => drop(known.insert(id, vectors.similarities(&query.vector))),
                None => unknown.push(id),
            }
        }
        if !unknown.is_empty() {
            let fetched = &unknown[..unknown.len().min(FETCHED_AT_ONCE)];
            let compared = store::compared(tx, query, &unknown, fetched).await?;
            known.extend(compared.similarities);
            for (id, vectors) in compared.vectors {
                known.insert(id, vectors.similarities(&query.vector));
                self.vectors.insert((id, version), Arc::new(vectors));
            }
        }
        Ok(known)
    }
}

/// The span of [`KEPT_FOR`] that an article is in, after so much time. They begin at another moment for each article, so that not
/// all are fetched anew at the same.
fn span(article: Uuid, elapsed: Duration) -> u64 {
    let begun = article.as_u64_pair().1 % KEPT_FOR.as_secs();
    (elapsed.as_secs() + begun) / KEPT_FOR.as_secs()
}
