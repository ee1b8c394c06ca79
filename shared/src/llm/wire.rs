//! What goes over the wire of OpenAI's chat completions. Of answers, what is needed is read; servers differ in the rest.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{
    Finish,
    cost::Usage,
    prompt::{Message, Prompt},
};

/// A question.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    messages: &'a [Message],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f32>,
    #[serde(flatten)]
    length: Length,
    stream: bool,
    stream_options: StreamOptions,
}

/// How long the answer may be, in the field that the server knows.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Length {
    MaxTokens(u32),
    MaxCompletionTokens(u32),
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(base_url: &Url, model: &'a str, prompt: &'a Prompt, most_tokens: u32) -> Self {
        let length = if is_openais(base_url) { Length::MaxCompletionTokens } else { Length::MaxTokens };
        Self {
            model,
            messages: &prompt.messages,
            temperature: prompt.temperature,
            length: length(most_tokens),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
        }
    }
}

/// OpenAI's own models, there and at Azure, no longer all take `max_tokens`; of the other servers, few know another name for it.
fn is_openais(base_url: &Url) -> bool {
    let host = base_url.host_str().unwrap_or_default();
    host == "api.openai.com" || [".openai.azure.com", ".services.ai.azure.com"].iter().any(|end| host.ends_with(end))
}

/// A part of the answer.
#[derive(Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<ChunkUsage>,
    /// What some servers say in place of a part, when they fail in the middle.
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    delta: ChunkDelta,
    finish_reason: Option<String>,
}

#[derive(Deserialize, Default)]
struct ChunkDelta {
    content: Option<String>,
}

#[derive(Deserialize)]
struct ChunkUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

/// What a part says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) finish: Option<Finish>,
    pub(super) usage: Option<Usage>,
    pub(super) has_failed: bool,
}

/// More than any model reads: so that whatever a server says can be added up.
const MOST_TOKENS: u64 = 100_000_000;

impl Chunk {
    pub(super) fn said(self) -> Said {
        let mut said = Said { has_failed: self.error.is_some(), ..Said::default() };
        for choice in self.choices.into_iter().filter(|choice| choice.index == 0) {
            said.text.push_str(&choice.delta.content.unwrap_or_default());
            said.finish = choice.finish_reason.map(|reason| Finish::named(&reason)).or(said.finish);
        }
        // Zeros are what servers say that do not count, or not yet.
        said.usage = self.usage.filter(|usage| usage.prompt_tokens + usage.completion_tokens > 0).map(|usage| Usage {
            input_tokens: tokens(usage.prompt_tokens),
            output_tokens: tokens(usage.completion_tokens),
            is_estimated: false,
        });
        said
    }
}

fn tokens(count: u64) -> u32 {
    u32::try_from(count.min(MOST_TOKENS)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(chunk: Value) -> Said {
        serde_json::from_value::<Chunk>(chunk).unwrap().said()
    }

    #[test]
    fn parts_are_read_as_servers_word_them() {
        let text = |text: &str| Said { text: text.to_owned(), ..Said::default() };
        assert_eq!(
            said(json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": null } }] })),
            text("")
        );
        assert_eq!(
            said(json!({ "choices": [{ "delta": { "content": "Hi" }, "finish_reason": null }], "usage": null })),
            text("Hi")
        );
        assert_eq!(said(json!({ "choices": [{ "index": 1, "delta": { "content": "another answer" } }] })), text(""));
        assert_eq!(said(json!({ "choices": [{ "delta": { "reasoning_content": "Hm." } }] })), text(""));
        assert_eq!(said(json!({ "object": "x" })), text(""));
        assert_eq!(said(json!({ "choices": [{ "finish_reason": "length" }] })).finish, Some(Finish::Length));
        assert!(said(json!({ "error": { "message": "hidden" } })).has_failed);
        let usage =
            json!({ "choices": [], "usage": { "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15 } });
        assert_eq!(said(usage).usage, Some(Usage { input_tokens: 12, output_tokens: 3, is_estimated: false }));
        assert_eq!(said(json!({ "usage": { "prompt_tokens": 0, "completion_tokens": 0 } })).usage, None);
        let absurd = said(json!({ "usage": { "prompt_tokens": u64::MAX / 2, "completion_tokens": 1 } })).usage.unwrap();
        assert_eq!(absurd.input_tokens, 100_000_000);
    }

    #[test]
    fn the_length_is_asked_for_by_the_name_that_the_server_knows() {
        let prompt = Prompt { messages: vec![Message::user("Why?")], max_output_tokens: 5, temperature: None };
        let sent = |url: &str| serde_json::to_value(Request::new(&url.parse().unwrap(), "m", &prompt, 5)).unwrap();
        let expected = json!({
            "model": "m", "messages": [{ "role": "user", "content": "Why?" }], "max_tokens": 5, "stream": true,
            "stream_options": { "include_usage": true },
        });
        assert_eq!(sent("http://localhost:11434/v1"), expected);
        for url in ["https://api.openai.com/v1", "https://us.openai.azure.com/openai/v1"] {
            let sent = sent(url);
            assert_eq!((&sent["max_completion_tokens"], sent.get("max_tokens")), (&json!(5), None), "{url}");
        }
        assert!(sent("https://api.openai.com.example.net/v1").get("max_tokens").is_some());
    }
}
