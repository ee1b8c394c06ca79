//! The Lua scripts by themselves: against a model of what they promise, and with stale tokens.
//!
//! `PROPTEST_CASES=10000` makes the long run of it.

use std::collections::{BTreeMap, VecDeque};

use proptest::{prelude::*, sample::Index};
use redis::Script;
use secrecy::ExposeSecret as _;
use uuid::Uuid;

const PUSH: &str = include_str!("../../../../shared/src/queue/scripts/push.lua");
const TAKE: &str = include_str!("../../../../shared/src/queue/scripts/take.lua");
const RENEW: &str = include_str!("../../../../shared/src/queue/scripts/renew.lua");
const SETTLE: &str = include_str!("../../../../shared/src/queue/scripts/settle.lua");
const TAKE_OVER: &str = include_str!("../../../../shared/src/queue/scripts/take_over.lua");

/// Long enough never to end by itself: the tests end leases by putting them into the past.
const LEASE_MS: u64 = 3_600_000;
const TENANT: &str = "01900000-0000-7000-8000-000000000001";

/// The scripts on a server, under keys of their own.
struct Server {
    redis: redis::Connection,
    prefix: String,
}

/// Everything that Redis holds for a queue.
#[derive(Debug, PartialEq, Eq)]
struct Snapshot {
    waiting: Vec<String>,
    delayed: Vec<String>,
    leased: Vec<String>,
    jobs: BTreeMap<String, Known>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    tenant: String,
    attempts: i64,
    max_attempts: i64,
    token: Option<String>,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "how the test runner tells where its servers are")]
    fn connect() -> Self {
        let url = secrecy::SecretString::from(std::env::var("TEST_REDIS_URL").unwrap());
        let redis = redis::Client::open(url.expose_secret()).unwrap().get_connection().unwrap();
        Self { redis, prefix: format!("test-{}:{{scripts}}", Uuid::now_v7().simple()) }
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    fn push(&mut self, id: &str, max_attempts: i64, attempts: i64, due_in_ms: i64) -> i64 {
        let (seconds, _): (i64, i64) = redis::cmd("TIME").query(&mut self.redis).unwrap();
        Script::new(PUSH)
            .key(self.key("waiting"))
            .key(self.key("delayed"))
            .arg(self.key("job:"))
            .arg(id)
            .arg(TENANT)
            .arg(max_attempts)
            .arg(attempts)
            .arg(seconds * 1000 + due_in_ms)
            .invoke(&mut self.redis)
            .unwrap()
    }

    fn take(&mut self, count: usize, token: &str) -> Vec<(String, i64)> {
        Script::new(TAKE)
            .key(self.key("waiting"))
            .key(self.key("delayed"))
            .key(self.key("leased"))
            .arg(self.key("job:"))
            .arg(count)
            .arg(LEASE_MS)
            .arg(token)
            .invoke(&mut self.redis)
            .unwrap()
    }

    fn renew(&mut self, held: &[(String, String)]) -> Vec<(String, String)> {
        let script = Script::new(RENEW);
        let mut call = script.key(self.key("leased"));
        call.arg(self.key("job:")).arg(LEASE_MS);
        for (id, token) in held {
            call.arg(id).arg(token);
        }
        call.invoke(&mut self.redis).unwrap()
    }

    fn settle(&mut self, id: &str, token: &str, what: &str) -> bool {
        Script::new(SETTLE)
            .key(self.key("waiting"))
            .key(self.key("delayed"))
            .key(self.key("leased"))
            .key(self.key(&format!("job:{id}")))
            .arg(id)
            .arg(token)
            .arg(what)
            .arg(LEASE_MS)
            .invoke(&mut self.redis)
            .unwrap()
    }

    /// How many wait again, and the exhausted jobs.
    fn take_over(&mut self, count: usize, token: &str) -> (i64, Vec<String>) {
        Script::new(TAKE_OVER)
            .key(self.key("waiting"))
            .key(self.key("leased"))
            .arg(self.key("job:"))
            .arg(LEASE_MS)
            .arg(token)
            .arg(count)
            .invoke(&mut self.redis)
            .unwrap()
    }

    /// Puts a job's due time, or the end of its lease, into the past.
    fn backdate(&mut self, set: &str, id: &str) {
        redis::cmd("ZADD").arg(self.key(set)).arg("XX").arg(1).arg(id).exec(&mut self.redis).unwrap();
    }

    fn forget_everything(&mut self) {
        let prefix = self.prefix.clone();
        super::support::forget_everything(&mut self.redis, &prefix);
    }

    fn forget(&mut self, id: &str) {
        redis::pipe()
            .lrem(self.key("waiting"), 0, id)
            .zrem(self.key("delayed"), id)
            .zrem(self.key("leased"), id)
            .del(self.key(&format!("job:{id}")))
            .exec(&mut self.redis)
            .unwrap();
    }

    fn snapshot(&mut self, ids: &[String]) -> Snapshot {
        let mut pipe = redis::pipe();
        pipe.lrange(self.key("waiting"), 0, -1).zrange(self.key("delayed"), 0, -1).zrange(self.key("leased"), 0, -1);
        let (waiting, delayed, leased) = pipe.query(&mut self.redis).unwrap();
        let mut pipe = redis::pipe();
        for id in ids {
            pipe.hgetall(self.key(&format!("job:{id}")));
        }
        let hashes: Vec<BTreeMap<String, String>> = pipe.query(&mut self.redis).unwrap();
        let known = |hash: &BTreeMap<String, String>| Known {
            tenant: hash["tenant"].clone(),
            attempts: hash["attempts"].parse().unwrap(),
            max_attempts: hash["max_attempts"].parse().unwrap(),
            token: hash.get("token").cloned(),
        };
        let jobs = ids.iter().zip(&hashes).filter(|(_, hash)| !hash.is_empty());
        let jobs = jobs.map(|(id, hash)| (id.clone(), known(hash))).collect();
        Snapshot { waiting, delayed, leased, jobs }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.forget_everything();
    }
}

/// What the scripts promise, in the simplest words.
#[derive(Debug, Default)]
struct Model {
    waiting: VecDeque<String>,
    /// Whether the job is due.
    delayed: BTreeMap<String, bool>,
    /// Whether the lease has ended.
    leased: BTreeMap<String, bool>,
    jobs: BTreeMap<String, Known>,
}

impl Model {
    fn push(&mut self, id: &str, max_attempts: i64, attempts: i64, is_due: bool) -> i64 {
        if self.jobs.contains_key(id) {
            return 0;
        }
        let job = Known { tenant: TENANT.to_owned(), attempts, max_attempts, token: None };
        self.jobs.insert(id.to_owned(), job);
        if is_due {
            self.waiting.push_back(id.to_owned());
        } else {
            self.delayed.insert(id.to_owned(), false);
        }
        1
    }

    fn take(&mut self, count: usize, token: &str) -> Vec<(String, i64)> {
        let due: Vec<String> = self.delayed.iter().filter(|(_, is_due)| **is_due).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.delayed.remove(&id);
            self.waiting.push_back(id);
        }
        let count = count.min(self.waiting.len());
        let taken: Vec<String> = self.waiting.drain(..count).collect();
        let lease = |id: String| {
            let job = self.jobs.get_mut(&id).unwrap();
            job.attempts += 1;
            job.token = Some(token.to_owned());
            self.leased.insert(id.clone(), false);
            (id, job.attempts)
        };
        taken.into_iter().map(lease).collect()
    }

    fn holds(&self, id: &str, token: &str) -> bool {
        self.jobs.get(id).is_some_and(|job| job.token.as_deref() == Some(token))
    }

    fn renew(&mut self, held: &[(String, String)]) -> Vec<(String, String)> {
        let mut lost = Vec::new();
        for (id, token) in held {
            if self.holds(id, token) {
                self.leased.insert(id.clone(), false);
            } else {
                lost.push((id.clone(), token.clone()));
            }
        }
        lost
    }

    fn settle(&mut self, id: &str, token: &str, what: &str) -> bool {
        if !self.holds(id, token) {
            return false;
        }
        self.leased.remove(id);
        let job = self.jobs.get_mut(id).unwrap();
        job.token = None;
        if matches!(what, "postpone" | "hand_back") {
            job.attempts -= 1;
        }
        match what {
            "forget" => drop(self.jobs.remove(id)),
            "hand_back" => self.waiting.push_front(id.to_owned()),
            _ => drop(self.delayed.insert(id.to_owned(), false)),
        }
        true
    }

    fn take_over(&mut self, count: usize, token: &str) -> (i64, Vec<String>) {
        let ended = self.leased.iter().filter(|(_, has_ended)| **has_ended).map(|(id, _)| id.clone());
        let ended: Vec<String> = ended.take(count).collect();
        let (mut waiting, mut exhausted) = (0, Vec::new());
        for id in ended {
            let job = self.jobs.get_mut(&id).unwrap();
            if job.attempts >= job.max_attempts {
                job.token = Some(token.to_owned());
                exhausted.push(id.clone());
                self.leased.insert(id, false);
            } else {
                job.token = None;
                waiting += 1;
                self.leased.remove(&id);
                self.waiting.push_front(id);
            }
        }
        (waiting, exhausted)
    }

    fn forget(&mut self, id: &str) {
        self.waiting.retain(|other| other != id);
        self.delayed.remove(id);
        self.leased.remove(id);
        self.jobs.remove(id);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            waiting: self.waiting.iter().cloned().collect(),
            delayed: self.delayed.keys().cloned().collect(),
            leased: self.leased.keys().cloned().collect(),
            jobs: self.jobs.clone(),
        }
    }
}

impl Snapshot {
    /// Every job is in one place; those that are leased have a holder, and no others.
    fn check(&self) -> Result<(), TestCaseError> {
        let mut places: Vec<&String> = self.waiting.iter().chain(&self.delayed).chain(&self.leased).collect();
        places.sort();
        prop_assert_eq!(places, self.jobs.keys().collect::<Vec<_>>(), "each job is in exactly one place");
        for (id, job) in &self.jobs {
            prop_assert_eq!(job.token.is_some(), self.leased.contains(id), "{} is held as long as it is leased", id);
        }
        Ok(())
    }
}

/// One call, or one thing that happens in between. Jobs and tokens are chosen among those there are.
#[derive(Debug, Clone)]
enum Step {
    Push { job: usize, max_attempts: i64, attempts: i64, is_due: bool },
    Take { count: usize },
    Renew { held: Vec<(usize, TokenChoice)> },
    Settle { job: usize, token: TokenChoice, what: &'static str },
    TakeOver { count: usize },
    LeaseEnds { job: usize },
    ComesDue { job: usize },
    Lose { job: usize },
    LoseEverything,
}

#[derive(Debug, Clone)]
enum TokenChoice {
    Holders,
    AnyEver(Index),
}

const JOBS: usize = 6;

fn job() -> impl Strategy<Value = usize> {
    0..JOBS
}

fn token() -> impl Strategy<Value = TokenChoice> {
    prop_oneof![3 => Just(TokenChoice::Holders), 1 => any::<Index>().prop_map(TokenChoice::AnyEver)]
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![Just("forget"), Just("delay"), Just("postpone"), Just("hand_back")];
    prop_oneof![
        6 => (job(), 1..4_i64, 0..2_i64, prop::bool::weighted(0.8))
            .prop_map(|(job, max_attempts, attempts, is_due)| Step::Push { job, max_attempts, attempts, is_due }),
        6 => (0..4_usize).prop_map(|count| Step::Take { count }),
        3 => prop::collection::vec((job(), token()), 0..4).prop_map(|held| Step::Renew { held }),
        6 => (job(), token(), what).prop_map(|(job, token, what)| Step::Settle { job, token, what }),
        4 => (1..4_usize).prop_map(|count| Step::TakeOver { count }),
        5 => job().prop_map(|job| Step::LeaseEnds { job }),
        3 => job().prop_map(|job| Step::ComesDue { job }),
        1 => job().prop_map(|job| Step::Lose { job }),
        1 => Just(Step::LoseEverything),
    ]
}

/// A server and the model, which must agree after every step.
struct Pair {
    server: Server,
    model: Model,
    ids: Vec<String>,
    /// Every token that was ever given out, and one that never was. Each call has a new one, as in the worker.
    tokens: Vec<String>,
}

impl Pair {
    fn new() -> Self {
        let ids = (0..JOBS).map(|n| format!("01900000-0000-7000-8000-{n:012}")).collect();
        let tokens = vec![Uuid::new_v4().to_string()];
        Self { server: Server::connect(), model: Model::default(), ids, tokens }
    }

    fn new_token(&mut self) -> String {
        let token = Uuid::new_v4().to_string();
        self.tokens.push(token.clone());
        token
    }

    fn token(&self, id: &str, choice: &TokenChoice) -> String {
        let holders = self.model.jobs.get(id).and_then(|job| job.token.clone());
        match choice {
            TokenChoice::Holders => holders.unwrap_or_else(|| self.tokens[0].clone()),
            TokenChoice::AnyEver(index) => index.get(&self.tokens).clone(),
        }
    }

    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Push { job, max_attempts, attempts, is_due } => {
                let due_in = if *is_due { -60_000 } else { 3_600_000 };
                let pushed = self.server.push(&self.ids[*job], *max_attempts, *attempts, due_in);
                prop_assert_eq!(pushed, self.model.push(&self.ids[*job], *max_attempts, *attempts, *is_due));
            }
            Step::Take { count } => {
                let token = self.new_token();
                prop_assert_eq!(self.server.take(*count, &token), self.model.take(*count, &token));
            }
            Step::Renew { held } => {
                let named = |(job, token): &(usize, TokenChoice)| {
                    let id = self.ids[*job].clone();
                    let token = self.token(&id, token);
                    (id, token)
                };
                let held: Vec<_> = held.iter().map(named).collect();
                prop_assert_eq!(self.server.renew(&held), self.model.renew(&held));
            }
            Step::Settle { job, token, what } => {
                let id = self.ids[*job].clone();
                let token = self.token(&id, token);
                prop_assert_eq!(self.server.settle(&id, &token, what), self.model.settle(&id, &token, what));
            }
            Step::TakeOver { count } => {
                let token = self.new_token();
                prop_assert_eq!(self.server.take_over(*count, &token), self.model.take_over(*count, &token));
            }
            Step::LeaseEnds { job } => {
                self.server.backdate("leased", &self.ids[*job]);
                self.model.leased.entry(self.ids[*job].clone()).and_modify(|has_ended| *has_ended = true);
            }
            Step::ComesDue { job } => {
                self.server.backdate("delayed", &self.ids[*job]);
                self.model.delayed.entry(self.ids[*job].clone()).and_modify(|is_due| *is_due = true);
            }
            Step::Lose { job } => {
                self.server.forget(&self.ids[*job]);
                self.model.forget(&self.ids[*job]);
            }
            Step::LoseEverything => {
                self.server.forget_everything();
                self.model = Model::default();
            }
        }
        let mut found = self.server.snapshot(&self.ids);
        found.check()?;
        // Sets are ordered by time, which the model does not know.
        found.delayed.sort();
        found.leased.sort();
        prop_assert_eq!(found, self.model.snapshot());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_scripts_do_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.apply(step)?;
        }
    }
}

const ID: &str = "01900000-0000-7000-8000-000000000001";

#[test]
fn a_stale_token_can_neither_extend_nor_finish_nor_fail_nor_hand_back_a_job() {
    let mut server = Server::connect();
    let ids = [ID.to_owned()];
    server.push(ID, 3, 0, 0);
    assert_eq!(server.take(1, "first"), [(ID.to_owned(), 1)]);
    server.backdate("leased", ID);
    assert_eq!(server.take_over(10, "taker"), (1, vec![]));
    let stale_calls = |server: &mut Server, token: &str| {
        let before = server.snapshot(&ids);
        for what in ["forget", "delay", "postpone", "hand_back"] {
            assert!(!server.settle(ID, token, what), "{what}");
        }
        let held = [(ID.to_owned(), token.to_owned())];
        assert_eq!(server.renew(&held), held);
        assert_eq!(server.snapshot(&ids), before);
    };
    stale_calls(&mut server, "first"); // while it waits
    assert_eq!(server.take(1, "second"), [(ID.to_owned(), 2)]);
    stale_calls(&mut server, "first"); // while another worker has it
    stale_calls(&mut server, "");
    assert!(server.settle(ID, "second", "forget"));
    stale_calls(&mut server, "first"); // when it is done
    stale_calls(&mut server, "second");
}

#[test]
fn a_lease_that_ended_is_its_holders_until_somebody_takes_it_over() {
    let mut server = Server::connect();
    server.push(ID, 3, 0, 0);
    server.take(1, "token");
    server.backdate("leased", ID);
    assert_eq!(server.renew(&[(ID.to_owned(), "token".to_owned())]), []);
    assert_eq!(server.take_over(10, "taker"), (0, vec![]));
    assert!(server.settle(ID, "token", "forget"));
}

#[test]
fn a_large_backlog_of_due_jobs_is_worked_off() {
    let mut server = Server::connect();
    let ids: Vec<String> = (0..10_000).map(|n| format!("01900000-0000-7000-8000-{n:012}")).collect();
    for chunk in ids.chunks(500) {
        let mut pipe = redis::pipe();
        for id in chunk {
            let job = server.key(&format!("job:{id}"));
            pipe.hset_multiple(job, &[("tenant", TENANT), ("attempts", "0"), ("max_attempts", "3")]).ignore();
            pipe.zadd(server.key("delayed"), id, 1).ignore();
        }
        pipe.exec(&mut server.redis).unwrap();
    }
    let mut taken = Vec::new();
    loop {
        let some = server.take(64, "token");
        if some.is_empty() {
            break;
        }
        taken.extend(some.into_iter().map(|(id, _)| id));
    }
    assert_eq!(taken, ids);
}
