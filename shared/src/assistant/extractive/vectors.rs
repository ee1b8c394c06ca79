//! How near sentences are to a question. Their vectors are remembered: other questions find the same sentences.

use std::{collections::HashMap, time::Duration};

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::embedding::{Embedder, Embedding};

/// How long a model may take for the sentences of an answer.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// What a vector takes, in bytes, about.
const VECTOR_BYTES: usize = 1_700;

/// Vectors of sentences by model and text. Share one among all answers of a process.
#[derive(Debug)]
pub(in crate::assistant) struct SentenceVectors {
    vectors: Cache<Key, Embedding>,
}

/// Half of the SHA-256 of model and text: texts themselves are not kept.
type Key = [u8; 16];

impl SentenceVectors {
    /// Takes about so many MiB of memory when it is full, some 600 sentences each.
    #[must_use]
    pub(in crate::assistant) fn new(megabytes: u32) -> Self {
        let bytes = usize::try_from(megabytes).unwrap_or(usize::MAX).saturating_mul(1024 * 1024);
        Self { vectors: Cache::new(bytes / VECTOR_BYTES) }
    }

    /// The cosine similarities of texts with a question, in the order of the texts. `None`: the model is not available.
    pub(super) async fn similarities(
        &self,
        embedder: &dyn Embedder,
        question: &str,
        texts: Vec<String>,
    ) -> Option<Vec<f64>> {
        if texts.is_empty() {
            return Some(Vec::new());
        }
        let model = embedder.model().as_ref();
        let keys: Vec<Key> =
            [question].into_iter().chain(texts.iter().map(String::as_str)).map(|t| key(model, t)).collect();
        let mut known: HashMap<Key, Embedding> = HashMap::new();
        let mut unknown: Vec<(Key, String)> = Vec::new();
        for (key, text) in keys.iter().zip([question.to_owned()].into_iter().chain(texts)) {
            if known.contains_key(key) || unknown.iter().any(|(other, _)| other == key) {
                continue;
            }
            match self.vectors.get(key) {
                Some(vector) => drop(known.insert(*key, vector)),
                None => unknown.push((*key, text)),
            }
        }
        let (new, texts): (Vec<Key>, Vec<String>) = unknown.into_iter().unzip();
        for (key, vector) in new.into_iter().zip(embed(embedder, texts).await?) {
            self.vectors.insert(key, vector.clone());
            known.insert(key, vector);
        }
        let asked = known.get(keys.first()?)?;
        keys[1..].iter().map(|key| Some(f64::from(asked.cosine(known.get(key)?)))).collect()
    }
}

async fn embed(embedder: &dyn Embedder, texts: Vec<String>) -> Option<Vec<Embedding>> {
    if texts.is_empty() {
        return Some(Vec::new());
    }
    match tokio::time::timeout(TIMEOUT, embedder.embed_awaited(texts)).await {
        Ok(Ok(vectors)) => Some(vectors),
        Ok(Err(error)) => {
            tracing::warn!(%error, "assistant.sentences_by_words: the embedding model is not available");
            None
        }
        Err(_) => {
            let timeout_ms = TIMEOUT.as_millis();
            tracing::warn!(timeout_ms, "assistant.sentences_by_words: the embedding model took too long");
            None
        }
    }
}

fn key(model: &str, text: &str) -> Key {
    let mut hash = Sha256::new();
    hash.update(model);
    hash.update([0]);
    hash.update(text);
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = Key::default();
    key.copy_from_slice(&digest[..16]);
    key
}
