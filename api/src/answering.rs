//! What clients are told of an answer: the same messages over a socket, as server-sent events and, put together, as JSON.

use actix_web::web::Bytes;
use serde::Serialize;
use shared::assistant::{
    self, Citation, Done, Event, Failure, FailureCode, Following, Nearest, Outcome, Reason, Said, Step, Usage,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::routes::article_url;

/// One thing that a client is told of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AnswerMessage {
    /// Counted from 1 for each answer; to resume, say the last one that arrived.
    pub(crate) seq: u64,
    /// Which answer.
    pub(crate) answer_id: Uuid,
    #[serde(flatten)]
    pub(crate) said: AnswerEvent,
}

/// What is said.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum AnswerEvent {
    /// What is being done: `searching`, then `writing`.
    Status {
        #[schema(value_type = String)]
        status: Step,
    },
    /// What was said so far is void: throw it away, the whole answer follows.
    Restart,
    /// A piece of the answer: all pieces since the beginning or the last `restart`, put together, are its text.
    Chunk {
        /// Markdown; markers like `[1]` name citations.
        text: String,
    },
    /// What the answer rests on.
    Citations { citations: Vec<CitationLine>, nearest: Vec<NearestLine> },
    /// The answer is complete. The last message.
    Done {
        /// The whole answer as safe HTML: its only links are those of its markers.
        html: String,
        #[serde(flatten)]
        ending: Ending,
    },
    /// There is no answer. The last message.
    Error {
        /// `cancelled`, `failed`, `timed_out` or `unavailable`.
        code: String,
        /// A sentence for a person.
        message: String,
        /// Whether asking again may help.
        retryable: bool,
    },
}

impl AnswerEvent {
    /// Whether nothing follows.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Error { .. })
    }
}

/// How an answer ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ending {
    /// `answered`: by passages that are cited. `refused`: nothing in the help center answers it. `handed_over`: a person is to go on.
    #[schema(value_type = String)]
    outcome: Outcome,
    /// Why it was not answered: `missing_knowledge`, `customer_request`, `unsupported_request`, `policy`, `budget` or `provider_down`.
    #[schema(value_type = Option<String>)]
    reason: Option<Reason>,
    /// Who wrote it: `extractive`, or `openai` for a language model.
    provider: String,
    /// What was not available: `semantic`, `budget`, `provider_down`.
    degraded: Vec<String>,
    /// Whether the same had been answered before.
    is_cached: bool,
    /// How many sentences of a language model are not shown, because no passage supports them.
    withheld_claims: u32,
    /// What it cost; null: no language model was asked.
    usage: Option<UsageLine>,
}

/// What a language model read and wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageLine {
    input_tokens: i64,
    output_tokens: i64,
    /// US dollars; null: the price is not known.
    usd: Option<f64>,
}

/// A passage that the answer rests on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CitationLine {
    /// The number in the text's `[1]`.
    marker: u16,
    article_id: Uuid,
    title: String,
    /// Address of the passage, from the root of the site.
    url: String,
    /// The headings that it stands under.
    heading_path: Vec<String>,
    /// The sentences of the passage that the answer rests on, as they stand there.
    quotes: Vec<String>,
}

/// An article that is near the question.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NearestLine {
    article_id: Uuid,
    title: String,
    /// Address of its page, from the root of the site.
    url: String,
}

impl Ending {
    fn new(done: Done) -> Self {
        let usage =
            done.usage.map(|Usage { input_tokens, output_tokens, usd }| UsageLine { input_tokens, output_tokens, usd });
        Self {
            outcome: done.outcome,
            reason: done.reason,
            provider: done.provider,
            degraded: done.degraded,
            is_cached: done.is_cached,
            withheld_claims: done.withheld_claims,
            usage,
        }
    }
}

pub(crate) fn citation_url(citation: &Citation) -> String {
    let anchor = citation.anchor.as_ref().map(|anchor| format!("#{anchor}")).unwrap_or_default();
    format!("{}{anchor}", article_url(&citation.slug))
}

pub(crate) fn citation_line(citation: &Citation) -> CitationLine {
    CitationLine {
        marker: citation.marker,
        article_id: citation.article_id,
        title: citation.title.clone(),
        url: citation_url(citation),
        heading_path: citation.heading_path.clone(),
        quotes: citation.quotes.clone(),
    }
}

pub(crate) fn nearest_line(nearest: Nearest) -> NearestLine {
    NearestLine { article_id: nearest.article_id, url: article_url(&nearest.slug), title: nearest.title }
}

/// An answer as it has been told so far.
#[derive(Debug, Default)]
pub(crate) struct Told {
    text: String,
    citations: Vec<Citation>,
}

impl Told {
    /// What a client is told of an event.
    pub(crate) fn tell(&mut self, event: Event) -> AnswerEvent {
        match event {
            Event::Status { status } => AnswerEvent::Status { status },
            Event::Restart => {
                *self = Self::default();
                AnswerEvent::Restart
            }
            Event::Chunk { text } => {
                self.text.push_str(&text);
                AnswerEvent::Chunk { text }
            }
            Event::Citations { citations, nearest } => {
                self.citations = citations;
                AnswerEvent::Citations {
                    citations: self.citations.iter().map(citation_line).collect(),
                    nearest: nearest.into_iter().map(nearest_line).collect(),
                }
            }
            Event::Done(done) => AnswerEvent::Done {
                html: assistant::html(&self.text, &self.citations, citation_url),
                ending: Ending::new(done),
            },
            Event::Error(Failure { code, message, retryable }) => {
                AnswerEvent::Error { code: code.as_str().to_owned(), message, retryable }
            }
        }
    }
}

/// The messages of an answer as they come.
#[derive(Debug)]
pub(crate) struct Messages {
    following: Following,
    told: Told,
    /// Heard, and not told yet.
    heard: Option<Said>,
    /// Whether the beginning was told before, to another connection.
    lacks_beginning: bool,
}

impl Messages {
    pub(crate) fn new(following: Following) -> Self {
        Self { following, told: Told::default(), heard: None, lacks_beginning: false }
    }

    /// The messages of a following that began after so many.
    pub(crate) fn resumed(following: Following, after: u64) -> Self {
        Self { lacks_beginning: after > 0, ..Self::new(following) }
    }

    /// Which answer.
    pub(crate) fn answer(&self) -> Uuid {
        self.following.answer().id
    }

    /// The next message; none after the last. Whoever stops waiting may wait again.
    pub(crate) async fn next(&mut self) -> Option<AnswerMessage> {
        if self.heard.is_none() {
            self.heard = Some(self.following.next().await?);
        }
        let answer_id = self.answer();
        let said = match self.heard.as_ref()? {
            Said { seq, event: Event::Done(_) } if self.lacks_beginning => {
                // The last message has the whole text. Without it, whoever follows asks for the last message again.
                let before = seq.saturating_sub(1);
                let whole = self.following.whole().await;
                self.told = Told::default();
                self.lacks_beginning = false;
                if let Some(events) = whole {
                    for event in events.into_iter().filter(|event| !event.is_last()) {
                        self.told.tell(event);
                    }
                    self.heard.take()?
                } else {
                    self.heard = None;
                    Said { seq: before, event: FailureCode::Unavailable.event() }
                }
            }
            _ => self.heard.take()?,
        };
        if said.event == Event::Restart {
            self.lacks_beginning = false;
        }
        Some(AnswerMessage { seq: said.seq, answer_id, said: self.told.tell(said.event) })
    }
}

impl AnswerMessage {
    /// As a server-sent event.
    pub(crate) fn to_server_sent_event(&self) -> Bytes {
        let name = match &self.said {
            AnswerEvent::Status { .. } => "status",
            AnswerEvent::Restart => "restart",
            AnswerEvent::Chunk { .. } => "chunk",
            AnswerEvent::Citations { .. } => "citations",
            AnswerEvent::Done { .. } => "done",
            AnswerEvent::Error { .. } => "error",
        };
        let data = serde_json::to_string(self).unwrap_or_default();
        Bytes::from(format!("event: {name}\nid: {}\ndata: {data}\n\n", self.seq))
    }
}

/// A whole answer.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct AnswerBody {
    /// Which answer: to rate it, to ask for it again.
    pub(crate) answer_id: Uuid,
    /// The session: further questions with it go on from this one.
    pub(crate) session_id: String,
    /// Markdown; markers like `[1]` name citations.
    answer: String,
    /// The same as safe HTML: its only links are those of its markers.
    html: String,
    citations: Vec<CitationLine>,
    /// The nearest articles, where the question was refused.
    nearest: Vec<NearestLine>,
    #[serde(flatten)]
    ending: Option<Ending>,
}

impl AnswerBody {
    /// Puts messages together; an error is given back.
    pub(crate) async fn of(mut messages: Messages, session_id: String) -> Result<Self, (String, bool)> {
        let mut body = Self { session_id, ..Self::default() };
        while let Some(message) = messages.next().await {
            body.answer_id = message.answer_id;
            match message.said {
                AnswerEvent::Status { .. } => {}
                AnswerEvent::Restart => body.answer.clear(),
                AnswerEvent::Chunk { text } => body.answer.push_str(&text),
                AnswerEvent::Citations { citations, nearest } => {
                    body.citations = citations;
                    body.nearest = nearest;
                }
                AnswerEvent::Done { html, ending } => {
                    body.html = html;
                    body.ending = Some(ending);
                }
                AnswerEvent::Error { message, retryable, .. } => return Err((message, retryable)),
            }
        }
        Ok(body)
    }
}
