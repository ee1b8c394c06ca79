//! A real Prometheus with the committed configuration.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::Url;
use serde_json::Value;
use tempfile::TempDir;
use tests::processes::{Program, free_port};

use super::committed::repository;
use crate::queue::support::{PATIENCE, eventually};

/// Where `prometheus` and `promtool` are. Without them the caller is to skip its test, which is said aloud.
pub(super) fn programs() -> Option<PathBuf> {
    let folder = tests::optional_variable("PROMETHEUS_BIN").map(PathBuf::from);
    if folder.is_none() {
        // Past the test runner, which keeps what successful tests print to itself.
        let line = "!".repeat(100);
        let _ = writeln!(
            std::io::stderr(),
            "\n{line}\n!! A test of dashboards and alerts was SKIPPED: PROMETHEUS_BIN names no folder with prometheus and \
             promtool.\n{line}\n"
        );
    }
    folder
}

/// Killed when dropped, with all its data.
pub(super) struct Prometheus {
    child: Child,
    url: Url,
    folder: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these programs every second, by the names of the committed scrape jobs.
    pub(super) async fn start(programs: &Path, targets: &[(&str, Vec<&Program>)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(repository("dashboards/alerts.yml"), folder.path().join("alerts.yml")).unwrap();
        std::fs::write(folder.path().join("prometheus.yml"), configuration(targets)).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let url = Url::parse(&format!("http://{address}")).unwrap();
        let prometheus = Self { child, url, folder };
        let ready = prometheus.url.join("-/ready").unwrap();
        eventually("Prometheus is ready", async || {
            reqwest::get(ready.clone()).await.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
        prometheus
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = Url::parse_with_params(self.url.join(path).unwrap().as_str(), parameters).unwrap();
        let answer: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// The value of each series that a query has now.
    pub(super) async fn query(&self, query: &str) -> Vec<f64> {
        let data = self.ask("api/v1/query", &[("query", query)]).await;
        data["result"].as_array().unwrap().iter().map(|s| s["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Waits until a query has this one value.
    pub(super) async fn until(&self, query: &str, value: f64) {
        let started = Instant::now();
        loop {
            let found = self.query(query).await;
            if found.len() == 1 && (found[0] - value).abs() < f64::EPSILON {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{query} is {found:?}, not {value}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What Grafana's `label_values(metric, label)` has.
    pub(super) async fn label_values(&self, label: &str, metric: &str) -> Vec<String> {
        let data = self.ask(&format!("api/v1/label/{label}/values"), &[("match[]", metric)]).await;
        serde_json::from_value(data).unwrap()
    }

    /// Every committed rule was evaluated without an error.
    pub(super) async fn assert_rules_work(&self) {
        let committed = super::committed::rules().len();
        eventually("every rule was evaluated", async || {
            let data = self.ask("api/v1/rules", &[]).await;
            let groups = data["groups"].as_array().unwrap().clone();
            let rules: Vec<Value> =
                groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
            assert_eq!(rules.len(), committed);
            assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:#?}");
            rules.iter().all(|rule| rule["health"] == "ok").then_some(())
        })
        .await;
    }
}

impl Drop for Prometheus {
    #[expect(clippy::print_stdout, reason = "the test runner shows it when the test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The committed scrape configuration with other addresses and less patience.
fn configuration(targets: &[(&str, Vec<&Program>)]) -> String {
    let mut text = std::fs::read_to_string(repository("dashboards/prometheus.yml")).unwrap();
    let mut replace = |old: &str, new: &str| {
        assert_eq!(text.matches(old).count(), 1, "{old} is once in dashboards/prometheus.yml");
        text = text.replace(old, new);
    };
    replace("scrape_interval: 15s", "scrape_interval: 1s");
    replace("evaluation_interval: 15s", "evaluation_interval: 1s");
    for (port, (job, programs)) in [9101, 9102, 9103].into_iter().zip(targets) {
        let mut addresses = String::new();
        for program in programs {
            write!(addresses, "{:?}, ", program.metrics_url.trim_start_matches("http://")).unwrap();
        }
        let head = format!("  - job_name: {job}\n    static_configs:\n      - targets: [");
        replace(&format!("{head}\"127.0.0.1:{port}\"]"), &format!("{head}{addresses}]"));
    }
    text
}
