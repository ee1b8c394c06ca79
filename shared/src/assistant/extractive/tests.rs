use futures::{FutureExt as _, future::BoxFuture};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    embedding::{DIMENSIONS, EmbedError, Embedding, ModelId},
    markdown::{self, LinkTarget},
};

/// Texts are alike when they share letters; a model that can be away.
struct Letters {
    id: ModelId,
    is_away: bool,
    calls: std::sync::Mutex<Vec<usize>>,
}

impl Letters {
    fn new(is_away: bool) -> Self {
        Self { id: ModelId::new("letters", "1"), is_away, calls: std::sync::Mutex::default() }
    }
}

impl Embedder for Letters {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        self.calls.lock().unwrap().push(texts.len());
        let vector = |text: String| {
            let mut numbers = vec![0.01; DIMENSIONS];
            for character in text.to_lowercase().chars() {
                numbers[character as usize % DIMENSIONS] += 1.0;
            }
            Embedding::new(numbers).unwrap()
        };
        let away = || Err(EmbedError::Unavailable("away".to_owned()));
        let vectors = if self.is_away { away() } else { Ok(texts.into_iter().map(vector).collect()) };
        std::future::ready(vectors).boxed()
    }
}

fn passage(marker: u16, article: u128, score: f64, text: &str) -> Passage {
    Passage {
        marker,
        article_id: Uuid::from_u128(article),
        revision_id: Uuid::from_u128(article),
        first_ordinal: i32::from(marker),
        last_ordinal: i32::from(marker),
        slug: "slug".to_owned(),
        title: "Title".to_owned(),
        heading_path: Vec::new(),
        anchor: None,
        locale: "en".to_owned(),
        text: text.to_owned(),
        similarity: Some(0.5),
        score,
    }
}

fn answered_by(embedder: Option<&dyn Embedder>, question: &str, passages: &[Passage]) -> Composed {
    let weights: HashMap<String, f64> = search::stems(question, "en").into_iter().map(|stem| (stem, 2.0)).collect();
    let question = Question { text: question, weights: &weights };
    in_runtime(compose(embedder, &SentenceVectors::new(1), &question, passages))
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

/// Markers and texts of an answer by words alone.
fn answer(question: &str, passages: &[Passage]) -> Vec<(u16, String)> {
    let composed = answered_by(None, question, passages);
    composed.quotes.into_iter().map(|quote| (quote.marker, quote.text)).collect()
}

const RESET: &str = "Accounts are personal. You reset your password in the settings. There is nothing else to do in them.\n\n\
    To reset a forgotten password:\n1. Open the sign-in page.\n2. Press Forgot password.\n3. Enter your address.\n\n\
    The weather is nice today.";

#[test]
fn the_sentences_that_have_the_words_are_quoted_in_their_order() {
    let text = "Cats sleep all day long. Invoices are sent each month. Dogs bark at night sometimes. Each month you can pay invoices.";
    let quoted = answer("when are invoices sent", &[passage(1, 1, 1.0, text)]);
    assert_eq!(quoted[0], (1, "Invoices are sent each month.".to_owned()));
    assert!(quoted.iter().all(|(_, text)| !text.contains("Dogs")), "{quoted:?}");
}

#[test]
fn a_step_brings_all_steps_and_what_introduces_them() {
    let quoted = answer("press forgot password", &[passage(1, 1, 1.0, RESET)]);
    let texts: Vec<&str> = quoted.iter().map(|(_, text)| text.as_str()).collect();
    let list =
        ["To reset a forgotten password:", "Open the sign-in page.", "Press Forgot password.", "Enter your address."];
    assert!(texts.windows(4).any(|window| window == list), "{texts:?}");
}

#[test]
fn a_list_that_goes_on_in_the_next_passage_is_whole_and_a_long_one_is_cut() {
    let steps = |from: usize, to: usize| {
        (from..=to).map(|n| format!("{n}. Do thing number{n} with care.")).collect::<Vec<_>>().join("\n")
    };
    let passages = [passage(1, 1, 1.0, &steps(1, 3)), passage(2, 1, 1.0, &steps(4, 5))];
    let markers: Vec<u16> = answer("do thing number4", &passages).into_iter().map(|(marker, _)| marker).collect();
    assert_eq!(markers, [1, 1, 1, 2, 2]);
    let long = answer("do thing number20", &[passage(1, 1, 1.0, &steps(1, 30))]);
    assert!(long.len() < 30 && long.iter().any(|(_, text)| text.contains("number20")), "{long:?}");
}

#[test]
fn a_line_that_ends_in_a_colon_brings_what_it_announces() {
    let text =
        "To restart the server, run this command:\n\n$ systemctl restart --now\n\nNothing else matters to anybody.";
    let composed = answered_by(None, "restart the server command", &[passage(1, 1, 1.0, text)]);
    assert_eq!(composed.quotes[1].block, Block::Code);
    assert!(
        composed.pieces().concat().contains("[1]\n\n```\n$ systemctl restart --now\n```\n\n[1]"),
        "{}",
        composed.pieces().concat()
    );
}

#[test]
fn the_runner_up_is_quoted_only_when_it_is_close_and_says_something_else() {
    let text = "Invoices are sent to all owners each month.";
    let other = "Owners find old invoices in the billing settings.";
    let markers = |score: f64, text2: &str| -> Vec<u16> {
        let passages = [passage(1, 1, 0.9, text), passage(2, 2, score, text2)];
        answer("invoices of owners", &passages).into_iter().map(|(marker, _)| marker).collect()
    };
    assert_eq!(markers(0.8, other), [1, 2]);
    assert_eq!(markers(0.3, other), [1]);
    assert_eq!(markers(0.8, text), [1]);
}

#[test]
fn sentences_are_embedded_once_and_words_decide_when_the_model_is_away() {
    let (model, away) = (Letters::new(false), Letters::new(true));
    let weights = HashMap::new();
    let question = Question { text: "abc", weights: &weights };
    let passages = [passage(1, 1, 1.0, "The cab is back. Zoos zoom.")];
    let cache = SentenceVectors::new(1);
    let ask = |model: &Letters| in_runtime(compose(Some(model), &cache, &question, &passages));
    assert_eq!(ask(&model), ask(&model));
    assert_eq!(*model.calls.lock().unwrap(), [3]);
    let away = in_runtime(compose(Some(&away), &SentenceVectors::new(1), &question, &passages));
    assert!(!away.quotes.is_empty());
}

#[test]
fn quotes_are_shown_as_what_they_are() {
    let quote = |block, text: &str| Quote { marker: 1, text: text.to_owned(), block };
    let composed = Composed {
        quotes: vec![
            quote(Block::Sentence, "# See [here](javascript:alert) & <b>*now*</b>."),
            quote(Block::Sentence, "1. Not a list of MAX_SIZE or _this_."),
            quote(Block::Step(2), "Press it."),
            quote(Block::Step(3), "Done."),
            quote(Block::Code, "a ``` b"),
        ],
    };
    assert_eq!(
        composed.pieces().concat(),
        "\\# See \\[here\\](javascript:alert) & \\<b>\\*now\\*\\</b>. [1] 1\\. Not a list of MAX_SIZE or \\_this\\_. [1]\n\n2. Press it. [1]\n3. Done. [1]\n\n\
         ````\na ``` b\n````\n\n[1]"
    );
    let html = markdown::render(&composed.pieces().concat(), &|_| LinkTarget::Keep).html;
    assert!(!html.contains("<b>") && !html.contains("href") && !html.contains("<h1"), "{html}");
}

#[test]
fn a_row_is_quoted_with_the_names_of_its_columns() {
    let text =
        "What plans cost:\n\nPlan | Seats | Price\nFree | three seats | no dollars\nTeam | any number | nine dollars";
    let composed = answered_by(None, "price of the free plan with three seats", &[passage(1, 1, 1.0, text)]);
    let markdown = composed.pieces().concat();
    let table = "| Plan | Seats | Price |\n| --- | --- | --- |\n| Free | three seats | no dollars [1] |";
    assert!(markdown.contains(table), "{markdown}");
    let html = crate::markdown::render(&markdown, &|_| LinkTarget::Keep).html;
    assert!(html.contains("<th>Price</th>") && html.contains("<td>no dollars [1]</td>"), "{html}");
}

#[test]
fn scraps_of_other_articles_are_not_quoted() {
    let text = "Invoices are sent to all owners each month.";
    let quoted =
        |other: &str| answer("invoices of owners", &[passage(1, 1, 0.9, text), passage(2, 2, 0.9, other)]).len();
    assert_eq!(quoted("Owners have invoices."), 1);
    assert_eq!(quoted("Owners find old invoices in the billing settings."), 2);
}

#[test]
fn what_only_asks_the_same_answers_nothing() {
    let text = "How do I reset the lamp? explains it.\n\nPress the lamp twice to reset it.";
    assert_eq!(
        answer("How do I reset the lamp?", &[passage(1, 1, 1.0, text)]),
        [(1, "Press the lamp twice to reset it.".to_owned())]
    );
}

#[test]
fn nothing_found_is_nothing_said() {
    assert_eq!(answer("anything", &[]), []);
    assert_eq!(answer("anything", &[passage(1, 1, 1.0, "")]), []);
}

proptest! {
    #[test]
    fn every_quote_stands_in_its_passage_and_they_keep_their_order(
        texts in prop::collection::vec("(\\PC|[a-e .:\n1-]){0,120}", 1..6),
        question in "\\PC{1,30}",
        by_meaning in any::<bool>(),
    ) {
        let passages: Vec<Passage> =
            (1..).zip(&texts).map(|(n, text)| passage(n, u128::from(n % 3), 1.0 - f64::from(n % 3) / 10.0, text)).collect();
        let model = Letters::new(false);
        let embedder: Option<&dyn Embedder> = if by_meaning { Some(&model) } else { None };
        let composed = answered_by(embedder, &question, &passages);
        let mut last = HashMap::new();
        for quote in &composed.quotes {
            let cited = &passages[usize::from(quote.marker) - 1];
            prop_assert!(cited.text.contains(&quote.text));
            let before = last.insert(cited.article_id, quote.marker);
            prop_assert!(before.is_none_or(|before| before <= quote.marker));
        }
        let picked = composed.quotes.iter().filter(|quote| quote.block == Block::Sentence).count();
        prop_assert!(picked <= 10, "{picked}");
        let _ = composed.pieces().concat();
    }
}
