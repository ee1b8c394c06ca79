//! Dashboards, alert rules and their documentation name metrics that the programs really export, and a real Prometheus that
//! scrapes the real programs has data for every panel.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test that uses them")]

mod committed;
mod prometheus;

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use promql_parser::{
    parser::{Expr, parse},
    util::{ExprVisitor, walk_expr},
};
use reqwest::StatusCode;
use serde_json::json;
use shared::{auth::jwt, clock::Clock};
use tests::{
    JWT_SECRET, fixture,
    processes::{Program, free_port},
    scripted_llm::{MODEL, Reply, ScriptedLlm},
};

use self::{
    committed::{Expression, repository},
    prometheus::Prometheus,
};
use crate::{
    jobs::{Knowledge, long_article},
    queue::support::{PATIENCE, eventually},
};

const API: &str = "helpcenter-api";
const WORKER: &str = "helpcenter-worker";
const SCHEDULER: &str = "helpcenter-scheduler";
/// Long enough for Prometheus to see the counters of the worker that takes over before it does.
const LEASE: Duration = Duration::from_secs(5);

/// The metrics that an expression selects.
fn selected(expression: &str) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl ExprVisitor for Names {
        type Error = std::convert::Infallible;

        fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Self::Error> {
            let selector = match expression {
                Expr::VectorSelector(selector) => Some(selector),
                Expr::MatrixSelector(matrix) => Some(&matrix.vs),
                _ => None,
            };
            self.0.extend(selector.and_then(|selector| selector.name.clone()));
            Ok(true)
        }
    }
    let parsed = parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut names = Names(BTreeSet::new());
    walk_expr(&mut names, &parsed).unwrap();
    names.0
}

/// With these, programs know a remote embedding model as well, and export what they count of it. Nobody asks it anything.
const REMOTE_MODEL: [(&str, &str); 3] = [
    ("EMBEDDING_PREVIOUS_PROVIDER", "openai"),
    ("EMBEDDING_PREVIOUS_BASE_URL", "http://127.0.0.1:1/v1"),
    ("EMBEDDING_PREVIOUS_MODEL", "some-model"),
];

/// The same of a reranker, which does not answer.
const RERANKER: [(&str, &str); 2] = [("RERANK_BASE_URL", "http://127.0.0.1:1/v1"), ("RERANK_MODEL", "some-model")];

/// Starts the API as a program; its address.
fn start_api(test: &Knowledge) -> (Program, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let pepper = "a pepper of at least thirty-two bytes, for tests only";
    let mut variables = vec![("API_ADDRESS", address.as_str()), ("JWT_SECRET", JWT_SECRET), ("API_KEY_PEPPER", pepper)];
    variables.extend(REMOTE_MODEL.into_iter().chain(RERANKER));
    (Program::start_with(&test.app, API, &variables), format!("http://{address}"))
}

/// The names of our own metrics that a program exports.
async fn exported(program: &Program) -> BTreeSet<String> {
    let metrics = reqwest::get(format!("{}/metrics", program.metrics_url)).await.unwrap().text().await.unwrap();
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE helpcenter_"));
    types.map(|rest| format!("helpcenter_{}", rest.split(' ').next().unwrap())).collect()
}

#[tokio::test]
async fn dashboards_alerts_and_documents_name_the_metrics_that_programs_export_from_their_start() {
    let test = Knowledge::start().await;
    let api = start_api(&test).0.ready().await;
    let worker = Program::start_with(&test.app, WORKER, &REMOTE_MODEL).ready().await;
    let scheduler = Program::start(&test.app, SCHEDULER).ready().await;
    let documented = committed::documented("docs/OPERATIONS.md");
    let started = Instant::now();
    let exported = loop {
        let mut names = BTreeSet::new();
        for program in [&api, &worker, &scheduler] {
            names.extend(exported(program).await);
        }
        // The worker measures its queues at its start, but not before it is ready.
        if names == documented || started.elapsed() > PATIENCE {
            break names;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(exported, documented, "what programs export before anything happens, and what is documented");

    let known = |name: &str| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        documented.contains(histogram.unwrap_or(name)) || !name.starts_with("helpcenter_")
    };
    for Expression { at, text } in committed::panels().into_iter().chain(committed::alerts()) {
        for name in selected(&text) {
            assert!(known(&name), "{at}: nobody exports {name}");
        }
    }
    for name in committed::documented("docs/help/operators/monitoring.md") {
        assert!(known(&name), "docs/help/operators/monitoring.md: nobody exports {name}");
    }
}

#[test]
fn every_alert_has_a_severity_a_text_a_runbook_and_a_test() {
    let operations = std::fs::read_to_string(repository("docs/OPERATIONS.md")).unwrap();
    let tested = std::fs::read_to_string(repository("dashboards/alerts_test.yml")).unwrap();
    let rules = committed::rules();
    assert!(!rules.is_empty());
    for rule in rules {
        let name = &rule.alert;
        assert!(["warning", "critical"].contains(&rule.labels["severity"].as_str()), "{name}");
        for annotation in ["summary", "description"] {
            assert!(!rule.annotations[annotation].is_empty(), "{name}: {annotation}");
        }
        let heading = format!("docs/OPERATIONS.md#{}", name.to_lowercase());
        assert_eq!(rule.annotations["runbook"], heading, "{name}");
        assert!(operations.lines().any(|line| line == format!("### {name}")), "{name} has no runbook");
        assert!(tested.contains(name.as_str()), "{name} has no test");
    }
    let headings = operations.lines().filter_map(|line| line.strip_prefix("### Helpcenter"));
    assert_eq!(headings.count(), committed::rules().len(), "there is a runbook for an alert that does not exist");
}

#[test]
fn scrape_configuration_and_rules_are_what_promtool_accepts_and_alerts_fire_when_they_should() {
    let Some(programs) = prometheus::programs() else { return };
    for arguments in
        [["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]]
    {
        let mut promtool = Command::new(programs.join("promtool"));
        let output = promtool.args(arguments).current_dir(repository("dashboards")).output().unwrap();
        assert!(output.status.success(), "promtool {arguments:?}: {output:?}");
    }
}

#[tokio::test]
async fn every_panel_has_data_from_programs_under_a_small_load() {
    let Some(programs) = prometheus::programs() else { return };
    let mut test = Knowledge::with_lease(LEASE).await;
    leave_a_job_behind(&mut test).await;

    let (api, address) = start_api(&test);
    let last = "insert into scheduler_ticks (line, due_at)
         values ('reconcile_embeddings', date_trunc('minute', now()) - interval '10 minutes')";
    test.execute(last).await;
    let leader = Program::start(&test.app, SCHEDULER).ready().await;
    let leading = "select count(*) from scheduler_leader where leads_until > now()";
    eventually("a scheduler leads", async || (test.count(leading).await == 1).then_some(())).await;
    let waiting = Program::start(&test.app, SCHEDULER).ready().await;
    let llm = ScriptedLlm::start([Reply::text("It is long. [1]")]).await;
    let llm_url = llm.base_url();
    let variables = [("LLM_PROVIDER", "openai"), ("LLM_BASE_URL", llm_url.as_str()), ("LLM_MODEL", MODEL)];
    let worker = Program::start_with(&test.app, WORKER, &variables);
    let partial = Program::start_with(&test.app, WORKER, &[("WORKER_QUEUES", "maintenance")]).ready().await;
    let (api, worker) = (api.ready().await, worker.ready().await);

    let targets = [(API, vec![&api]), (WORKER, vec![&worker, &partial]), (SCHEDULER, vec![&leader, &waiting])];
    let prometheus = Prometheus::start(&programs, &targets).await;
    prometheus.until("sum(up)", 5.0).await;
    prometheus.until("sum(helpcenter_scheduler_leader)", 1.0).await;

    fail_and_die(&mut test).await;
    ask_questions(&address).await;
    // The other scheduler makes up for the last tick, in the eyes of Prometheus.
    test.execute("delete from scheduler_ticks where due_at > now() - interval '9 minutes'").await;
    leader.kill();

    let started = Instant::now();
    for Expression { at, text } in committed::panels() {
        while prometheus.query(&text).await.iter().all(|value| value.is_nan()) {
            assert!(started.elapsed() < PATIENCE, "{at} has no data: {text}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    // What is told by several processes is not added up, and what is told by none is not made up.
    prometheus.until(r#"sum(max by (queue) (helpcenter_queue_jobs{state="dead"}))"#, 1.0).await;
    prometheus.until("sum(helpcenter_scheduler_leader)", 1.0).await;
    for (counter, least) in [
        ("helpcenter_jobs_taken_over_total", 1.0),
        (r#"helpcenter_jobs_finished_total{outcome="retry"}"#, 1.0),
        (r#"helpcenter_http_requests_total{status="400"}"#, 1.0),
        ("helpcenter_jobs_enqueued_total", 4.0),
    ] {
        let found = prometheus.query(&format!("sum({counter})")).await;
        assert!(found.len() == 1 && found[0] >= least, "{counter} is {found:?}");
    }
    assert_eq!(
        prometheus.label_values("queue", "helpcenter_queue_jobs").await,
        ["answers", "embeddings", "maintenance"]
    );
    prometheus.assert_rules_work().await;
    for program in [api, worker, partial, waiting] {
        assert!(program.terminate().await.success());
    }
}

/// A worker is killed in the middle of a long article.
async fn leave_a_job_behind(test: &mut Knowledge) {
    test.folder.write("long.md", long_article("A long one", 50));
    test.import().await;
    let doomed = Program::start(&test.app, WORKER);
    eventually("the first vectors are there", async || (!test.vectors().await.is_empty()).then_some(())).await;
    doomed.kill();
}

/// A job that fails once and then succeeds, a dead letter, and some that are done.
async fn fail_and_die(test: &mut Knowledge) {
    let failing = "create function fail() returns trigger language plpgsql as $$ begin
             if exists (select from passages p join articles a on a.id = p.article_id
                        where p.id = new.passage_id and a.source_path = 'failing.md') then
                 raise 'not today';
             end if;
             return new;
         end $$;
         create trigger fail before insert on passage_embeddings for each row execute function fail()";
    sqlx::raw_sql(failing).execute(&mut test.owner).await.unwrap();
    for name in ["failing", "two", "three"] {
        test.folder.write(&format!("{name}.md"), fixture::article(name, "Text."));
    }
    test.import().await;
    let failed = "select count(*) from outbox where last_error like '%not today%'";
    eventually("a job has failed", async || (test.count(failed).await == 1).then_some(())).await;
    test.execute("drop trigger fail on passage_embeddings").await;
    let undecodable = r#"insert into outbox (tenant_id, queue, job, payload, max_attempts)
             select id, 'embeddings', 'embed_article', '{"no": "ids"}', 3 from tenants"#;
    test.execute(undecodable).await;
    test.app.until_no_job_is_open().await;
}

/// Searches, one of them with a mistake, and addresses, one of which does not exist.
async fn ask_questions(address: &str) {
    let roles = ["staff".to_owned()];
    let exp = Clock::system().now().timestamp() + 3600;
    let token = jwt::NewToken { sub: "person-1", tenant: "acme", roles: &roles, name: "A Person", exp };
    let token = jwt::sign(&JWT_SECRET.into(), &token).unwrap();
    let search = format!("{address}/api/v2/help-center/search/");
    let client = reqwest::Client::new();
    for (query, status) in [("a long one", StatusCode::OK), ("two", StatusCode::OK), ("x", StatusCode::BAD_REQUEST)] {
        let request = client.post(&search).bearer_auth(&token).json(&json!({ "query": query }));
        assert_eq!(request.send().await.unwrap().status(), status, "{query}");
    }
    for query in ["a long one", "Which planet is the largest in our solar system?"] {
        let request = client.post(format!("{address}/api/v2/help-center/assistant/")).bearer_auth(&token);
        assert_eq!(request.json(&json!({ "query": query })).send().await.unwrap().status(), StatusCode::OK, "{query}");
    }
    for (path, status) in [("/api/openapi.json", StatusCode::OK), ("/nothing/here/", StatusCode::NOT_FOUND)] {
        assert_eq!(reqwest::get(format!("{address}{path}")).await.unwrap().status(), status, "{path}");
    }
}
