//! A client of the socket, and what the tests of chats share.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use shared::tenancy::TenantId;
use tests::{Settings, TestApp, fixture};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        handshake::client::{Request, Response},
        http::{HeaderName, HeaderValue, header},
    },
};
use uuid::Uuid;

use crate::{assistant::library, queue::support::Running};

/// How long anything may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const ANSWERS: &str = "/api/v2/help-center/assistant/answers/";

/// A help center with articles, and with a worker that runs all the time.
pub(super) async fn start_with(settings: Settings) -> (TestApp, Running) {
    let app = without_worker(settings).await;
    let worker = Running::start(app.worker());
    (app, worker)
}

/// The same before any worker runs.
pub(super) async fn without_worker(settings: Settings) -> TestApp {
    let app = TestApp::start_with(settings).await;
    let tenant = app.db.tenant("library").await.id;
    fixture::import(&app.db, tenant, &library()).await;
    app.run_jobs().await;
    app
}

/// A public help center at `open.localhost`, where a worker runs.
pub(super) async fn open_to_everybody(app: &TestApp) -> TenantId {
    let open = app.db.public_tenant("open").await;
    fixture::import(&app.db, open.id, &library()).await;
    app.until_no_job_is_open().await;
    open.id
}

/// A handshake to be changed.
pub(super) fn handshake(app: &TestApp, session: &str) -> Request {
    let url = format!("{}/ws/help-center/chat/{session}/", app.url.replace("http://", "ws://"));
    url.into_client_request().unwrap()
}

/// The same with a header.
pub(super) fn with(mut request: Request, name: HeaderName, value: &str) -> Request {
    request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    request
}

pub(super) struct Client {
    pub(super) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Opens a socket with a bearer credential, and hears the greeting.
    pub(super) async fn open(app: &TestApp, session: &str, credential: &str) -> Self {
        let request = with(handshake(app, session), header::AUTHORIZATION, &format!("Bearer {credential}"));
        let (mut client, _) = Self::shake(request).await.unwrap();
        let greeting = client.next().await;
        assert_eq!((&greeting["type"], &greeting["seq"]), (&json!("connection"), &json!(0)), "{greeting}");
        assert_eq!(greeting["session_id"], session);
        client
    }

    pub(super) async fn shake(request: Request) -> Result<(Self, Response), Box<tungstenite::Error>> {
        let (socket, response) = connect_async(request).await?;
        Ok((Self { socket }, response))
    }

    pub(super) async fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn frame(&mut self) -> Option<Result<Message, tungstenite::Error>> {
        tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap_or_else(|_| panic!("silence for {PATIENCE:?}"))
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no message but {other:?}"),
            }
        }
    }

    /// All messages up to the last one of an answer.
    pub(super) async fn rest(&mut self) -> Vec<Value> {
        let mut told = Vec::new();
        loop {
            let message = self.next().await;
            let is_last = message["type"] == "done" || message["type"] == "error";
            told.push(message);
            if is_last {
                return told;
            }
        }
    }

    /// Asks, and hears what comes first: that the question is kept.
    pub(super) async fn ask(&mut self, question: &str) -> Uuid {
        self.say(json!({ "query": question, "current_url": "https://app.example.com/settings" })).await;
        let kept = self.next().await;
        assert_eq!(
            (&kept["type"], &kept["status"], &kept["seq"]),
            (&json!("status"), &json!("queued"), &json!(0)),
            "{kept}"
        );
        kept["answer_id"].as_str().unwrap().parse().unwrap()
    }

    /// The code of the error that comes next.
    pub(super) async fn refusal(&mut self) -> String {
        let error = self.next().await;
        assert_eq!((&error["type"], &error["seq"]), (&json!("error"), &json!(0)), "{error}");
        assert!(error["message"].as_str().unwrap().len() > 20 && error["retryable"].is_boolean(), "{error}");
        error["code"].as_str().unwrap().to_owned()
    }

    /// The code that the server closes with; whatever it says before is passed over.
    pub(super) async fn closed(&mut self) -> u16 {
        loop {
            match self.frame().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("no close frame but {other:?}"),
            }
        }
    }
}

/// The text that a client has after these messages.
pub(super) fn text(told: &[Value]) -> String {
    told.iter().fold(String::new(), |text, message| match message["type"].as_str().unwrap() {
        "restart" => String::new(),
        "chunk" => text + message["text"].as_str().unwrap(),
        _ => text,
    })
}

/// The numbers of messages, which must go up by one; a restart may skip some.
pub(super) fn check_order(told: &[Value], after: u64) {
    let mut before = after;
    for message in told {
        let seq = message["seq"].as_u64().unwrap();
        let is_next = if message["type"] == "restart" { seq > before } else { seq == before + 1 };
        assert!(is_next, "{seq} after {before}: {told:?}");
        before = seq;
    }
}
