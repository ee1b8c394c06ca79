//! all-MiniLM-L6-v2 in this process, on the `rten` engine.
//!
//! Three parts make the model: `minilm.onnx` (the computation, 35 KB, compiled
//! in; written by `minilm_graph.py`), and from the model's folder
//! `model.safetensors` (the weights, 91 MB) and `tokenizer.json`.

use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use futures::future::BoxFuture;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;
use tokenizers::{Tokenizer, TruncationParams};
use tokio::sync::Semaphore;
use tokio::task;

use super::files::{self, MODEL_NAME, TOKENIZER, WEIGHTS};
use super::{DIMENSIONS, EmbedError, Embedder, Embedding, ModelId};

const GRAPH: &[u8] = include_bytes!("minilm.onnx");

/// Tokens of a text that the model reads, its two markers included. This is the
/// window the model was published with; tokenizer.json says 128.
const WINDOW_TOKENS: usize = 256;

/// Bytes of a text that are tokenised. Ordinary text fills the window within
/// 2,000 bytes, so this changes no vector; it bounds the work on, say, a
/// megabyte of blanks.
const WINDOW_BYTES: usize = 16 * 1024;

/// Texts per run: more give no higher rate and cost memory (at full windows, 16
/// texts take about 120 MB while they run).
const BATCH: usize = 16;

/// The same for texts that are awaited: sentences, whose lengths differ so much that a batch is mostly padding when it is large.
const AWAITED_BATCH: usize = 4;

/// The loaded model, and who may use the processor for it.
///
/// A call of one text, or of some that are awaited, is somebody waiting for an answer; a call of many is work in the
/// background. Each kind has its own lane, so that neither waits
/// for the other; where both run, the operating system shares the cores.
pub(super) struct LocalEmbedder {
    id: ModelId,
    engine: Arc<Engine>,
    single: Lane,
    bulk: Lane,
}

impl LocalEmbedder {
    /// Loads and checks the model in `dir`. Blocks for 0.2 to 0.5 s.
    pub(super) fn load(dir: &Path, threads: Option<NonZeroUsize>) -> Result<Self, EmbedError> {
        let threads = threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        Ok(Self {
            id: ModelId::new(MODEL_NAME, &WEIGHTS.sha256[..8]),
            engine: Arc::new(Engine::load(dir)?),
            // One text occupies more than one core only at times.
            single: Lane::new(threads, threads),
            // One batch keeps all threads busy, and a second one would only
            // take memory.
            bulk: Lane::new(1, threads),
        })
    }
}

impl Embedder for LocalEmbedder {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        Box::pin(async move {
            match texts.len() {
                0 => Ok(vec![]),
                1 => self.embed_batch(&self.single, texts).await,
                2..=BATCH => self.embed_batch(&self.bulk, texts).await,
                _ => self.embed_batches(&self.bulk, texts, BATCH).await,
            }
        })
    }

    fn embed_awaited(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        Box::pin(async move {
            match texts.len() {
                0 => Ok(vec![]),
                1 => self.embed_batch(&self.single, texts).await,
                _ => self.embed_batches(&self.single, texts, AWAITED_BATCH).await,
            }
        })
    }
}

impl LocalEmbedder {
    /// At most [`BATCH`] texts, in one turn.
    async fn embed_batch(&self, lane: &Lane, texts: Vec<String>) -> Result<Vec<Embedding>, EmbedError> {
        let engine = Arc::clone(&self.engine);
        lane.turn(move |threads| engine.compute(&engine.tokenize(&texts)?, threads)).await
    }

    /// Any number of texts, in batches of like length, one turn each.
    async fn embed_batches(&self, lane: &Lane, texts: Vec<String>, size: usize) -> Result<Vec<Embedding>, EmbedError> {
        let mut tokenized = Vec::with_capacity(texts.len());
        for texts in batches(texts, BATCH) {
            let engine = Arc::clone(&self.engine);
            tokenized.extend(lane.turn(move |_| engine.tokenize(&texts)).await?);
        }
        let mut vectors = Vec::with_capacity(tokenized.len());
        for batch in batches_by_length(tokenized, size) {
            let engine = Arc::clone(&self.engine);
            let (places, tokens): (Vec<usize>, Vec<Tokens>) = batch.into_iter().unzip();
            let computed = lane.turn(move |threads| engine.compute(&tokens, threads)).await?;
            vectors.extend(places.into_iter().zip(computed));
        }
        vectors.sort_unstable_by_key(|(place, _)| *place);
        Ok(vectors.into_iter().map(|(_, vector)| vector).collect())
    }
}

/// A text as the model reads it: 2 to [`WINDOW_TOKENS`] token ids.
type Tokens = Vec<u32>;

/// Batches of texts of like length, with the place each has in `tokenized`.
///
/// A batch is computed at the length of its longest text. On mixed passages this
/// computes a third of the tokens that batches in order would.
fn batches_by_length(tokenized: Vec<Tokens>, size: usize) -> Vec<Vec<(usize, Tokens)>> {
    let mut placed: Vec<_> = tokenized.into_iter().enumerate().collect();
    placed.sort_by_key(|(_, tokens)| tokens.len());
    batches(placed, size)
}

fn batches<T>(items: Vec<T>, size: usize) -> Vec<Vec<T>> {
    let mut batches = Vec::with_capacity(items.len().div_ceil(size));
    let mut items = items.into_iter();
    while items.len() > 0 {
        batches.push(items.by_ref().take(size).collect());
    }
    batches
}

/// A bound on batches that run at once, and the threads they share.
///
/// Turns are taken per batch and in order of asking, so a call waits at most
/// for one batch of each call before it.
struct Lane {
    turns: Arc<Semaphore>,
    threads: Arc<ThreadPool>,
}

impl Lane {
    fn new(turns: usize, threads: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), threads: Arc::new(ThreadPool::with_num_threads(threads)) }
    }

    /// Waits for a turn and does `work` on a thread that may block.
    async fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<ThreadPool>) -> Result<T, EmbedError> + Send + 'static,
    ) -> Result<T, EmbedError> {
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .map_err(|error| EmbedError::Unavailable(error.to_string()))?;
        let threads = Arc::clone(&self.threads);
        task::spawn_blocking(move || {
            // Held by the work, not by the caller: a caller who gives up does not free the turn before the work is done.
            let _turn = turn;
            work(threads)
        })
        .await
        .map_err(|error| {
            if error.is_panic() {
                EmbedError::Rejected("the engine panicked".into())
            } else {
                EmbedError::Unavailable("the process is shutting down".into())
            }
        })?
    }
}

/// Tokenizer and network, without any notion of who uses them.
struct Engine {
    tokenizer: Tokenizer,
    network: Model,
    input_ids: NodeId,
    attention_mask: NodeId,
    hidden_states: NodeId,
}

impl Engine {
    fn load(dir: &Path) -> Result<Self, EmbedError> {
        let tokenizer = load_tokenizer(dir)?;
        let mut options = ModelOptions::with_all_ops();
        // Costs 42 MB, saves a third of a short question's time.
        options.prepack_weights(true);
        let tensors = files::read_tensors(WEIGHTS.open(dir)?).map_err(|error| WEIGHTS.misconfigured(dir, &error))?;
        for (name, tensor) in tensors {
            options.external_data(&name, tensor);
        }
        let network = options.load_static_slice(GRAPH).map_err(|error| WEIGHTS.misconfigured(dir, &error))?;
        let node = |name| network.node_id(name).map_err(|error| WEIGHTS.misconfigured(dir, &error));
        Ok(Self {
            input_ids: node("input_ids")?,
            attention_mask: node("attention_mask")?,
            hidden_states: node("hidden_states")?,
            tokenizer,
            network,
        })
    }

    /// The first [`WINDOW_TOKENS`] tokens of each text, in order.
    fn tokenize(&self, texts: &[String]) -> Result<Vec<Tokens>, EmbedError> {
        texts
            .iter()
            .map(|text| {
                let text = &text[..text.floor_char_boundary(WINDOW_BYTES)];
                self.tokenizer
                    .encode_fast(text, true)
                    .map(|encoding| encoding.get_ids().to_vec())
                    .map_err(|error| EmbedError::Rejected(format!("the tokenizer failed: {error}")))
            })
            .collect()
    }

    /// One vector per text, in order; at least one text.
    fn compute(&self, tokens: &[Tokens], threads: Arc<ThreadPool>) -> Result<Vec<Embedding>, EmbedError> {
        let longest = tokens.iter().map(Vec::len).max().unwrap_or(0);
        let shape = [tokens.len(), longest];
        let token_at = |[text, place]: [usize; 2]| tokens[text].get(place).copied();
        // Padding is token 0, which the mask hides.
        let input_ids = NdTensor::from_fn(shape, |at| token_at(at).unwrap_or_default().cast_signed());
        let mask = NdTensor::from_fn(shape, |at| i32::from(token_at(at).is_some()));

        let [hidden_states] = self
            .network
            .run_n(
                vec![(self.input_ids, input_ids.view().into()), (self.attention_mask, mask.view().into())],
                [self.hidden_states],
                Some(RunOptions::default().with_thread_pool(Some(threads))),
            )
            .map_err(|error| EmbedError::Rejected(format!("the engine failed: {error}")))?;
        let (shape, hidden_states) = hidden_states
            .into_shape_vec::<f32, 3>()
            .map_err(|error| EmbedError::Rejected(format!("the engine's output: {error}")))?;
        if shape != [tokens.len(), longest, DIMENSIONS] {
            return Err(EmbedError::Rejected(format!("the engine's output has the shape {shape:?}")));
        }
        hidden_states
            .chunks_exact(longest * DIMENSIONS)
            .zip(tokens)
            .map(|(states, tokens)| mean_direction(states, tokens.len()))
            .collect()
    }
}

/// Mean of the first `count` token vectors, scaled to length 1.
///
/// This is how sentence-transformers pools this model. Scaling undoes the mean's
/// division, so the sum will do.
fn mean_direction(states: &[f32], count: usize) -> Result<Embedding, EmbedError> {
    let mut sum = vec![0.0; DIMENSIONS];
    for state in states.chunks_exact(DIMENSIONS).take(count) {
        for (total, value) in sum.iter_mut().zip(state) {
            *total += value;
        }
    }
    Embedding::new(sum)
}

fn load_tokenizer(dir: &Path) -> Result<Tokenizer, EmbedError> {
    let mut content = Vec::new();
    TOKENIZER.open(dir)?.read_to_end(&mut content).map_err(|error| TOKENIZER.misconfigured(dir, &error))?;
    let mut tokenizer = Tokenizer::from_bytes(content).map_err(|error| TOKENIZER.misconfigured(dir, &error))?;
    // The file pads and cuts every text to 128 tokens.
    tokenizer.with_padding(None);
    tokenizer
        .with_truncation(Some(TruncationParams { max_length: WINDOW_TOKENS, ..TruncationParams::default() }))
        .map_err(|error| TOKENIZER.misconfigured(dir, &error))?;
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::{env, fs, process};

    use super::super::files::MODEL_DIR_VARIABLE;
    use super::*;

    #[derive(serde::Deserialize)]
    struct Reference {
        text: String,
        vector_millionths: Vec<f32>,
    }

    impl Reference {
        fn all() -> Vec<Self> {
            serde_json::from_str(include_str!("reference_vectors.json")).unwrap()
        }

        fn embedding(&self) -> Embedding {
            Embedding::new(self.vector_millionths.clone()).unwrap()
        }
    }

    fn model_dir() -> PathBuf {
        env::var_os(MODEL_DIR_VARIABLE)
            .unwrap_or_else(|| {
                panic!(
                    "{MODEL_DIR_VARIABLE} is not set: these tests need the folder of {MODEL_NAME}; \
                     `make test` sets it, `make up` fetches the files"
                )
            })
            .into()
    }

    fn embedder() -> &'static LocalEmbedder {
        static EMBEDDER: LazyLock<LocalEmbedder> = LazyLock::new(|| LocalEmbedder::load(&model_dir(), None).unwrap());
        &EMBEDDER
    }

    async fn embed_one(text: &str) -> Embedding {
        let mut vectors = embedder().embed(vec![text.into()]).await.unwrap();
        assert_eq!(vectors.len(), 1);
        vectors.remove(0)
    }

    #[tokio::test]
    async fn vectors_equal_those_of_an_independent_implementation() {
        for reference in Reference::all() {
            let vector = embed_one(&reference.text).await;
            let cosine = vector.cosine(&reference.embedding());
            assert!(cosine > 0.999_99, "{cosine}: {:?}", reference.text);
            let length: f64 = vector.as_slice().iter().map(|v| f64::from(*v).powi(2)).sum();
            assert!((length.sqrt() - 1.0).abs() < 1e-5, "{length}");
        }
    }

    #[tokio::test]
    async fn a_batch_gives_each_text_the_vector_it_has_alone_in_order() {
        let references = Reference::all();
        assert!(references.len() > BATCH);
        // Longest first, which is not the order they are computed in.
        let mut references: Vec<_> = references.iter().collect();
        references.sort_by_key(|reference| std::cmp::Reverse(reference.text.len()));
        let texts: Vec<_> = references.iter().map(|r| r.text.clone()).collect();
        let vectors = embedder().embed(texts.clone()).await.unwrap();
        assert_eq!(vectors.len(), texts.len());
        for (text, vector) in texts.iter().zip(&vectors) {
            let cosine = vector.cosine(&embed_one(text).await);
            assert!(cosine > 0.999_99, "{cosine}: {text:?}");
        }
    }

    #[tokio::test]
    async fn no_texts_give_no_vectors() {
        assert_eq!(embedder().embed(vec![]).await, Ok(vec![]));
    }

    #[tokio::test]
    async fn likeness_of_meaning_is_likeness_of_vectors() {
        let forgot = embed_one("I forgot my password").await;
        let reset = embed_one("How do I reset my login credentials?").await;
        let unlike = embed_one("The invoice shows the wrong currency").await;
        assert!(forgot.cosine(&reset) > forgot.cosine(&unlike) + 0.3);
    }

    #[tokio::test]
    async fn text_beyond_the_window_does_not_matter() {
        let text = "word ".repeat(WINDOW_TOKENS);
        let longer = format!("{text} and something else entirely");
        let (text, longer) = (embed_one(&text).await, embed_one(&longer).await);
        assert_eq!(text, longer);
    }

    #[tokio::test]
    async fn any_text_of_any_length_has_a_vector() {
        let mut texts = vec![
            String::new(),
            "\0".into(),
            "\u{301}\u{301}\u{200d}\u{fe0f}".into(),
            "\u{fffd}\u{ffff}\u{10ffff}\u{e000}".into(),
            "\u{202e}right to left\u{202c}".into(),
            "\u{fb00} \u{130} \u{1e9e} \u{1c5} \u{3d4}".into(),
            "[CLS][SEP][PAD][UNK][MASK]".into(),
            " ".repeat(1 << 20),
            "x".repeat(1 << 20),
            "漢".repeat(1 << 18),
            "👩‍👩‍👧‍👦".repeat(1 << 14),
            "a\u{301}\u{302}\u{303}".repeat(1 << 16),
        ];
        // Every 16th character there is, in strings of mixed scripts.
        let characters: Vec<char> = ('\0'..=char::MAX).step_by(16).collect();
        let strings = characters.len() / 300;
        texts.extend((0..strings).map(|n| characters.iter().skip(n).step_by(strings).collect()));
        let count = texts.len();
        let vectors = embedder().embed(texts).await.unwrap();
        assert_eq!(vectors.len(), count);
    }

    #[tokio::test]
    async fn a_question_does_not_wait_for_work_in_the_background() {
        let _busy = embedder().bulk.turns.acquire().await.unwrap();
        embed_one("How do I reset my password?").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_call_gives_way_between_its_batches() {
        let passages = vec!["a passage of some twenty words ".repeat(8); 16 * BATCH];
        let long = tokio::spawn(embedder().embed(passages));
        while embedder().bulk.turns.available_permits() > 0 {
            task::yield_now().await;
        }
        embedder().embed(vec!["one".into(), "two".into()]).await.unwrap();
        assert!(!long.is_finished());
        long.abort();
    }

    #[test]
    fn batches_hold_texts_of_like_length_and_know_their_places() {
        let tokenized: Vec<Tokens> = (0..40).map(|n| vec![0; n * 7 % 40]).collect();
        let batches = batches_by_length(tokenized.clone(), BATCH);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8]);
        let sorted: Vec<_> = batches.into_iter().flatten().collect();
        assert!(sorted.is_sorted_by_key(|(_, tokens)| tokens.len()));
        for (place, tokens) in &sorted {
            assert_eq!(*tokens, tokenized[*place]);
        }
    }

    #[test]
    fn the_model_has_a_name_and_a_version() {
        assert_eq!(embedder().model().as_ref(), "all-MiniLM-L6-v2@53aa5117");
        assert_eq!(embedder().model().to_string(), "all-MiniLM-L6-v2@53aa5117");
    }

    #[test]
    fn a_missing_or_wrong_file_is_named_with_the_variable_and_the_cure() {
        let dir = env::temp_dir().join(format!("embedding-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        let told = |dir: &Path, expected: &[&str]| {
            let error = LocalEmbedder::load(dir, None).err().unwrap();
            assert!(!error.is_retryable());
            let error = error.to_string();
            for part in expected.iter().chain(&[MODEL_DIR_VARIABLE, "make up"]) {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        };
        told(&dir, &["tokenizer.json", "No such file"]);
        fs::write(dir.join("tokenizer.json"), "{}").unwrap();
        told(&dir, &["tokenizer.json", "not the published file"]);
        fs::copy(model_dir().join("tokenizer.json"), dir.join("tokenizer.json")).unwrap();
        told(&dir, &["model.safetensors", "No such file"]);
        fs::write(dir.join("model.safetensors"), "short").unwrap();
        told(&dir, &["model.safetensors", "not the published file"]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
