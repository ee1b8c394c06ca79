//! What servers do, and how calls end then.

use std::time::{Duration, Instant};

use serde_json::json;
use shared::llm::{Delta, Finish, LlmError, Purpose, Reason, Usage};
use tests::scripted_llm::{KEY, MODEL, Reply, Step};

use super::{PROMPT_TOKENS, Row, World, listen, prompt, within};
use crate::queue::support::eventually;

/// More than any limit of these worlds.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn an_answer_comes_piece_by_piece_and_what_it_cost_is_kept() {
    let world = World::new([Reply::text("The porter keeps them.")]).await;
    let answer = world.ask().await.unwrap();
    let (text, end) = listen(answer).await;
    let usage = Usage { input_tokens: 100, output_tokens: 4, is_estimated: false };
    assert_eq!((text.as_str(), end.unwrap()), ("The porter keeps them.", (Finish::Stop, usage)));
    let asked = world.server.asked();
    assert_eq!(asked[0].authorization, Some(format!("Bearer {KEY}")));
    assert_eq!(
        asked[0].body,
        json!({
            "model": MODEL,
            "messages": [
                { "role": "system", "content": "Answer briefly." },
                { "role": "user", "content": "Who keeps the hidden keys?" },
            ],
            "temperature": 0.0, "max_tokens": 200, "stream": true, "stream_options": { "include_usage": true },
        })
    );
    let rows = world.rows().await;
    assert!(rows[0].first_token_ms.is_some());
    let row = Row {
        outcome: Some("done".to_owned()),
        input_tokens: 100,
        output_tokens: 4,
        is_estimated: false,
        usd: Some(0.000_108),
        first_token_ms: rows[0].first_token_ms,
    };
    assert_eq!(rows, [row]);
}

#[tokio::test]
async fn a_server_that_does_not_count_is_counted_for() {
    let world = World::new([Reply::uncounted("Nobody does.")]).await;
    let (_, end) = listen(world.ask().await.unwrap()).await;
    let usage = Usage { input_tokens: PROMPT_TOKENS.unsigned_abs(), output_tokens: 3, is_estimated: true };
    assert_eq!(end.unwrap(), (Finish::Stop, usage));
    assert!(world.rows().await[0].is_estimated);
}

#[tokio::test]
async fn without_a_text_a_call_ends_in_time_and_says_why() {
    let broken = || Reply::Stream(vec![Step::Break]);
    let garbage = Reply::Stream(vec![Step::Data("hidden".to_owned())]);
    let failing_inside = Reply::Stream(vec![Step::Data(r#"{"error":{"message":"hidden"}}"#.to_owned())]);
    for (reply, told, outcome, requests, input_tokens) in [
        (Reply::Silence, "no text within 1.5s", "timed_out", 1, PROMPT_TOKENS),
        (Reply::slow(Duration::from_secs(30), "late"), "no text within 1.5s", "timed_out", 1, PROMPT_TOKENS),
        (Reply::busy(60), "429", "rate_limited", 1, 0),
        (Reply::failing(), "500", "failed", 3, 0),
        (failing_inside, "500", "failed", 3, 0),
        (Reply::wrong_model(), "404", "refused", 1, 0),
        (
            Reply::Status(302, vec![("location", "http://127.0.0.1:1/".to_owned())], String::new()),
            "302",
            "refused",
            1,
            0,
        ),
        (broken(), "connection broke", "unreachable", 3, 0),
        (garbage, "cannot be read", "wrong_answer", 1, PROMPT_TOKENS),
        (Reply::Status(200, vec![], "<html>hidden</html>".to_owned()), "broke off", "cut", 1, PROMPT_TOKENS),
        (Reply::empty(), "empty", "empty", 1, 100),
        (Reply::ends_after(""), "broke off", "cut", 1, PROMPT_TOKENS),
    ] {
        let name = format!("{reply:?}");
        let world = World::new([reply]).await;
        let error = within(SOON, &name, world.ask()).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains(told) && !message.contains("hidden"), "{name}: {message}");
        assert_eq!(error.reason(), Reason::ProviderDown, "{name}");
        assert_eq!(world.server.asked().len(), requests, "{name}");
        let rows = world.rows().await;
        assert_eq!(rows.len(), 1, "{name}");
        let found = (rows[0].outcome.as_deref(), rows[0].input_tokens, rows[0].output_tokens, rows[0].first_token_ms);
        assert_eq!(found, (Some(outcome), input_tokens, 0, None), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_in_time() {
    let world = World::with([Reply::Silence], |config| {
        config.model.as_mut().unwrap().base_url = "http://127.0.0.1:1/v1".parse().unwrap();
    })
    .await;
    let error = within(SOON, "the call", world.ask()).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert_eq!(world.rows().await[0].outcome.as_deref(), Some("unreachable"));
}

#[tokio::test]
async fn after_the_first_text_nothing_is_asked_again_and_the_error_says_that_it_is_not_all() {
    let said = "The porter ";
    for (reply, told, outcome) in [
        (Reply::stalls_after(said), "fell silent for 1s", "timed_out"),
        (Reply::malformed_after(said), "cannot be read", "wrong_answer"),
        (Reply::breaks_after(said), "broke off", "cut"),
        (Reply::ends_after(said), "broke off", "cut"),
    ] {
        let name = format!("{reply:?}");
        let world = World::new([reply, Reply::text("never asked for")]).await;
        let (text, end) = within(SOON, &name, async { listen(world.ask().await.unwrap()).await }).await;
        let error = end.unwrap_err();
        let message = error.to_string();
        assert!(message.contains(told) && !message.contains("hidden"), "{name}: {message}");
        assert_eq!((text.as_str(), error.reason()), (said, Reason::ProviderDown), "{name}");
        assert_eq!(world.server.asked().len(), 1, "{name}");
        let rows = world.rows().await;
        let found = (rows[0].outcome.as_deref(), rows[0].input_tokens, rows[0].output_tokens, rows[0].is_estimated);
        assert_eq!(found, (Some(outcome), PROMPT_TOKENS, 3, true), "{name}");
    }
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_says_and_one_that_failed_soon() {
    for (first, least) in [(Reply::busy(1), Duration::from_secs(1)), (Reply::failing(), Duration::from_millis(300))] {
        let name = format!("{first:?}");
        let world = World::new([first, Reply::text("Well.")]).await;
        let began = Instant::now();
        let (text, end) = within(SOON, &name, async { listen(world.ask().await.unwrap()).await }).await;
        assert!(end.is_ok() && text == "Well." && began.elapsed() >= least, "{name}: {:?}", began.elapsed());
        assert_eq!(world.server.asked().len(), 2, "{name}");
        assert_eq!(world.rows().await.len(), 1, "{name}: a call has one line");
    }
}

#[tokio::test]
async fn a_model_that_takes_no_temperature_is_asked_without_one_from_then_on() {
    let refusing = json!({ "error": { "param": "temperature", "code": "unsupported_value" } });
    let world = World::new([Reply::Status(400, vec![], refusing.to_string()), Reply::text("Well.")]).await;
    for _ in 0..2 {
        assert_eq!(listen(world.ask().await.unwrap()).await.0, "Well.");
    }
    let sent: Vec<bool> = world.server.asked().iter().map(|asked| asked.body.get("temperature").is_some()).collect();
    assert_eq!(sent, [true, false, false]);
}

#[tokio::test]
async fn an_answer_is_no_longer_than_was_asked_for_whatever_the_server_does() {
    let world = World::new([Reply::endless()]).await;
    let (text, end) = within(SOON, "the answer", async { listen(world.ask().await.unwrap()).await }).await;
    assert_eq!(text.len(), 8 * 200);
    let (finish, usage) = end.unwrap();
    assert_eq!((finish, usage.output_tokens, usage.is_estimated), (Finish::Length, 400, true));
    eventually("the connection is closed", async || (world.server.abandoned() == 1).then_some(())).await;
    // Nobody is asked for more than the deployment allows.
    let mut prompt = prompt();
    prompt.max_output_tokens = 100_000;
    drop(world.model().await.ask(Purpose::Draft, None, prompt).await.unwrap());
    assert_eq!(world.server.asked()[1].body["max_tokens"], 200);
}

#[tokio::test]
async fn a_slow_answer_ends_with_the_time_for_the_whole_call() {
    let slowly = (0..100).flat_map(|_| [Step::Text("and ".to_owned()), Step::Wait(Duration::from_millis(400))]);
    let world = World::with([Reply::Stream(slowly.collect())], |config| {
        config.limits.total = Duration::from_secs(2);
    })
    .await;
    let began = Instant::now();
    let (text, end) = listen(world.ask().await.unwrap()).await;
    assert!(matches!(end, Err(LlmError::TooSlow(_))), "{end:?}");
    assert!(text.starts_with("and and ") && began.elapsed() < Duration::from_secs(4), "{text}");
}

#[tokio::test]
async fn whoever_leaves_closes_the_connection_and_pays_for_what_was_said() {
    let world = World::with([Reply::stalls_after("The porter ")], |config| {
        config.limits.idle = Duration::from_secs(60);
        config.limits.first_token = Duration::from_secs(60);
        config.limits.total = Duration::from_secs(60);
    })
    .await;
    let mut answer = world.ask().await.unwrap();
    let first = futures::StreamExt::next(&mut answer).await.unwrap().unwrap();
    assert_eq!(first, Delta::Text("The ".to_owned()));
    drop(answer);
    // Before there was a text, too.
    world.server.reply_with([Reply::Silence]);
    let model = world.model().await;
    let asking = model.ask(Purpose::Answer, None, prompt());
    assert!(tokio::time::timeout(Duration::from_millis(300), asking).await.is_err());
    eventually("both connections are closed", async || (world.server.abandoned() == 2).then_some(())).await;
    let rows = eventually("both calls are settled", async || {
        let rows = world.rows().await;
        rows.iter().all(|row| row.outcome.is_some()).then_some(rows)
    })
    .await;
    let found: Vec<_> = rows.iter().map(|row| (row.outcome.as_deref().unwrap(), row.input_tokens)).collect();
    assert_eq!(found, [("cancelled", PROMPT_TOKENS), ("cancelled", PROMPT_TOKENS)]);
    assert!(rows[0].output_tokens > 0 && rows[1].output_tokens == 0, "{rows:?}");
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_left_alone_by_everybody() {
    let world = World::new([Reply::failing()]).await;
    for _ in 0..2 {
        world.ask().await.unwrap_err();
    }
    assert_eq!(world.server.asked().len(), 5, "three and two: the circuit has opened by then");
    let other = world.db.tenant("globex").await.id;
    let model = world.llm.for_tenant(other).await.unwrap().unwrap();
    for _ in 0..10 {
        let began = Instant::now();
        let error = model.ask(Purpose::Answer, None, prompt()).await.unwrap_err();
        assert!(matches!(error, LlmError::CircuitOpen), "{error}");
        assert!(error.reason() == Reason::ProviderDown && began.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(world.server.asked().len(), 5);
    assert_eq!(super::rows(&world.db, other).await, [], "what was not sent is not in the ledger");
    // After a rest, one may try.
    world.server.reply_with([Reply::text("Back.")]);
    let answer = eventually("it is asked again", async || world.ask().await.ok()).await;
    assert_eq!(listen(answer).await.0, "Back.");
    world.ask().await.unwrap();
}

#[tokio::test]
async fn questions_that_are_refused_and_answers_without_a_word_do_not_take_the_server_from_others() {
    let refusing = Reply::Status(400, vec![], json!({ "error": { "code": "context_length_exceeded" } }).to_string());
    for reply in [refusing, Reply::empty()] {
        let world = World::new([reply]).await;
        for _ in 0..6 {
            world.ask().await.unwrap_err();
        }
        assert_eq!(world.server.asked().len(), 6);
    }
}

#[tokio::test]
async fn answers_of_many_people_at_once_do_not_mix() {
    let world = World::new([Reply::Computed(std::sync::Arc::new(|question| {
        Reply::text(&format!("You said: {}", question["messages"][0]["content"].as_str().unwrap()))
    }))])
    .await;
    let model = world.model().await;
    let asking = (0..30).map(|n| {
        let model = model.clone();
        async move {
            let mut prompt = prompt();
            prompt.messages = vec![shared::llm::Message::user(format!("I am number {n}."))];
            let (text, end) = listen(model.ask(Purpose::Answer, None, prompt).await.unwrap()).await;
            assert!(end.is_ok());
            assert_eq!(text, format!("You said: I am number {n}."));
        }
    });
    futures::future::join_all(asking).await;
    assert_eq!(world.rows().await.len(), 30);
}

#[tokio::test]
async fn metrics_tell_what_happened() {
    let world = World::new([Reply::text("Hi.")]).await;
    listen(world.ask().await.unwrap()).await.1.unwrap();
    let metrics = String::from_utf8(shared::telemetry::metrics::render()).unwrap();
    for line in [
        "helpcenter_llm_requests_total{outcome=\"done\",owner=\"deployment\"} ",
        "helpcenter_llm_requests_total{outcome=\"over_budget\",owner=\"tenant\"} ",
        "helpcenter_llm_tokens_total{direction=\"output\",owner=\"deployment\"} ",
        "helpcenter_llm_usd_total{owner=\"deployment\"} ",
        "helpcenter_llm_first_token_seconds_count{owner=\"deployment\"} ",
        "helpcenter_llm_duration_seconds_count{owner=\"deployment\"} ",
        "helpcenter_llm_circuit_open{owner=\"deployment\"} ",
        "helpcenter_llm_budget_refusals_total{budget=\"usd\"} ",
        "helpcenter_llm_budget_alerts_total{budget=\"tokens\"} ",
        "helpcenter_llm_budget_used_ratio{budget=\"tokens\"} ",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let done = metrics
        .lines()
        .find_map(|l| l.strip_prefix("helpcenter_llm_requests_total{outcome=\"done\",owner=\"deployment\"} "));
    assert!(done.unwrap().parse::<u64>().unwrap() >= 1);
}
