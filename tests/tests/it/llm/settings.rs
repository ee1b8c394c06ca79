//! What a tenant's admins set of the language model, over the API.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    config::LlmConfig,
    llm::{LlmError, Purpose, Reason},
    secrets::SecretsKey,
    tenancy::TenantId,
};
use tests::{
    Settings, TestApp, no_language_model,
    scripted_llm::{self, Reply, ScriptedLlm},
};

use super::{listen, prompt, rows};

const SETTINGS: &str = "/api/v2/help-center/admin/language-model/";
const USAGE: &str = "/api/v2/help-center/admin/language-model/usage/";
const OWN_KEY: &str = "sk-own-canary-0123456789-wxyz";

fn secrets(digit: &str) -> SecretsKey {
    SecretsKey::parse(&digit.repeat(64)).unwrap()
}

/// A help center whose deployment has a model, and a tenant with an admin.
struct Center {
    app: TestApp,
    deployments: ScriptedLlm,
    own: ScriptedLlm,
    tenant: TenantId,
}

impl Center {
    async fn new() -> Self {
        Self::with(Some(secrets("a"))).await
    }

    async fn with(secrets: Option<SecretsKey>) -> Self {
        let deployments = ScriptedLlm::start([Reply::text("The deployment's.")]).await;
        let own = ScriptedLlm::start([Reply::text("One's own.")]).await;
        let llm = LlmConfig {
            model: Some(deployments.config()),
            allowed_hosts: vec![own.host().parse().unwrap()],
            ..no_language_model()
        };
        let app = TestApp::start_with(Settings { with_model: false, llm, secrets, ..Settings::default() }).await;
        let tenant = app.db.tenant("acme").await.id;
        Self { app, deployments, own, tenant }
    }

    fn admin(&self) -> String {
        self.app.token("acme", &["admin"])
    }

    async fn get(&self) -> Value {
        let (status, settings) = self.app.get(SETTINGS, &self.admin()).await;
        assert_eq!(status, StatusCode::OK, "{settings}");
        settings
    }

    async fn put(&self, body: &Value) -> (StatusCode, Value) {
        tests::json(self.app.request(Method::PUT, SETTINGS).bearer_auth(self.admin()).json(body)).await
    }

    async fn set(&self, body: &Value) -> Value {
        let (status, settings) = self.put(body).await;
        assert_eq!(status, StatusCode::OK, "{body}: {settings}");
        assert_eq!(settings, self.get().await);
        assert!(!settings.to_string().contains("canary"), "{settings}");
        settings
    }

    /// What is wrong with a change.
    async fn refused(&self, body: &Value) -> String {
        let (status, problem) = self.put(body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {problem}");
        assert!(!problem.to_string().contains("canary"), "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }

    fn own_model(&self) -> Value {
        json!({
            "provider": "openai", "base_url": self.own.base_url(), "model": "own", "api_key": OWN_KEY,
            "price_input": 0.15, "price_output": 0.6,
        })
    }

    async fn answer(&self) -> Result<Option<String>, LlmError> {
        let Some(model) = self.app.llm.for_tenant(self.tenant).await? else { return Ok(None) };
        let (text, end) = listen(model.ask(Purpose::Answer, None, prompt()).await?).await;
        end.map(|_| Some(text))
    }
}

#[tokio::test]
async fn a_tenant_has_the_deployments_model_until_it_sets_one_of_its_own_or_none() {
    let center = Center::new().await;
    let untouched = center.get().await;
    let in_use = json!({
        "provider": "openai", "model": scripted_llm::MODEL, "is_own_model": false, "has_prices": true,
        "daily_budget_usd": 5.0, "daily_budget_tokens": 1_000_000,
    });
    let expected = json!({
        "provider": null, "base_url": null, "model": null, "api_key": { "is_set": false, "ends_with": null },
        "price_input": null, "price_output": null, "daily_budget_usd": null, "daily_budget_tokens": null,
        "in_use": in_use,
    });
    assert_eq!(untouched, expected);
    assert_eq!(center.answer().await.unwrap().as_deref(), Some("The deployment's."));

    let set = center.set(&center.own_model()).await;
    assert_eq!(set["api_key"], json!({ "is_set": true, "ends_with": "wxyz" }));
    assert_eq!((&set["in_use"]["model"], &set["in_use"]["is_own_model"]), (&json!("own"), &json!(true)));
    assert_eq!(center.answer().await.unwrap().as_deref(), Some("One's own."));
    assert_eq!(center.own.asked()[0].authorization, Some(format!("Bearer {OWN_KEY}")));
    assert_eq!(center.own.asked()[0].body["model"], "own");
    assert_eq!(center.deployments.asked().len(), 1);
    // By its own prices: 100 tokens for 15 millionths of a dollar, and 2 for 1.2.
    assert_eq!(rows(&center.app.db, center.tenant).await[1].usd, Some(0.000_017));
    // Another tenant has nothing of it.
    let other = center.app.db.tenant("globex").await.id;
    assert_eq!(center.app.llm.for_tenant(other).await.unwrap().unwrap().name(), scripted_llm::MODEL);

    let extractive = center.set(&json!({ "provider": "extractive" })).await;
    assert_eq!(extractive["in_use"]["provider"], "extractive");
    assert_eq!(extractive["api_key"]["is_set"], false, "the key went with its model");
    assert_eq!(center.answer().await.unwrap(), None);
    assert_eq!(center.set(&json!({})).await, untouched);
    assert_eq!(center.answer().await.unwrap().as_deref(), Some("The deployment's."));
}

#[tokio::test]
async fn a_key_is_encrypted_shown_to_nobody_and_sent_to_its_own_server_only() {
    let center = Center::new().await;
    center.set(&center.own_model()).await;
    let stored: Vec<u8> = sqlx::query_scalar("select api_key from llm_settings")
        .fetch_one(&mut center.app.db.owner().await)
        .await
        .unwrap();
    assert!(!stored.windows(6).any(|part| part == b"canary"));
    let audit = "select action || ' ' || actor || details::text from audit_log where action like 'language_model%'";
    let audited: Vec<String> = sqlx::query_scalar(audit).fetch_all(&mut center.app.db.owner().await).await.unwrap();
    assert_eq!(audited.len(), 1);
    assert!(audited[0].starts_with("language_model.changed person:person-1") && !audited[0].contains("canary"));
    assert!(audited[0].contains("\"has_api_key\": true"), "{audited:?}");

    // Left out, it stays.
    let mut kept = center.own_model();
    kept.as_object_mut().unwrap().remove("api_key");
    kept["model"] = json!("another");
    assert_eq!(center.set(&kept).await["api_key"]["ends_with"], "wxyz");
    center.answer().await.unwrap();
    assert_eq!(center.own.asked()[0].authorization, Some(format!("Bearer {OWN_KEY}")));
    // But not for another address: that one would be given the key.
    let mut elsewhere = kept.clone();
    elsewhere["base_url"] = json!("https://8.8.8.8/v1");
    assert!(center.refused(&elsewhere).await.contains("`api_key`: give the key anew"));
    elsewhere["api_key"] = Value::Null;
    assert_eq!(center.set(&elsewhere).await["api_key"], json!({ "is_set": false, "ends_with": null }));
    // The end of a short one would be much of it.
    let mut short = center.own_model();
    short["api_key"] = json!("sk-12345");
    assert_eq!(center.set(&short).await["api_key"], json!({ "is_set": true, "ends_with": null }));
}

#[tokio::test]
async fn without_the_secret_keys_are_not_kept_and_with_another_one_not_read() {
    let center = Center::with(None).await;
    let (status, problem) = center.put(&center.own_model()).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("not_possible")));
    assert!(problem["detail"].as_str().unwrap().contains("SECRETS_KEY"), "{problem}");
    let mut without = center.own_model();
    without["api_key"] = Value::Null;
    center.set(&without).await;
    assert_eq!(center.answer().await.unwrap().as_deref(), Some("One's own."));
    assert_eq!(center.own.asked()[0].authorization, None);

    let center = Center::new().await;
    center.set(&center.own_model()).await;
    for other in [Some(secrets("b")), None] {
        let config = LlmConfig { allowed_hosts: vec![center.own.host().parse().unwrap()], ..no_language_model() };
        let clock = center.app.clock.clone();
        let llm = shared::llm::Llm::new(&config, other, center.app.db.database.clone(), clock).unwrap();
        let error = llm.for_tenant(center.tenant).await.unwrap_err();
        assert!(matches!(&error, LlmError::Misconfigured(told) if told.contains("SECRETS_KEY")), "{error}");
        assert_eq!(error.reason(), Reason::ProviderDown);
    }
    assert!(center.own.asked().is_empty());
}

#[tokio::test]
async fn a_model_of_ones_own_is_not_in_a_private_network() {
    let center = Center::new().await;
    let port = center.deployments.base_url().rsplit(':').next().unwrap().to_owned();
    for address in [
        format!("https://127.0.0.1:{port}"),
        format!("https://localhost:{port}"),
        format!("https://[::1]:{port}"),
        format!("https://[::ffff:127.0.0.1]:{port}"),
        format!("https://0x7f.1:{port}"),
        format!("https://2130706433:{port}"),
        "https://169.254.169.254/latest".to_owned(),
        "https://10.0.0.1/v1".to_owned(),
        "https://[fd00:ec2::254]/v1".to_owned(),
    ] {
        let told = center.refused(&json!({ "provider": "openai", "base_url": address, "model": "m" })).await;
        assert!(told.contains("`base_url`: it leads into a private network"), "{address}: {told}");
    }
    for (address, told) in [
        ("http://8.8.8.8/v1", "https://"),
        ("https://no-such-host.invalid/v1", "cannot be found"),
        ("https://user:canary@8.8.8.8/v1", "no user and password"),
        ("https://8.8.8.8/v1/chat/completions", "leave out"),
        ("ftp://8.8.8.8/v1", "http"),
        ("nonsense", "relative"),
    ] {
        let body = json!({ "provider": "openai", "base_url": address, "model": "m" });
        let refused = center.refused(&body).await;
        assert!(refused.contains(told), "{address}: {refused}");
    }
    // An address that was allowed when it was set, and is no longer.
    center.set(&center.own_model()).await;
    let config = LlmConfig { model: None, ..no_language_model() };
    let clock = center.app.clock.clone();
    let llm = shared::llm::Llm::new(&config, Some(secrets("a")), center.app.db.database.clone(), clock).unwrap();
    let error = llm.for_tenant(center.tenant).await.unwrap_err();
    assert!(matches!(&error, LlmError::Misconfigured(told) if told.contains("https://")), "{error}");
    // A server that is allowed leads nowhere else.
    let elsewhere = vec![("location", format!("{}/chat/completions", center.deployments.base_url()))];
    center.own.reply_with([Reply::Status(307, elsewhere, String::new())]);
    let error = center.answer().await.unwrap_err();
    assert!(error.to_string().contains("307"), "{error}");
    assert!(center.deployments.asked().is_empty());
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused_in_words() {
    let center = Center::new().await;
    let own = center.own_model();
    let with = |field: &str, value: Value| {
        let mut body = own.clone();
        body[field] = value;
        body
    };
    for (body, told) in [
        (json!({ "provider": "anthropic" }), "`provider` must be"),
        (with("model", Value::Null), "`model`: the provider `openai` needs"),
        (with("model", json!("two words")), "one word"),
        (with("api_key", json!("sk with canary")), "`api_key`: it has characters that no key has"),
        (with("api_key", json!("")), "1 to 1000"),
        (with("price_input", Value::Null), "`price_input`: give both prices"),
        (with("price_output", json!(-1)), "`price_output`: it must be an amount"),
        (with("price_output", json!(1e300)), "`price_output`: it must be an amount"),
        (with("daily_budget_usd", json!(2_000_000)), "`daily_budget_usd`"),
        (with("daily_budget_tokens", json!(-5)), "`daily_budget_tokens`"),
        (with("nonsense", json!(1)), "unknown field `nonsense`"),
        (json!({ "provider": "extractive", "model": "m" }), "`model`: it is for the provider `openai`"),
        (json!({ "api_key": "sk-canary" }), "`api_key`: it is for the provider `openai`"),
    ] {
        let refused = center.refused(&body).await;
        assert!(refused.contains(told), "{body}: {refused}");
    }
}

#[tokio::test]
async fn a_tenant_may_spend_less_of_the_operators_money_but_not_more() {
    let center = Center::new().await;
    let generous = json!({ "daily_budget_usd": 1000, "daily_budget_tokens": 5_000_000_000_u64 });
    let in_use = center.set(&generous).await["in_use"].clone();
    assert_eq!((&in_use["daily_budget_usd"], &in_use["daily_budget_tokens"]), (&json!(5.0), &json!(1_000_000)));
    let mut own = center.own_model();
    own["daily_budget_usd"] = json!(1000);
    assert_eq!(center.set(&own).await["in_use"]["daily_budget_usd"], json!(1000.0), "its own");
    center.set(&json!({ "daily_budget_tokens": 0 })).await;
    assert!(matches!(center.answer().await, Err(LlmError::Budget(_))));
    assert!(center.deployments.asked().is_empty());
}

#[tokio::test]
async fn what_was_spent_is_listed_by_day() {
    let center = Center::new().await;
    center.answer().await.unwrap();
    center.deployments.reply_with([Reply::uncounted("Hm.")]);
    center.answer().await.unwrap();
    center.app.clock.advance(chrono::TimeDelta::days(1));
    let mut own = center.own_model();
    (own["price_input"], own["price_output"]) = (Value::Null, Value::Null);
    center.set(&own).await;
    center.answer().await.unwrap();
    center.own.reply_with([Reply::wrong_model()]);
    center.answer().await.unwrap_err();

    let (status, usage) = center.app.get(USAGE, &center.admin()).await;
    assert_eq!(status, StatusCode::OK, "{usage}");
    let expected = json!({
        "results": [
            {
                "day": "2026-06-02", "calls": 2, "unfinished_calls": 1, "estimated_calls": 0, "input_tokens": 100,
                "output_tokens": 2, "usd": 0.0, "calls_without_price": 2,
            },
            {
                "day": "2026-06-01", "calls": 2, "unfinished_calls": 0, "estimated_calls": 1, "input_tokens": 119,
                "output_tokens": 3, "usd": 0.000_125, "calls_without_price": 0,
            },
        ],
        "today": {
            "calls": 2, "calls_without_price": 2, "tokens": 102, "daily_budget_tokens": 1_000_000, "usd": 0.0,
            "daily_budget_usd": 5.0,
        },
    });
    assert_eq!(usage, expected);
    let results = async |query: &str| {
        let (status, usage) = center.app.get(&format!("{USAGE}?{query}"), &center.admin()).await;
        assert_eq!(status, StatusCode::OK, "{usage}");
        usage["results"].as_array().unwrap().len()
    };
    assert_eq!(results("from=2026-06-02").await, 1);
    assert_eq!(results("from=2026-05-01&to=2026-06-01").await, 1);
    assert_eq!(results("from=2025-06-01&to=2026-05-31").await, 0);
    for (query, told) in [
        ("from=yesterday", "`from` must be a day"),
        ("to=2026-13-01", "`to` must be a day"),
        ("from=2026-06-03&to=2026-06-02", "`from` must not be after `to`"),
        ("from=2020-01-01", "400 days"),
        ("to=-262143-01-01", "`to` must be a day"),
    ] {
        let (status, problem) = center.app.get(&format!("{USAGE}?{query}"), &center.admin()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{query}: {problem}");
    }
    // Nobody else's.
    center.app.db.tenant("globex").await;
    let (_, other) = center.app.get(USAGE, &center.app.token("globex", &["admin"])).await;
    assert_eq!((&other["results"], &other["today"]["tokens"]), (&json!([]), &json!(0)));
}
