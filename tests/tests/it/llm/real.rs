//! A real model behind a real OpenAI-compatible server: llama.cpp's, with a small model. What it says is nonsense; how it says it is
//! what counts.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use shared::{
    config::LlmModelConfig,
    llm::{Finish, Purpose},
};
use tests::{optional_variable, scripted_llm::Reply};

use super::{World, listen, prompt, within};

/// As long as a machine that is busy with other tests may need.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server; killed when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    async fn start(packages: &Path) -> Self {
        shared::telemetry::install_tls();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/local/llm_server.py");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("python3")
            .arg(script)
            .arg(packages)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { child, port };
        let began = Instant::now();
        // It says 503 while it reads the model.
        let health = format!("http://127.0.0.1:{port}/health");
        while !reqwest::get(&health).await.is_ok_and(|response| response.status().is_success()) {
            assert_eq!(server.child.try_wait().unwrap(), None, "the server has ended: run deploy/local/llm_server.py");
            assert!(began.elapsed() < PATIENCE, "there is no server after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_model_streams_counts_and_stops_where_it_is_told() {
    let Some(packages) = optional_variable("LLM_PACKAGES") else {
        eprintln!(
            "SKIPPED: there is no language model here (LLM_PACKAGES is not set; deploy/local/llm.py fetches one)."
        );
        return;
    };
    let server = Server::start(Path::new(&packages)).await;
    // The scripted server is there as well, and is not asked.
    let world = World::with([Reply::Silence], |config| {
        config.model = Some(LlmModelConfig {
            base_url: format!("http://127.0.0.1:{}/v1", server.port).parse().unwrap(),
            api_key: None,
            model: "smollm2".to_owned(),
            prices: None,
        });
        config.limits.first_token = PATIENCE;
        config.limits.idle = PATIENCE;
        config.limits.total = PATIENCE;
    })
    .await;
    let ask = async |most: u32| {
        let mut prompt = prompt();
        prompt.max_output_tokens = most;
        world.model().await.ask(Purpose::Answer, None, prompt).await
    };
    let (text, end) = within(PATIENCE, "the answer", async { listen(ask(24).await.unwrap()).await }).await;
    let (finish, usage) = end.unwrap();
    assert!(!text.trim().is_empty() && matches!(finish, Finish::Stop | Finish::Length), "{finish:?}: {text}");
    assert!(!usage.is_estimated && usage.input_tokens > 10, "{usage:?}");
    assert!((1..=24).contains(&usage.output_tokens), "{usage:?}");
    let row = &world.rows().await[0];
    assert_eq!(
        (row.outcome.as_deref(), row.output_tokens),
        (Some("done"), i32::try_from(usage.output_tokens).unwrap())
    );
    assert!(row.first_token_ms.is_some());
    // Whoever leaves frees the server for others.
    drop(within(PATIENCE, "the first text", ask(200)).await.unwrap());
    let (_, end) = within(PATIENCE, "the next answer", async { listen(ask(4).await.unwrap()).await }).await;
    let (_, usage) = end.unwrap();
    assert!((1..=4).contains(&usage.output_tokens), "{usage:?}");
    // More than it can read is refused, and that is told without what was sent.
    let mut long = prompt();
    long.messages[1].content = "hidden ".repeat(20_000);
    let error = world.model().await.ask(Purpose::Answer, None, long).await.unwrap_err().to_string();
    assert!(error.contains("refuses (400") && !error.contains("hidden"), "{error}");
}
