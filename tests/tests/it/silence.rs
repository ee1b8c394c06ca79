//! A connection to PostgreSQL that says nothing any more costs a request, never the API.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use tests::{Settings, TestApp};

const ARTICLES: &str = "/api/v2/help-center/articles/";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// An API with a single connection to PostgreSQL, and a reader's token for it.
async fn with_one_connection() -> (TestApp, String) {
    let settings =
        Settings { with_model: false, with_proxy: true, request_timeout: REQUEST_TIMEOUT, ..Settings::default() };
    let app = TestApp::start_with(settings).await;
    app.db.tenant("acme").await;
    let token = app.token("acme", &[]);
    assert_eq!(app.get(ARTICLES, &token).await.0, StatusCode::OK);
    (app, token)
}

#[tokio::test]
async fn an_idle_connection_that_fell_silent_is_replaced_within_two_seconds() {
    let (app, token) = with_one_connection().await;
    // Until the connection is not fresh any more.
    tokio::time::sleep(Duration::from_millis(500)).await;
    app.postgres.as_ref().unwrap().silence_connections();
    let asked = Instant::now();
    assert_eq!(app.get(ARTICLES, &token).await.0, StatusCode::OK);
    let took = asked.elapsed();
    assert!((1900..2900).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn a_request_whose_connection_falls_silent_is_given_up_in_its_time_and_the_next_one_is_served() {
    let (app, token) = with_one_connection().await;
    let mut owner = app.db.owner().await;
    // So that the request is in the middle of its transaction.
    sqlx::raw_sql("begin; lock table articles in access exclusive mode").execute(&mut owner).await.unwrap();
    let asked = Instant::now();
    let (answer, ()) = tokio::join!(app.get(ARTICLES, &token), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        app.postgres.as_ref().unwrap().silence_connections();
        sqlx::raw_sql("rollback").execute(&mut owner).await.unwrap();
    });
    let took = asked.elapsed();
    assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.1["code"], "service_unavailable");
    assert!(answer.1["detail"].as_str().unwrap().starts_with("This took too long"), "{}", answer.1);
    assert!((2900..3900).contains(&took.as_millis()), "{took:?}");

    // The only place in the pool is free again once the connection has given no sign of life.
    let asked = Instant::now();
    assert_eq!(app.get(ARTICLES, &token).await.0, StatusCode::OK);
    let took = asked.elapsed();
    assert!(took < Duration::from_millis(2900), "{took:?}");
}
