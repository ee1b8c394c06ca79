//! What was asked stays with whoever asked: they read it again, keep it and erase it, and nobody else sees it but staff.

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, HOST},
};
use serde_json::{Value, json};
use shared::{
    assistant::{self, Asker, retention},
    auth::{Roles, api_key},
};
use tests::processes::built;
use uuid::Uuid;

use crate::asking::{ADMIN, ASK, World};

const QUESTION: &str = "How do I reset my password?";

fn conversations() -> String {
    format!("{ASK}conversations/")
}

fn conversation(session: &str) -> String {
    format!("{ASK}conversations/{session}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_listed_read_again_and_kept_as_a_document() {
    let world = World::new().await;
    let first = world.ask(&world.ada, "monday", QUESTION).await;
    world.ask(&world.ada, "tuesday", "Which planet is the largest in our solar system?").await;
    world.ask(&world.ada, "monday", "How do I download an invoice?").await;
    let mut tx = world.tx().await;
    let id: Uuid = first["answer_id"].as_str().unwrap().parse().unwrap();
    assert!(assistant::rate(&mut tx, &Asker::person("ada"), id, true, Some("# Thanks")).await.unwrap());
    tx.commit().await.unwrap();

    let listed = world.get(&conversations(), &world.ada).await;
    let sessions: Vec<(&Value, &Value)> =
        listed["results"].as_array().unwrap().iter().map(|line| (&line["session_id"], &line["questions"])).collect();
    assert_eq!(sessions, [(&json!("monday"), &json!(2)), (&json!("tuesday"), &json!(1))]);
    let page = world.get(&format!("{}?limit=1", conversations()), &world.ada).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = world.get(&format!("{}?limit=1&cursor={cursor}", conversations()), &world.ada).await;
    assert_eq!((&page["results"][0]["session_id"], &page["next_cursor"]), (&json!("tuesday"), &Value::Null));

    let transcript = world.get(&conversation("monday"), &world.ada).await;
    let exchanges = transcript["exchanges"].as_array().unwrap();
    assert_eq!(exchanges.len(), 2);
    for (field, value) in [
        ("question", json!(QUESTION)),
        ("answer", first["answer"].clone()),
        ("html", first["html"].clone()),
        ("citations", first["citations"].clone()),
        ("outcome", json!("answered")),
        ("helpful", json!(true)),
        ("comment", json!("# Thanks")),
        ("withheld", json!(false)),
    ] {
        assert_eq!(exchanges[0][field], value, "{field}");
    }
    let refused = world.get(&conversation("tuesday"), &world.ada).await;
    assert_eq!(refused["exchanges"][0]["reason"], "missing_knowledge", "{refused}");

    let path = format!("{}?format=markdown", conversation("monday"));
    let document = world.request(Method::GET, &path, &world.ada).send().await.unwrap();
    assert_eq!(document.headers()["content-type"], "text/markdown; charset=utf-8");
    assert!(document.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let text = document.text().await.unwrap();
    for part in ["reset my password", &format!("({}/articles/password/)", world.app.url), "Found helpful", "\\# Thanks"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(world.status(Method::GET, &format!("{}?format=pdf", conversation("monday")), &world.ada).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_conversation_leaves_nothing_behind() {
    let world = World::new().await;
    let answer = world.ask(&world.ada, "monday", QUESTION).await;
    let body = json!({ "session_id": "monday" });
    assert_eq!(world.app.post(&format!("{ASK}handovers/"), &world.ada, &body).await.0, StatusCode::OK);
    world.ask(&world.ada, "tuesday", "How do I download an invoice?").await;
    let rows = async || {
        let mut counts = Vec::new();
        for table in ["conversations", "answers", "answer_cache", "handovers"] {
            counts.push(world.number(&format!("select count(*) from {table}")).await);
        }
        counts
    };
    assert_eq!(rows().await, [2, 2, 2, 1]);
    assert_eq!(world.status(Method::DELETE, &conversation("monday"), &world.ada).await, 204);
    assert_eq!(rows().await, [1, 1, 1, 0]);
    let orphans = "select (select count(*) from answer_passages where answer_id not in (select id from answers))
                        + (select count(*) from answer_outcomes where answer_id not in (select id from answers))";
    assert_eq!(world.number(orphans).await, 0);
    let id = answer["answer_id"].as_str().unwrap();
    for path in [conversation("monday"), format!("{ASK}answers/{id}/")] {
        assert_eq!(world.status(Method::GET, &path, &world.ada).await, 404, "{path}");
    }
    assert_eq!(world.status(Method::DELETE, &conversation("monday"), &world.ada).await, 404, "it is gone");
    assert_eq!(world.get(&conversations(), &world.ada).await["results"].as_array().unwrap().len(), 1);
    let again = world.ask(&world.ada, "wednesday", QUESTION).await;
    assert_eq!(again["is_cached"], false, "what was erased is not given again");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_or_erases_a_conversation_or_a_memory() {
    let world = World::new().await;
    world.app.db.tenant("globex").await;
    let answer = world.ask(&world.ada, "monday", "I use qxcanary. How do I reset my password?").await;
    let id = answer["answer_id"].as_str().unwrap();
    world
        .execute(
            "insert into memories (tenant_id, asker, kind, key, body, confidence)
             select id, 'person:ada', 'fact', sha256('x'), 'I use qxcanary', 0.5 from tenants where slug = 'acme'",
        )
        .await;
    let memory: Uuid =
        sqlx::query_scalar("select id from memories").fetch_one(&mut world.app.db.owner().await).await.unwrap();
    let conversation_id: Uuid =
        sqlx::query_scalar("select id from conversations").fetch_one(&mut world.app.db.owner().await).await.unwrap();
    let note = json!({ "session_id": "monday", "note": "qxcanary" });
    assert_eq!(world.app.post(&format!("{ASK}handovers/"), &world.ada, &note).await.0, StatusCode::OK);
    let handover: Uuid =
        sqlx::query_scalar("select id from handovers").fetch_one(&mut world.app.db.owner().await).await.unwrap();

    let mut tx = world.tx().await;
    let key = api_key::NewApiKey { name: "machine".to_owned(), roles: Roles::none(), scopes: vec![], expires_at: None };
    let key = api_key::create(&mut tx, &world.app.pepper(), &key, "test").await.unwrap().text;
    tx.commit().await.unwrap();
    let strangers = [
        ("another person", world.app.token_of("bob", "acme", &["vendor"])),
        ("a person with a like name", world.app.token_of("Ada", "acme", &[])),
        ("the person of that name of another tenant", world.app.token_of("ada", "globex", &[])),
        ("an admin of another tenant", world.app.token_of("ada", "globex", &["admin", "agent", "editor"])),
        ("a machine", key),
        ("an agent in the asker's own place", world.agent.clone()),
    ];
    for (who, token) in &strangers {
        let is_agent = *token == world.agent;
        for (method, path, missing) in [
            (Method::GET, conversation("monday"), conversation("nothing")),
            (Method::GET, format!("{}?format=markdown", conversation("monday")), conversation("nothing")),
            (Method::DELETE, conversation("monday"), conversation("nothing")),
            (Method::DELETE, format!("{ASK}memories/{memory}/"), format!("{ASK}memories/{}/", Uuid::nil())),
            (Method::GET, format!("{ASK}answers/{id}/?session_id=monday"), format!("{ASK}answers/{}/", Uuid::nil())),
            (Method::GET, format!("{ADMIN}answers/{id}/"), format!("{ADMIN}answers/{}/", Uuid::nil())),
            (
                Method::GET,
                format!("{ADMIN}conversations/{conversation_id}/"),
                format!("{ADMIN}conversations/{}/", Uuid::nil()),
            ),
            (Method::GET, format!("{ADMIN}handovers/{handover}/"), format!("{ADMIN}handovers/{}/", Uuid::nil())),
        ] {
            if is_agent && path.starts_with(ADMIN) {
                continue;
            }
            let answer = async |path: &str| {
                let (status, mut answer) = tests::json(world.request(method.clone(), path, token)).await;
                answer["request_id"].take();
                (status, answer)
            };
            let (found, missing) = (answer(&path).await, answer(&missing).await);
            assert!(
                [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN].contains(&found.0),
                "{who}: {method} {path}: {found:?}"
            );
            assert_eq!(found, missing, "{who} can tell that there is something: {method} {path}");
        }
        for path in [conversations(), format!("{ASK}memories/")] {
            let listed = world.get(&path, token).await;
            assert_eq!(listed["results"], json!([]), "{who}: {path}");
        }
        assert_eq!(
            world.status(Method::DELETE, &format!("{ASK}memories/"), token).await,
            204,
            "of their own, {who} has none"
        );
        let (status, _) = world.app.post(&format!("{ASK}handovers/"), token, &json!({ "session_id": "monday" })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{who}");
    }
    let stranger = &strangers[3].1;
    for path in ["conversations/", "handovers/", "people/ada/assistant/"] {
        let (status, told) = world.app.get(&format!("{ADMIN}{path}"), stranger).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!told.to_string().contains("qxcanary"), "{path}: {told}");
    }
    let erased = tests::json(world.request(Method::DELETE, &format!("{ADMIN}people/ada/assistant/"), stranger)).await;
    assert_eq!(erased.1, json!({ "conversations": 0, "memories": 0 }));
    let own = world.get(&conversation("monday"), &world.ada).await;
    assert!(own.to_string().contains("qxcanary"), "{own}");
    assert_eq!(world.get(&format!("{ASK}memories/"), &world.ada).await["results"][0]["text"], "I use qxcanary");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitors_session_is_the_key_to_their_conversation_and_is_told_to_nobody() {
    let world = World::new().await;
    world.execute("update tenants set is_public = true").await;
    let visit = |method: Method, path: &str| world.app.request(method, path).header(HOST, "acme.localhost");
    let secret = "a-random-text-of-a-browser";
    let worker = crate::queue::support::Running::start(world.app.worker());
    let body = json!({ "query": QUESTION, "session_id": secret });
    let (status, answer) = tests::json(visit(Method::POST, ASK).json(&body)).await;
    worker.stop().await;
    assert_eq!((status, &answer["session_id"]), (StatusCode::OK, &json!(secret)), "{answer}");
    let (status, _) = tests::json(
        visit(Method::POST, "/api/v2/help-center/search/").json(&json!({ "query": "password", "session_id": secret })),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let kept = "select (select count(*) from conversations where session_id like '%random-text%')
                     + (select count(*) from searches where session_id like '%random-text%')";
    assert_eq!((world.number(kept).await, world.number("select count(*) from searches").await), (0, 1));

    let read = async |path: &str| tests::json(visit(Method::GET, path)).await;
    let (status, transcript) = read(&conversation(secret)).await;
    assert_eq!((status, &transcript["exchanges"][0]["question"]), (StatusCode::OK, &json!(QUESTION)));
    let (_, listed) = read(&format!("{}?session_id={secret}", conversations())).await;
    assert_eq!(listed["results"][0]["session_id"], secret);
    let (_, again) =
        read(&format!("{ASK}answers/{}/?session_id={secret}", answer["answer_id"].as_str().unwrap())).await;
    assert_eq!(again["session_id"], secret, "{again}");
    assert_eq!(read(&conversation("another-random-text-of-a-browser")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(read(&conversation("short")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(read(&conversations()).await.0, StatusCode::UNAUTHORIZED, "whose would it be");
    assert_eq!(world.status(Method::GET, &conversation(secret), &world.ada).await, 404, "for others it is another one");
    assert_eq!(read(&format!("{ASK}memories/")).await.1, json!({ "results": [] }));
    let staff = world.get(&format!("{ADMIN}conversations/"), &world.agent).await;
    assert_eq!(staff["results"].as_array().unwrap().len(), 1);
    let id = staff["results"][0]["id"].as_str().unwrap();
    let whole = world.get(&format!("{ADMIN}conversations/{id}/"), &world.agent).await;
    let replay = format!("{ADMIN}answers/{}/", answer["answer_id"].as_str().unwrap());
    for told in [staff, whole, world.get(&replay, &world.agent).await] {
        assert!(!told.to_string().contains(secret), "{told}");
    }
    assert_eq!(visit(Method::DELETE, &conversation(secret)).send().await.unwrap().status(), 204);
    assert_eq!(world.number("select count(*) from conversations").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_what_one_may_not_see_any_more_is_not_told_again() {
    let world = World::new().await;
    let vendor = world.app.token_of("ada", "acme", &["vendor"]);
    let answer = world.ask(&vendor, "monday", "Where do vendors send their invoices?").await;
    assert!(answer["answer"].as_str().unwrap().contains("purple"), "{answer}");
    let told = async |token: &str| {
        let path = conversation("monday");
        let document = world.request(Method::GET, &format!("{path}?format=markdown"), token).send().await.unwrap();
        (world.get(&path, token).await, document.text().await.unwrap())
    };
    let (transcript, document) = told(&vendor).await;
    assert!(transcript.to_string().contains("purple") && document.contains("purple"), "{document}");
    let again = format!("{ASK}answers/{}/", answer["answer_id"].as_str().unwrap());
    assert!(world.get(&again, &vendor).await.to_string().contains("purple"));
    for accept in ["application/json", "text/event-stream"] {
        let request = world.request(Method::GET, &again, &world.ada).header(ACCEPT, accept);
        let (status, refused) = tests::json(request).await;
        assert_eq!(status, StatusCode::CONFLICT, "{refused}");
        assert!(!refused.to_string().contains("purple") && !refused.to_string().contains("nvoices"), "{refused}");
    }
    let (transcript, document) = told(&world.ada).await;
    assert!(!transcript.to_string().contains("purple") && !document.contains("purple"), "{transcript}\n{document}");
    assert!(!transcript.to_string().contains("Invoices of vendors"), "{transcript}");
    assert_eq!(transcript["exchanges"][0]["withheld"], true);
    world.execute("update articles set status = 'ARCHIVED' where slug = 'vendors'").await;
    assert!(!told(&vendor).await.0.to_string().contains("purple"), "it is not published any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_finds_conversations_and_sees_how_an_answer_came_to_be() {
    let world = World::new().await;
    let hostile = "How do I reset my password? <img src=x onerror=alert(1)> [x](https://evil.example)";
    let answer = world.ask(&world.ada, "monday", hostile).await;
    world.ask(&world.app.token_of("bob", "acme", &[]), "b", "Which planet is the largest in our solar system?").await;
    let old = world.asked("carl", 30, &[("An old question", None)]).await;
    let id = answer["answer_id"].as_str().unwrap();
    let mut tx = world.tx().await;
    assistant::rate(&mut tx, &Asker::person("ada"), id.parse().unwrap(), false, None).await.unwrap();
    tx.commit().await.unwrap();

    let all = format!("{ADMIN}conversations/");
    for (filter, expected) in [
        ("", vec!["person:bob", "person:ada", "person:carl"]),
        ("?outcome=cited", vec!["person:ada"]),
        ("?outcome=refused", vec!["person:bob"]),
        ("?reason=missing_knowledge", vec!["person:bob", "person:carl"]),
        ("?helpful=false", vec!["person:ada"]),
        ("?helpful=true", vec![]),
        ("?outcome=refused&helpful=false", vec![]),
        ("?since=2026-06-01T00:00:00Z", vec!["person:bob", "person:ada", "person:carl"]),
        ("?since=2999-01-01T00:00:00Z", vec![]),
    ] {
        let found = world.get(&format!("{all}{filter}"), &world.agent).await;
        let askers: Vec<&str> =
            found["results"].as_array().unwrap().iter().map(|line| line["asker"].as_str().unwrap()).collect();
        assert_eq!(askers, expected, "{filter}");
    }
    for filter in ["outcome=lost", "reason=because", "helpful=maybe", "since=yesterday", "limit=0", "cursor=x"] {
        assert_eq!(world.status(Method::GET, &format!("{all}?{filter}"), &world.agent).await, 400, "{filter}");
    }
    let whole = world.get(&format!("{all}{old}/"), &world.agent).await;
    assert_eq!(whole["exchanges"][0]["question"], "An old question");

    let replay = world.get(&format!("{ADMIN}answers/{id}/"), &world.agent).await;
    assert_eq!(replay["question"], hostile);
    assert_eq!(replay["answer"], answer["answer"]);
    let html = replay["html"].as_str().unwrap();
    assert!(!html.contains("<img") && !html.contains("evil.example\""), "{html}");
    assert!(replay["searched_for"].as_str().unwrap().starts_with("How do I reset my password?"));
    assert!(replay["relevance"].as_f64().unwrap() > 0.0);
    let passages = replay["passages"].as_array().unwrap();
    assert!(
        passages.iter().any(|passage| passage["cited"] == true && passage["title"] == "Reset your password"),
        "{replay}"
    );
    assert!(passages.iter().all(|passage| passage["score"].is_number() && passage["text"].is_string()), "{replay}");
    assert_eq!((&replay["provider"], &replay["prompt"]), (&json!("extractive"), &Value::Null));
    for step in ["queue_ms", "retrieval_ms", "first_chunk_ms", "writing_ms", "total_ms"] {
        assert!(replay["timings"][step].is_i64(), "{step}: {replay}");
    }
    let facts: Vec<&str> =
        replay["facts"].as_array().unwrap().iter().map(|fact| fact["outcome"].as_str().unwrap()).collect();
    assert_eq!(facts, ["answered", "cited"]);
}

#[tokio::test]
async fn agents_editors_and_admins_reach_the_conversations_and_nobody_else() {
    let world = World::new().await;
    let nil = Uuid::nil();
    let routes = [
        (Method::GET, "conversations/".to_owned()),
        (Method::GET, format!("conversations/{nil}/")),
        (Method::GET, format!("answers/{nil}/")),
        (Method::GET, "handovers/".to_owned()),
        (Method::GET, format!("handovers/{nil}/")),
        (Method::PATCH, format!("handovers/{nil}/")),
    ];
    let listed =
        api::routes::table().into_iter().filter(|endpoint| endpoint.access == api::routes::Access::Agent).count();
    assert_eq!(listed, routes.len(), "a new route for agents is tried here");
    for (method, path) in routes {
        for (roles, is_let_in) in [
            (&[][..], false),
            (&["author", "analyst", "Agent", "agents"], false),
            (&["agent"], true),
            (&["editor"], true),
            (&["admin"], true),
        ] {
            let token = world.app.token_of("somebody", "acme", roles);
            let request =
                world.request(method.clone(), &format!("{ADMIN}{path}"), &token).json(&json!({ "status": "closed" }));
            let status = request.send().await.unwrap().status();
            assert_eq!(status != StatusCode::FORBIDDEN, is_let_in, "{roles:?}: {method} {path}: {status}");
            assert!(
                status == StatusCode::OK || status == StatusCode::NOT_FOUND || !is_let_in,
                "{roles:?}: {path}: {status}"
            );
        }
        let request = world.app.request(method, &format!("{ADMIN}{path}")).json(&json!({ "status": "closed" }));
        let (status, _) = tests::json(request).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    for path in ["articles/", "synonyms/"] {
        assert_eq!(
            world.status(Method::GET, &format!("{ADMIN}{path}"), &world.agent).await,
            403,
            "agents do not write: {path}"
        );
    }
}

#[tokio::test]
async fn what_is_kept_of_a_person_is_handed_out_and_erased() {
    let world = World::new().await;
    let subject = "ada/é";
    world.asked(subject, 3, &[("A question of Ada's", Some("password"))]).await;
    world.asked(subject, 1, &[("Another one", None)]).await;
    world.asked("bob", 1, &[("A question of Bob's", None)]).await;
    world
        .execute(
            "insert into memories (tenant_id, asker, kind, key, body, confidence)
             select id, asker, 'fact', sha256('x'), 'We use SAP', 0.5 from tenants, unnest(array['person:ada/é', 'person:bob']) asker",
        )
        .await;
    world
        .execute(
            "insert into handovers (tenant_id, conversation_id, reason, note)
             select tenant_id, id, 'policy', 'Please call' from conversations where asker like 'person:ada%' limit 1",
        )
        .await;
    let path = format!("{ADMIN}people/ada%2F%C3%A9/assistant/");
    let export = world.get(&path, &world.admin).await;
    assert_eq!(export["subject"], subject);
    let questions: Vec<&Value> =
        export["conversations"].as_array().unwrap().iter().map(|one| &one["exchanges"][0]["question"]).collect();
    assert_eq!(questions, ["Another one", "A question of Ada's"]);
    assert_eq!(
        (&export["memories"][0]["text"], &export["handovers"][0]["note"]),
        (&json!("We use SAP"), &json!("Please call"))
    );
    assert!(!export.to_string().contains("Bob"));
    assert_eq!(world.status(Method::DELETE, &path, &world.agent).await, 403);

    for expected in [json!({ "conversations": 2, "memories": 1 }), json!({ "conversations": 0, "memories": 0 })] {
        let (status, erased) = tests::json(world.request(Method::DELETE, &path, &world.admin)).await;
        assert_eq!((status, erased), (StatusCode::OK, expected));
    }
    assert_eq!(world.number("select count(*) from conversations").await, 1);
    assert_eq!(world.number("select count(*) from memories where asker = 'person:bob'").await, 1);
    let logged: Vec<(String, String, String)> = sqlx::query_as(
        "select actor, action, subject from audit_log where action like 'person.assistant%' order by id",
    )
    .fetch_all(&mut world.app.db.owner().await)
    .await
    .unwrap();
    let entry = |action: &str| ("person:adam".to_owned(), format!("person.assistant_{action}"), subject.to_owned());
    assert_eq!(logged, [entry("exported"), entry("erased"), entry("erased")]);
}

#[tokio::test]
async fn an_answer_that_nobody_writes_any_more_ends_and_one_that_waits_for_its_worker_does_not() {
    let world = World::new().await;
    world.asked("ada", 0, &[("Lost", None), ("Waiting", None), ("Fresh", None), ("Done", None)]).await;
    world
        .execute(
            "update answers set status = 'writing', outcome = null, reason = null, finished_at = null where question <> 'Done';
             update answers set asked_at = now() where question = 'Fresh';
             insert into outbox (tenant_id, queue, job, payload, unique_key, max_attempts, priority, run_at)
             select tenant_id, 'answers', 'generate_answer', '{}', id::text, 3, 0, now() from answers where question = 'Waiting';
             insert into outbox (tenant_id, queue, job, payload, unique_key, max_attempts, priority, run_at, dead_at)
             select tenant_id, 'answers', 'generate_answer', '{}', id::text, 3, 0, now(), now() from answers where question = 'Lost'",
        )
        .await;
    for ended in [1, 0] {
        let mut tx = world.tx().await;
        assert_eq!(retention::reconcile(&mut tx).await.unwrap(), ended);
        tx.commit().await.unwrap();
    }
    let failed = "select question || ' ' || status from answers order by question";
    let rows: Vec<String> = sqlx::query_scalar(failed).fetch_all(&mut world.app.db.owner().await).await.unwrap();
    assert_eq!(rows, ["Done done", "Fresh writing", "Lost failed", "Waiting writing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_answers_and_shows_how_one_came_to_be() {
    let world = World::new().await;
    let answer = world.ask(&world.ada, "monday", QUESTION).await;
    let id = answer["answer_id"].as_str().unwrap();
    let run = async |arguments: &[&str]| {
        use secrecy::ExposeSecret as _;
        let mut command = tokio::process::Command::new(built("helpcenter"));
        command.env_clear().env("DATABASE_URL", world.app.db.url.expose_secret()).args(arguments);
        let output = command.output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), error)
    };
    let (_, listed, _) = run(&["answers", "list", "--tenant", "acme", "--outcome", "answered"]).await;
    assert!(listed.contains(id) && listed.contains(QUESTION), "{listed}");
    let (_, none, _) = run(&["answers", "list", "--tenant", "acme", "--outcome", "refused"]).await;
    assert_eq!(none.trim(), "No such answers.");
    let (_, shown, _) = run(&["answers", "show", id]).await;
    for part in [QUESTION, "person:ada", "answered", "Reset your password (cited", "said", "in all"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let (_, shown, _) = run(&["answers", "show", id, "--tenant", "acme", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["tenant"], &shown["answer"]), (&json!("acme"), &answer["answer"]));
    let (ok, _, error) = run(&["answers", "show", &Uuid::nil().to_string()]).await;
    assert!(!ok && error.contains("there is no answer"), "{error}");
}
