//! A server with OpenAI's chat completions that does what a real one cannot be made to do: it answers by a script.
//!
//! Each question gets the next [`Reply`]; the last one is given again and again. What was asked is kept.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use shared::{
    config::LlmModelConfig,
    llm::{Prices, Usd},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The key that [`ScriptedLlm::config`] sends.
pub const KEY: &str = "sk-scripted-0123456789-hidden";
/// The model's name there.
pub const MODEL: &str = "scripted";
/// For ever, as far as tests are concerned.
const LONG: Duration = Duration::from_secs(300);

/// What a question is answered with.
#[derive(Clone)]
pub enum Reply {
    /// A stream of events.
    Stream(Vec<Step>),
    /// A status, further headers and a body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// Nothing: the question is accepted, and that is all.
    Silence,
    /// What this makes of the question's body.
    Computed(Arc<dyn Fn(&Value) -> Reply + Send + Sync>),
}

/// A part of a stream.
#[derive(Debug, Clone)]
pub enum Step {
    /// A piece of text.
    Text(String),
    /// So long, nothing.
    Wait(Duration),
    /// The reason why the answer ends here.
    Finish(&'static str),
    /// How many tokens were read and written.
    Usage(u32, u32),
    /// The `data` of an event, whatever it is.
    Data(String),
    /// This text again and again, until nobody listens.
    Endless(String),
    /// `[DONE]`.
    Done,
    /// The connection breaks. A stream without this ends as it should in HTTP.
    Break,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(steps) => f.debug_tuple("Stream").field(steps).finish(),
            Self::Status(status, ..) => f.debug_tuple("Status").field(status).finish(),
            Self::Silence => f.write_str("Silence"),
            Self::Computed(_) => f.write_str("Computed"),
        }
    }
}

impl Reply {
    /// A text, word by word, complete and counted as 100 tokens read and one written for each word.
    pub fn text(text: &str) -> Self {
        let words = u32::try_from(text.split_whitespace().count()).unwrap();
        Self::after(pieces(text), [Step::Finish("stop"), Step::Usage(100, words), Step::Done])
    }

    /// The same, but nothing for so long at first.
    pub fn slow(wait: Duration, text: &str) -> Self {
        let Self::Stream(steps) = Self::text(text) else { unreachable!("a text is a stream") };
        Self::Stream([vec![Step::Wait(wait)], steps].concat())
    }

    /// A text, and then silence.
    pub fn stalls_after(text: &str) -> Self {
        Self::after(pieces(text), [Step::Wait(LONG)])
    }

    /// A text, and then an event that is no JSON.
    pub fn malformed_after(text: &str) -> Self {
        Self::after(pieces(text), [Step::Data(r#"{"choices":[{"delta":{"content":"hidden"#.to_owned())])
    }

    /// A text, and then the connection breaks.
    pub fn breaks_after(text: &str) -> Self {
        Self::after(pieces(text), [Step::Break])
    }

    /// A text that ends without a reason, although the stream ends well.
    pub fn ends_after(text: &str) -> Self {
        Self::after(pieces(text), [])
    }

    /// A complete text of which the server does not say how many tokens it has.
    pub fn uncounted(text: &str) -> Self {
        Self::after(pieces(text), [Step::Finish("stop"), Step::Done])
    }

    /// An answer without a word.
    pub fn empty() -> Self {
        Self::Stream(vec![Step::Finish("stop"), Step::Usage(100, 0), Step::Done])
    }

    /// Text without end, however much was asked for.
    pub fn endless() -> Self {
        Self::Stream(vec![Step::Endless("and so on ".to_owned())])
    }

    /// 429, and when to come again.
    pub fn busy(retry_after_seconds: u32) -> Self {
        let body = json!({ "error": { "message": "hidden", "type": "requests", "code": "rate_limit_exceeded" } });
        Self::Status(429, vec![("retry-after", retry_after_seconds.to_string())], body.to_string())
    }

    /// 500.
    pub fn failing() -> Self {
        Self::Status(500, vec![], json!({ "error": { "message": "hidden", "code": 500 } }).to_string())
    }

    /// 404, as llama.cpp words it: its `code` is a number.
    pub fn wrong_model() -> Self {
        let body =
            json!({ "error": { "code": 404, "message": "model 'hidden' not found", "type": "not_found_error" } });
        Self::Status(404, vec![], body.to_string())
    }

    fn after(mut steps: Vec<Step>, then: impl IntoIterator<Item = Step>) -> Self {
        steps.extend(then);
        Self::Stream(steps)
    }
}

fn pieces(text: &str) -> Vec<Step> {
    text.split_inclusive(' ').map(|piece| Step::Text(piece.to_owned())).collect()
}

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The body.
    pub body: Value,
}

/// The server. Gone when dropped.
#[derive(Debug)]
pub struct ScriptedLlm {
    port: u16,
    script: Arc<Script>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Asked>>,
    abandoned: AtomicUsize,
}

impl ScriptedLlm {
    /// Starts one that gives these replies, in this order.
    pub async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::<Script>::default();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&script)));
        let server = Self { port, script, accepting };
        server.reply_with(replies);
        server
    }

    /// From now on it gives these replies.
    pub fn reply_with(&self, replies: impl IntoIterator<Item = Reply>) {
        let replies: VecDeque<Reply> = replies.into_iter().collect();
        assert!(!replies.is_empty(), "there must be something to reply with");
        *self.script.replies.lock().unwrap() = replies;
    }

    /// Its address, which `/chat/completions` is added to.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Its host and port, as operators allow them.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A deployment's model here: 1 USD for a million tokens read, 2 for a million written.
    pub fn config(&self) -> LlmModelConfig {
        LlmModelConfig {
            base_url: self.base_url().parse().unwrap(),
            api_key: Some(KEY.into()),
            model: MODEL.to_owned(),
            prices: Some(Prices { input: Usd::from_micros(1_000_000), output: Usd::from_micros(2_000_000) }),
        }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }

    /// How often somebody left before the reply was over.
    pub fn abandoned(&self) -> usize {
        self.script.abandoned.load(Ordering::SeqCst)
    }
}

impl Drop for ScriptedLlm {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>) {
    while let Ok((connection, _)) = listener.accept().await {
        let script = Arc::clone(&script);
        // One request for each connection.
        tokio::spawn(async move {
            let _ = answer(connection, &script).await;
        });
    }
}

async fn answer(mut connection: TcpStream, script: &Script) -> io::Result<()> {
    let asked = question(&mut connection).await?;
    let mut reply = {
        let mut replies = script.replies.lock().unwrap();
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }.unwrap()
    };
    while let Reply::Computed(compute) = reply {
        reply = compute(&asked.body);
    }
    script.asked.lock().unwrap().push(asked);
    let (mut reading, mut writing) = connection.into_split();
    let mut more = [0];
    let is_heard = tokio::select! {
        biased;
        written = write(&mut writing, &reply) => written.is_ok(),
        // Whoever has asked says nothing more; they close.
        _ = reading.read(&mut more) => false,
    };
    if !is_heard {
        script.abandoned.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

/// Reads a request.
async fn question(connection: &mut TcpStream) -> io::Result<Asked> {
    let mut request = Vec::new();
    let head_length = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if connection.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&request[..head_length]).into_owned();
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    let header = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let length = head_length + header("content-length").unwrap().parse::<usize>().unwrap();
    while request.len() < length {
        if connection.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let body = serde_json::from_slice(&request[head_length..]).unwrap();
    Ok(Asked { authorization: header("authorization"), body })
}

async fn write(connection: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> io::Result<()> {
    let steps = match reply {
        Reply::Silence => {
            tokio::time::sleep(LONG).await;
            return Ok(());
        }
        Reply::Status(status, headers, body) => {
            let headers: String = headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
            let length = body.len();
            let response = format!(
                "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                 connection: close\r\n{headers}\r\n{body}"
            );
            return connection.write_all(response.as_bytes()).await;
        }
        Reply::Stream(steps) => steps,
        Reply::Computed(_) => unreachable!("it is computed by now"),
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\
                connection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).await?;
    let role = json!({ "choices": [{ "index": 0, "delta": { "role": "assistant", "content": null } }] });
    event(connection, &role.to_string()).await?;
    for step in steps {
        match step {
            Step::Text(text) => event(connection, &text_chunk(text)).await?,
            Step::Wait(time) => tokio::time::sleep(*time).await,
            Step::Finish(reason) => {
                let chunk = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] });
                event(connection, &chunk.to_string()).await?;
            }
            Step::Usage(read, written) => {
                let usage =
                    json!({ "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written });
                event(connection, &json!({ "choices": [], "usage": usage }).to_string()).await?;
            }
            Step::Data(data) => event(connection, data).await?,
            Step::Endless(text) => loop {
                event(connection, &text_chunk(text)).await?;
            },
            Step::Done => event(connection, "[DONE]").await?,
            Step::Break => return Ok(()),
        }
    }
    connection.write_all(b"0\r\n\r\n").await
}

fn text_chunk(text: &str) -> String {
    json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] }).to_string()
}

async fn event(connection: &mut (impl AsyncWriteExt + Unpin), data: &str) -> io::Result<()> {
    let event = format!("data: {data}\n\n");
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    connection.write_all(chunk.as_bytes()).await?;
    connection.flush().await
}
