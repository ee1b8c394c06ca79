//! What the repository says: panels, alert rules, documented metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::Value;

/// A query and where it stands.
pub(super) struct Expression {
    pub(super) at: String,
    pub(super) text: String,
}

/// An alert rule.
#[derive(Deserialize)]
pub(super) struct Rule {
    pub(super) alert: String,
    pub(super) expr: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// A file or folder of the repository.
pub(super) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

/// Every query of every dashboard, with Grafana's variables replaced.
pub(super) fn panels() -> Vec<Expression> {
    let mut found = Vec::new();
    for file in ["assistant", "overview", "queues"] {
        let dashboard: Value = serde_json::from_str(&read(&format!("dashboards/{file}.json"))).unwrap();
        for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
            let at = format!("{file}.json, panel {}", panel["title"]);
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty() && !panel["description"].as_str().unwrap().is_empty(), "{at}");
            found.extend(targets.iter().map(|target| {
                let text = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m").replace("$queue", ".*");
                Expression { at: at.clone(), text }
            }));
        }
    }
    assert!(found.iter().all(|query| !query.text.contains('$')), "a variable was not replaced");
    found
}

/// Every alert rule.
pub(super) fn rules() -> Vec<Rule> {
    let rules: Rules = serde_saphyr::from_str(&read("dashboards/alerts.yml")).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// The expression of every alert rule.
pub(super) fn alerts() -> Vec<Expression> {
    rules().into_iter().map(|rule| Expression { at: format!("alert {}", rule.alert), text: rule.expr }).collect()
}

/// The metrics in the table of a document: the names in code in the first column.
pub(super) fn documented(path: &str) -> BTreeSet<String> {
    let text = read(path);
    let first_columns =
        text.lines().filter(|line| line.starts_with("| `helpcenter_")).map(|line| line.split('|').nth(1));
    let names: BTreeSet<String> = first_columns
        .flat_map(|column| column.unwrap().split('`').skip(1).step_by(2))
        .map(|code| code.split('{').next().unwrap().to_owned())
        .collect();
    assert!(!names.is_empty(), "{path} has no table of metrics");
    names
}
