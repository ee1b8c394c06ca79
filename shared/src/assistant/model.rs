//! Answers by a language model: each sentence is checked against the passages before anybody hears it.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use uuid::Uuid;

use super::{
    Assistant,
    claims::{Checker, Claim, Sentences},
    event::{Citation, Event, Usage},
    passage::Passage,
    prompt::{self, Context, NO_ANSWER},
    store::Turn,
    voice::{Superseded, Voice},
};
use crate::llm::{self, Delta, LlmError, Model, Purpose};

/// How long a follow-up may take to be rewritten before the rules do it.
const REWRITE_WITHIN: Duration = Duration::from_secs(4);
/// Most characters of a rewritten question.
const MAX_REWRITTEN_CHARS: usize = 500;

/// What a model made of a question.
#[derive(Debug)]
pub(super) struct Generated {
    /// What was said; empty: it found no answer, or none that the passages support.
    pub(super) text: String,
    pub(super) citations: Vec<Citation>,
    /// How many sentences were said.
    pub(super) shown: u32,
    /// How many no passage supports.
    pub(super) withheld: u32,
    pub(super) usage: Option<Usage>,
    /// What it was sent.
    pub(super) prompt: serde_json::Value,
    /// When the first of it was said.
    pub(super) first_chunk_at: Option<Instant>,
    /// Why it ended early, if it did: then what was said is void.
    pub(super) failed: Option<LlmError>,
}

impl Assistant {
    /// Asks a model, and says what it says and the passages say too.
    pub(super) async fn generate(
        &self,
        model: &Model,
        answer: Uuid,
        context: &Context<'_>,
        voice: &mut Voice,
    ) -> Result<Generated, Superseded> {
        let mark = format!("=={}==", Uuid::new_v4().simple());
        let prompt = prompt::for_answer(context, &mark, model.max_output_tokens());
        let mut generated = Generated {
            text: String::new(),
            citations: Vec::new(),
            shown: 0,
            withheld: 0,
            usage: None,
            prompt: serde_json::to_value(&prompt.messages).unwrap_or_default(),
            first_chunk_at: None,
            failed: None,
        };
        let mut said = match model.ask(Purpose::Answer, Some(answer), prompt).await {
            Ok(said) => said,
            Err(error) => {
                generated.failed = Some(error);
                return Ok(generated);
            }
        };
        let checker = Checker::new(context.passages, self.embedder.as_deref());
        let mut sentences = Sentences::default();
        while let Some(delta) = said.next().await {
            match delta {
                Ok(Delta::Text(text)) => {
                    for sentence in sentences.push(&text) {
                        generated.say(checker.check(&sentence).await, &sentence, context.passages, voice).await?;
                    }
                }
                Ok(Delta::End { usage, .. }) => generated.usage = Some(usage_of(model, usage)),
                Err(error) => {
                    generated.failed = Some(error);
                    return Ok(generated);
                }
            }
        }
        if let Some(sentence) = sentences.rest() {
            generated.say(checker.check(&sentence).await, &sentence, context.passages, voice).await?;
        }
        Ok(generated)
    }

    /// A follow-up as a question that stands alone. `None`: the model did not say, or nothing of use.
    pub(super) async fn rewritten(
        &self,
        model: &Model,
        answer: Uuid,
        question: &str,
        turns: &[Turn],
    ) -> Option<String> {
        let mark = format!("=={}==", Uuid::new_v4().simple());
        let asking = async {
            let mut said =
                model.ask(Purpose::Rewrite, Some(answer), prompt::for_rewriting(question, turns, &mark)).await?;
            let mut text = String::new();
            while let Some(delta) = said.next().await {
                if let Delta::Text(piece) = delta? {
                    text.push_str(&piece);
                }
            }
            Ok::<_, LlmError>(text)
        };
        let text = tokio::time::timeout(REWRITE_WITHIN, asking).await.ok()?;
        let text = text.inspect_err(|error| tracing::warn!(%error, %answer, "assistant.rewrite.failed")).ok()?;
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        (2..=MAX_REWRITTEN_CHARS).contains(&line.chars().count()).then(|| line.to_owned())
    }
}

impl Generated {
    /// Says a sentence that may be said, and counts one that may not.
    async fn say(
        &mut self,
        claim: Option<Claim>,
        sentence: &str,
        passages: &[Passage],
        voice: &mut Voice,
    ) -> Result<(), Superseded> {
        let Some(claim) = claim else {
            let is_claim = sentence.chars().any(char::is_alphanumeric) && !sentence.contains(NO_ANSWER);
            self.withheld += u32::from(is_claim);
            return Ok(());
        };
        self.shown += 1;
        for (marker, quote) in claim.support {
            self.cite(marker, quote, passages);
        }
        self.text.push_str(&claim.text);
        self.first_chunk_at.get_or_insert_with(Instant::now);
        voice.say(vec![Event::Chunk { text: claim.text }]).await
    }

    fn cite(&mut self, marker: u16, quote: String, passages: &[Passage]) {
        match self.citations.iter_mut().find(|citation| citation.marker == marker) {
            Some(citation) if citation.quotes.contains(&quote) => {}
            Some(citation) => citation.quotes.push(quote),
            None => {
                let passage = passages.iter().find(|passage| passage.marker == marker);
                self.citations.extend(passage.map(|passage| passage.citation(vec![quote])));
            }
        }
    }
}

fn usage_of(model: &Model, usage: llm::Usage) -> Usage {
    Usage {
        input_tokens: i64::from(usage.input_tokens),
        output_tokens: i64::from(usage.output_tokens),
        usd: model.price_of(usage).map(llm::Usd::dollars),
    }
}
