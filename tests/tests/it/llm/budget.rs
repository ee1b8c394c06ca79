//! No tenant spends more in a day than it may, however many ask at once; and what was spent is told.

use std::time::Duration;

use futures::future::join_all;
use shared::llm::{BudgetKind, LlmError, Purpose, Reason, Usd, ledger};
use tests::scripted_llm::Reply;

use super::{PROMPT_TOKENS, World, listen, prompt};
use crate::queue::support::eventually;

/// The most that one call can cost: the prompt, and 200 tokens.
const WORST: u64 = PROMPT_TOKENS.unsigned_abs() as u64 + 200;
/// The same in millionths of a dollar, by the prices of the scripted server.
const WORST_MICROS: i64 = PROMPT_TOKENS as i64 + 400;

/// How twenty calls at once end: those with an answer, and the budgets of the others.
async fn twenty_at_once(world: &World) -> (usize, Vec<BudgetKind>) {
    let model = world.model().await;
    let ended = join_all((0..20).map(|_| async {
        match model.ask(Purpose::Answer, None, prompt()).await {
            Ok(answer) => {
                listen(answer).await.1.unwrap();
                None
            }
            Err(LlmError::Budget(kind)) => Some(kind),
            Err(other) => panic!("{other}"),
        }
    }))
    .await;
    let refused: Vec<BudgetKind> = ended.iter().copied().flatten().collect();
    (ended.len() - refused.len(), refused)
}

async fn alerts(world: &World) -> Vec<(String, String)> {
    let sql = "select day::text, budget from llm_budget_alerts order by 1, 2";
    sqlx::query_as(sql).fetch_all(&mut world.db.owner().await).await.unwrap()
}

#[tokio::test]
async fn calls_at_the_same_time_do_not_spend_the_same_tokens() {
    // Slow enough for all to be under way together.
    let slow = Reply::slow(Duration::from_millis(700), "Yes.");
    let world = World::with([slow], |config| config.budget.tokens = 5 * WORST + 10).await;
    let (answered, refused) = twenty_at_once(&world).await;
    assert_eq!((answered, refused), (5, vec![BudgetKind::Tokens; 15]));
    let rows = world.rows().await;
    assert_eq!(rows.len(), 5, "what was refused is not in the ledger");
    // They were cheaper than they could have been, 101 tokens each, so that there is room for two more.
    assert!(world.ask().await.is_ok());
    assert_eq!(world.server.asked().len(), 6);
    let error = LlmError::Budget(BudgetKind::Tokens);
    assert_eq!((error.reason(), error.reason().as_str()), (Reason::Budget, "budget"));
    // Tomorrow is another day.
    world.clock.advance(chrono::TimeDelta::days(1));
    assert_eq!(twenty_at_once(&world).await.0, 5);
}

#[tokio::test]
async fn calls_at_the_same_time_do_not_spend_the_same_money() {
    let slow = Reply::slow(Duration::from_millis(700), "Yes.");
    let world = World::with([slow], |config| config.budget.usd = Usd::from_micros(3 * WORST_MICROS)).await;
    assert_eq!(twenty_at_once(&world).await, (3, vec![BudgetKind::Usd; 17]));
    // Another tenant has a budget of its own.
    let other = world.db.tenant("globex").await.id;
    let model = world.llm.for_tenant(other).await.unwrap().unwrap();
    listen(model.ask(Purpose::Answer, None, prompt()).await.unwrap()).await.1.unwrap();
}

#[tokio::test]
async fn without_prices_only_tokens_are_counted_and_money_is_unknown() {
    let world = World::with([Reply::text("Yes.")], |config| {
        config.model.as_mut().unwrap().prices = None;
        config.budget.usd = Usd::from_micros(0);
        config.budget.tokens = WORST + 150;
    })
    .await;
    listen(world.ask().await.unwrap()).await.1.unwrap();
    assert_eq!(world.rows().await[0].usd, None);
    let mut tx = world.db.database.tenant(world.tenant).await.unwrap();
    let today = ledger::used_today(&mut tx, world.clock.now()).await.unwrap();
    assert_eq!((today.calls, today.calls_without_price, today.tokens, today.usd), (1, 1, 101, Usd::default()));
    drop(tx);
    listen(world.ask().await.unwrap()).await.1.unwrap();
    assert!(matches!(world.ask().await, Err(LlmError::Budget(BudgetKind::Tokens))));
}

#[tokio::test]
async fn most_of_a_budget_is_told_once_a_day() {
    // Each costs 101 tokens and 102 millionths of a dollar.
    let world = World::with([Reply::text("Yes.")], |config| config.budget.tokens = 3 * 101 + WORST).await;
    for asked in 1..=4 {
        listen(world.ask().await.unwrap()).await.1.unwrap();
        assert_eq!(alerts(&world).await.len(), 0, "{asked}: {} of {}", asked * 101, 3 * 101 + WORST);
    }
    let today = ("2026-06-01".to_owned(), "tokens".to_owned());
    for _ in 0..3 {
        // By now what is left is less than a call may cost.
        assert!(matches!(world.ask().await, Err(LlmError::Budget(BudgetKind::Tokens))));
        assert_eq!(
            alerts(&world).await,
            std::slice::from_ref(&today),
            "a refusal is told, although 80 % are not reached"
        );
    }
    world.clock.advance(chrono::TimeDelta::days(1));
    listen(world.ask().await.unwrap()).await.1.unwrap();
    assert_eq!(alerts(&world).await, [today]);
}

#[tokio::test]
async fn eighty_percent_are_told_while_there_still_is_some_left() {
    // Five calls of 101 and 102 are over 80 %, and leave room for another one.
    let world = World::with([Reply::text("Yes.")], |config| {
        config.limits.max_output_tokens = 16;
        config.budget.tokens = 600;
        config.budget.usd = Usd::from_micros(620);
    })
    .await;
    for _ in 0..4 {
        listen(world.ask().await.unwrap()).await.1.unwrap();
    }
    assert_eq!(alerts(&world).await, []);
    listen(world.ask().await.unwrap()).await.1.unwrap();
    let told = |budget: &str| ("2026-06-01".to_owned(), budget.to_owned());
    assert_eq!(alerts(&world).await, [told("tokens"), told("usd")]);
    listen(world.ask().await.unwrap()).await.1.unwrap();
    assert_eq!(alerts(&world).await.len(), 2);
}

#[tokio::test]
async fn a_call_whose_process_died_counts_as_the_most_that_it_could_cost() {
    let world = World::with([Reply::Silence], |config| {
        config.budget.tokens = 2 * WORST;
        config.limits.first_token = Duration::from_secs(60);
        config.limits.total = Duration::from_secs(60);
    })
    .await;
    // A runtime that is gone in the middle, as a process that is killed.
    let (config, clock, url, tenant) = (world.config.clone(), world.clock.clone(), world.db.url.clone(), world.tenant);
    let doomed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = shared::db::Database::open(&shared::config::DatabaseConfig {
                url,
                max_connections: 2,
                acquire_timeout: Duration::from_secs(20),
                statement_timeout: Duration::from_secs(30),
            });
            let llm = shared::llm::Llm::new(&config, None, database.unwrap(), clock).unwrap();
            let model = llm.for_tenant(tenant).await.unwrap().unwrap();
            let _ = tokio::time::timeout(Duration::from_secs(2), model.ask(Purpose::Answer, None, prompt())).await;
        });
        runtime.shutdown_background();
    });
    eventually("it is under way", async || (world.server.asked().len() == 1).then_some(())).await;
    tokio::task::spawn_blocking(move || doomed.join().unwrap()).await.unwrap();
    let row = &world.rows().await[0];
    assert_eq!((row.outcome.as_deref(), row.input_tokens, row.output_tokens), (None, PROMPT_TOKENS, 200));
    // One more fits beside it, and what that has left is less than a third one could cost.
    world.server.reply_with([Reply::uncounted("Yes.")]);
    listen(world.ask().await.unwrap()).await.1.unwrap();
    let error = world.ask().await.unwrap_err();
    assert!(matches!(error, LlmError::Budget(BudgetKind::Tokens)), "{error}");
    let mut tx = world.db.database.tenant(world.tenant).await.unwrap();
    let used = ledger::used_today(&mut tx, world.clock.now() + chrono::TimeDelta::hours(1)).await.unwrap();
    assert!(used.tokens >= i64::try_from(WORST).unwrap(), "{used:?}");
    let days = ledger::usage_by_day(
        &mut tx,
        "2026-06-01".parse().unwrap(),
        "2026-06-01".parse().unwrap(),
        world.clock.now() + chrono::TimeDelta::hours(1),
    );
    assert_eq!(days.await.unwrap()[0].unfinished_calls, 1);
}
