//! The Lua scripts by themselves: against a model of what they promise, and with stale tokens.
//!
//! `PROPTEST_CASES=10000` makes the long run of it.

use std::collections::{BTreeMap, VecDeque};

use proptest::{prelude::*, sample::Index};
use redis::{Script, ScriptInvocation};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

/// A script as the queue sends it: with what all of them share before it.
macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(
            include_str!("../../../../shared/src/queue/scripts/lanes.lua"),
            include_str!(concat!("../../../../shared/src/queue/scripts/", $file))
        ))
    };
}

/// Long enough never to end by itself: the tests end leases by putting them into the past.
const LEASE_MS: u64 = 3_600_000;
const TENANT: &str = "01900000-0000-7000-8000-000000000001";
const OTHER: &str = "01900000-0000-7000-8000-000000000002";

/// The scripts on a server, under keys of their own.
struct Server {
    redis: redis::Connection,
    prefix: String,
}

/// Everything that Redis holds for a queue, but for the limits.
#[derive(Debug, PartialEq)]
struct Snapshot {
    waiting: i64,
    lanes: BTreeMap<String, Vec<String>>,
    ring: BTreeMap<String, f64>,
    delayed: Vec<String>,
    leased: Vec<String>,
    jobs: BTreeMap<String, Known>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    lane: String,
    state: String,
    token: Option<String>,
}

/// A limit of a type of job: µs between starts and how many at once, overall and for each tenant.
type Limit = (&'static str, u64, u64, u64, u64);

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

    fn call<T: redis::FromRedisValue>(&mut self, script: &Script, add: impl FnOnce(&mut ScriptInvocation<'_>)) -> T {
        let mut call = script.key(&self.prefix);
        add(&mut call);
        call.invoke(&mut self.redis).unwrap()
    }

    fn push(&mut self, id: &str, lane: &str, weight: u32, due_in_ms: i64) -> i64 {
        let (seconds, _): (i64, i64) = redis::cmd("TIME").query(&mut self.redis).unwrap();
        self.call(&script!("push.lua"), |call| {
            call.arg(id).arg(lane).arg(weight).arg(seconds * 1000 + due_in_ms);
        })
    }

    /// Jobs of one lane that are due, all at once.
    fn push_all(&mut self, ids: &[String], lane: &str) {
        for chunk in ids.chunks(500) {
            let new: usize = self.call(&script!("push.lua"), |call| {
                for id in chunk {
                    call.arg(id).arg(lane).arg(1).arg(0);
                }
            });
            assert_eq!(new, chunk.len());
        }
    }

    fn take_within(&mut self, count: usize, token: &str, limits: &[Limit]) -> (i64, Vec<String>) {
        self.call(&script!("take.lua"), |call| {
            call.arg(count).arg(LEASE_MS).arg(token);
            for (job, interval, burst, tenant_interval, tenant_burst) in limits {
                call.arg(job).arg(interval).arg(burst).arg(tenant_interval).arg(tenant_burst);
            }
        })
    }

    fn take(&mut self, count: usize, token: &str) -> Vec<String> {
        self.take_within(count, token, &[]).1
    }

    fn renew(&mut self, held: &[(String, String)]) -> Vec<(String, String)> {
        self.call(&script!("renew.lua"), |call| {
            call.arg(LEASE_MS);
            for (id, token) in held {
                call.arg(id).arg(token);
            }
        })
    }

    fn settle(&mut self, ended: &[(String, String, &str)]) -> Vec<bool> {
        self.call(&script!("settle.lua"), |call| {
            for (id, token, what) in ended {
                call.arg(id).arg(token).arg(what).arg(LEASE_MS);
            }
        })
    }

    /// The jobs, each with the token of its former holder.
    fn take_over(&mut self, count: usize) -> Vec<(String, String)> {
        self.call(&script!("take_over.lua"), |call| {
            call.arg(count);
        })
    }

    fn drop_job(&mut self, id: &str) -> usize {
        self.call(&script!("drop.lua"), |call| {
            call.arg(id);
        })
    }

    /// Puts the time of a member into the past, if it is there.
    fn backdate(&mut self, set: &str, member: &str) {
        redis::cmd("ZADD").arg(self.key(set)).arg("XX").arg(1).arg(member).exec(&mut self.redis).unwrap();
    }

    fn forget_everything(&mut self) {
        let prefix = self.prefix.clone();
        tests::forget_everything(&mut self.redis, &prefix);
    }

    fn snapshot(&mut self, ids: &[String]) -> Snapshot {
        let mut pipe = redis::pipe();
        pipe.zrange(self.key("delayed"), 0, -1).zrange(self.key("leased"), 0, -1).hget(self.key("counts"), "waiting");
        let (delayed, leased, waiting): (_, _, Option<i64>) = pipe.query(&mut self.redis).unwrap();
        let (mut lanes, mut ring) = (BTreeMap::new(), BTreeMap::new());
        for lane in all_lanes() {
            let list: Vec<String> = redis::cmd("LRANGE")
                .arg(self.key(&format!("lane:{lane}")))
                .arg(0)
                .arg(-1)
                .query(&mut self.redis)
                .unwrap();
            if !list.is_empty() {
                lanes.insert(lane.clone(), list);
            }
            let set = self.key(&format!("ring:{}", &lane[..1]));
            let pass: Option<f64> = redis::cmd("ZSCORE").arg(set).arg(&lane).query(&mut self.redis).unwrap();
            if let Some(pass) = pass {
                ring.insert(lane, pass);
            }
        }
        let mut pipe = redis::pipe();
        for id in ids {
            pipe.hgetall(self.key(&format!("job:{id}")));
        }
        let hashes: Vec<BTreeMap<String, String>> = pipe.query(&mut self.redis).unwrap();
        let known = |hash: &BTreeMap<String, String>| Known {
            lane: hash["lane"].clone(),
            state: hash["state"].clone(),
            token: hash.get("token").cloned(),
        };
        let jobs = ids.iter().zip(&hashes).filter(|(_, hash)| !hash.is_empty());
        let jobs = jobs.map(|(id, hash)| (id.clone(), known(hash))).collect();
        Snapshot { waiting: waiting.unwrap_or(0), lanes, ring, delayed, leased, jobs }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.forget_everything();
    }
}

/// The lanes of the random test: two priorities of two tenants.
fn all_lanes() -> Vec<String> {
    ["0", "1"].iter().flat_map(|priority| [TENANT, OTHER].map(|tenant| format!("{priority}:{tenant}"))).collect()
}

fn weight_of(lane: &str) -> u32 {
    if lane.ends_with(OTHER) { 3 } else { 1 }
}

/// What the scripts promise, in the simplest words.
#[derive(Debug, Default)]
struct Model {
    lanes: BTreeMap<String, VecDeque<String>>,
    ring: BTreeMap<String, f64>,
    left: BTreeMap<String, f64>,
    clock: BTreeMap<String, f64>,
    /// Whether the job is due.
    delayed: BTreeMap<String, bool>,
    /// Whether the lease has ended.
    leased: BTreeMap<String, bool>,
    jobs: BTreeMap<String, Known>,
}

impl Model {
    fn state(&self, id: &str) -> Option<&str> {
        self.jobs.get(id).map(|job| job.state.as_str())
    }

    fn wait(&mut self, id: &str, is_first: bool) {
        let job = self.jobs.get_mut(id).unwrap();
        "waiting".clone_into(&mut job.state);
        let lane = job.lane.clone();
        let list = self.lanes.entry(lane.clone()).or_default();
        if is_first {
            list.push_front(id.to_owned());
        } else {
            list.push_back(id.to_owned());
        }
        if !self.ring.contains_key(&lane) {
            let clock = self.clock.get(&lane[..1]).copied().unwrap_or(0.0);
            let own = self.left.remove(&lane).unwrap_or(0.0);
            self.ring.insert(lane, clock.max(own));
        }
    }

    fn delay(&mut self, id: &str) {
        "delayed".clone_into(&mut self.jobs.get_mut(id).unwrap().state);
        self.delayed.insert(id.to_owned(), false);
    }

    fn push(&mut self, id: &str, lane: &str, is_due: bool) -> i64 {
        if self.jobs.contains_key(id) {
            return 0;
        }
        let job = Known { lane: lane.to_owned(), state: String::new(), token: None };
        self.jobs.insert(id.to_owned(), job);
        if is_due {
            self.wait(id, false);
        } else {
            self.delay(id);
        }
        1
    }

    fn take(&mut self, count: usize, token: &str) -> Vec<String> {
        let due: Vec<String> = self.delayed.iter().filter(|(_, is_due)| **is_due).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.delayed.remove(&id);
            self.wait(&id, false);
        }
        let mut taken = Vec::new();
        for priority in ["0", "1"] {
            let mut clock = None;
            while taken.len() < count {
                // The lowest pass, and of equal ones the first by name.
                let turns = self.ring.iter().filter(|(lane, _)| lane.starts_with(priority));
                let Some((lane, pass)) = turns.min_by(|a, b| a.1.total_cmp(b.1)).map(|(l, p)| (l.clone(), *p)) else {
                    break;
                };
                let Some(id) = self.lanes.get_mut(&lane).and_then(VecDeque::pop_front) else {
                    self.ring.remove(&lane);
                    self.left.insert(lane, pass);
                    continue;
                };
                if self.state(&id) != Some("waiting") {
                    continue;
                }
                let job = self.jobs.get_mut(&id).unwrap();
                "leased".clone_into(&mut job.state);
                job.token = Some(token.to_owned());
                self.leased.insert(id.clone(), false);
                self.ring.insert(lane.clone(), pass + 1.0 / f64::from(weight_of(&lane)));
                clock = Some(pass);
                taken.push(id);
            }
            if let Some(clock) = clock {
                self.clock.insert(priority.to_owned(), clock);
                self.left.retain(|lane, pass| !lane.starts_with(priority) || *pass > clock);
            }
        }
        taken
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
        self.jobs.get_mut(id).unwrap().token = None;
        match what {
            "forget" => drop(self.jobs.remove(id)),
            "hand_back" => self.wait(id, true),
            _ => self.delay(id),
        }
        true
    }

    fn take_over(&mut self, count: usize) -> Vec<(String, String)> {
        let ended = self.leased.iter().filter(|(_, has_ended)| **has_ended).map(|(id, _)| id.clone());
        let ended: Vec<String> = ended.take(count).collect();
        let mut taken = Vec::new();
        for id in ended.into_iter().rev() {
            self.leased.remove(&id);
            let token = self.jobs.get_mut(&id).unwrap().token.take();
            self.wait(&id, true);
            taken.push((id, token.unwrap_or_default()));
        }
        taken
    }

    fn drop_job(&mut self, id: &str) -> usize {
        if self.state(id).is_none_or(|state| state == "leased") {
            return 0;
        }
        self.jobs.remove(id);
        self.delayed.remove(id);
        1
    }

    fn snapshot(&self) -> Snapshot {
        let lanes = self.lanes.iter().filter(|(_, list)| !list.is_empty());
        Snapshot {
            waiting: self.jobs.values().filter(|job| job.state == "waiting").count().try_into().unwrap(),
            lanes: lanes.map(|(lane, list)| (lane.clone(), list.iter().cloned().collect())).collect(),
            ring: self.ring.clone(),
            delayed: self.delayed.keys().cloned().collect(),
            leased: self.leased.keys().cloned().collect(),
            jobs: self.jobs.clone(),
        }
    }
}

impl Snapshot {
    /// Every job is where it says it is, and can be found there; those that are leased have a holder, and no others.
    fn check(&self) -> Result<(), TestCaseError> {
        for (id, job) in &self.jobs {
            let in_lane = self.lanes.get(&job.lane).is_some_and(|list| list.contains(id));
            prop_assert_eq!(self.delayed.contains(id), job.state == "delayed", "{}", id);
            prop_assert_eq!(self.leased.contains(id), job.state == "leased", "{}", id);
            prop_assert_eq!(job.token.is_some(), job.state == "leased", "{}", id);
            prop_assert!(in_lane && self.ring.contains_key(&job.lane) || job.state != "waiting", "{} can be taken", id);
        }
        for id in self.delayed.iter().chain(&self.leased) {
            prop_assert!(self.jobs.contains_key(id), "{} is known", id);
        }
        Ok(())
    }
}

/// One call, or one thing that happens in between. Jobs and tokens are chosen among those there are.
#[derive(Debug, Clone)]
enum Step {
    Push { job: usize, lane: Index, is_due: bool },
    Take { count: usize },
    Renew { held: Vec<(usize, TokenChoice)> },
    Settle { ended: Vec<(usize, TokenChoice, &'static str)> },
    TakeOver { count: usize },
    LeaseEnds { job: usize },
    ComesDue { job: usize },
    Drop { job: usize },
    LoseEverything,
}

#[derive(Debug, Clone)]
enum TokenChoice {
    Holders,
    AnyEver(Index),
}

const JOBS: usize = 10;

fn job() -> impl Strategy<Value = usize> {
    0..JOBS
}

fn token() -> impl Strategy<Value = TokenChoice> {
    prop_oneof![3 => Just(TokenChoice::Holders), 1 => any::<Index>().prop_map(TokenChoice::AnyEver)]
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![2 => Just("forget"), 1 => Just("delay"), 1 => Just("hand_back")];
    prop_oneof![
        8 => (job(), any::<Index>(), prop::bool::weighted(0.8))
            .prop_map(|(job, lane, is_due)| Step::Push { job, lane, is_due }),
        6 => (0..4_usize).prop_map(|count| Step::Take { count }),
        3 => prop::collection::vec((job(), token()), 0..4).prop_map(|held| Step::Renew { held }),
        6 => prop::collection::vec((job(), token(), what), 1..4).prop_map(|ended| Step::Settle { ended }),
        4 => (1..4_usize).prop_map(|count| Step::TakeOver { count }),
        5 => job().prop_map(|job| Step::LeaseEnds { job }),
        3 => job().prop_map(|job| Step::ComesDue { job }),
        2 => job().prop_map(|job| Step::Drop { job }),
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
            Step::Push { job, lane, is_due } => {
                let due_in = if *is_due { -60_000 } else { 3_600_000 };
                let (id, lane) = (self.ids[*job].clone(), lane.get(&all_lanes()).clone());
                let pushed = self.server.push(&id, &lane, weight_of(&lane), due_in);
                prop_assert_eq!(pushed, self.model.push(&id, &lane, *is_due));
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
            Step::Settle { ended } => {
                let named = |(job, token, what): &(usize, TokenChoice, &'static str)| {
                    let id = self.ids[*job].clone();
                    let token = self.token(&id, token);
                    (id, token, *what)
                };
                let ended: Vec<_> = ended.iter().map(named).collect();
                let settled: Vec<bool> =
                    ended.iter().map(|(id, token, what)| self.model.settle(id, token, what)).collect();
                prop_assert_eq!(self.server.settle(&ended), settled);
            }
            Step::TakeOver { count } => {
                prop_assert_eq!(self.server.take_over(*count), self.model.take_over(*count));
            }
            Step::LeaseEnds { job } => {
                self.server.backdate("leased", &self.ids[*job]);
                self.model.leased.entry(self.ids[*job].clone()).and_modify(|has_ended| *has_ended = true);
            }
            Step::ComesDue { job } => {
                self.server.backdate("delayed", &self.ids[*job]);
                self.model.delayed.entry(self.ids[*job].clone()).and_modify(|is_due| *is_due = true);
            }
            Step::Drop { job } => {
                let id = self.ids[*job].clone();
                prop_assert_eq!(self.server.drop_job(&id), self.model.drop_job(&id));
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

fn lane(tenant: &str) -> String {
    format!("1:{tenant}")
}

fn ids(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|n| format!("01900000-0000-7000-8000-{n:012}")).collect()
}

#[test]
fn a_stale_token_can_neither_extend_nor_finish_nor_fail_nor_hand_back_a_job() {
    let mut server = Server::connect();
    let ids = [ID.to_owned()];
    server.push(ID, &lane(TENANT), 1, 0);
    assert_eq!(server.take(1, "first"), ids);
    server.backdate("leased", ID);
    assert_eq!(server.take_over(10), [(ID.to_owned(), "first".to_owned())]);
    let stale_calls = |server: &mut Server, token: &str| {
        let before = server.snapshot(&ids);
        for what in ["forget", "delay", "hand_back"] {
            assert_eq!(server.settle(&[(ID.to_owned(), token.to_owned(), what)]), [false], "{what}");
        }
        let held = [(ID.to_owned(), token.to_owned())];
        assert_eq!(server.renew(&held), held);
        assert_eq!(server.snapshot(&ids), before);
    };
    stale_calls(&mut server, "first"); // while it waits
    assert_eq!(server.take(1, "second"), ids);
    stale_calls(&mut server, "first"); // while another worker has it
    stale_calls(&mut server, "");
    assert_eq!(server.settle(&[(ID.to_owned(), "second".to_owned(), "forget")]), [true]);
    stale_calls(&mut server, "first"); // when it is done
    stale_calls(&mut server, "second");
}

#[test]
fn a_lease_that_ended_is_its_holders_until_somebody_takes_it_over() {
    let mut server = Server::connect();
    server.push(ID, &lane(TENANT), 1, 0);
    server.take(1, "token");
    server.backdate("leased", ID);
    assert_eq!(server.renew(&[(ID.to_owned(), "token".to_owned())]), []);
    assert_eq!(server.take_over(10), []);
    assert_eq!(server.settle(&[(ID.to_owned(), "token".to_owned(), "forget")]), [true]);
}

#[test]
fn a_large_backlog_of_due_jobs_is_worked_off_in_order() {
    let mut server = Server::connect();
    let ids = ids(0, 10_000);
    for id in &ids {
        server.push(id, &lane(TENANT), 1, 3_600_000);
    }
    for id in &ids {
        server.backdate("delayed", id);
    }
    let mut taken = Vec::new();
    loop {
        let some = server.take(64, "token");
        if some.is_empty() {
            break;
        }
        taken.extend(some);
    }
    assert_eq!(taken, ids);
}

#[test]
fn a_tenants_next_job_is_the_next_to_start_whatever_backlog_another_has() {
    let mut server = Server::connect();
    let (backlog, few) = (ids(0, 100_000), ids(500_000, 3));
    server.push_all(&backlog, &lane(TENANT));
    assert_eq!(server.take(40, "token"), backlog[..40]);
    server.push_all(&few, &lane(OTHER));
    assert_eq!(server.take(1, "token"), few[..1]);
    assert_eq!(server.take(4, "token"), [&backlog[40], &few[1], &backlog[41], &few[2]].map(Clone::clone));
    // Having been away earns nothing: they take turns as before.
    assert_eq!(server.take(50, "token"), backlog[42..92]);
    server.push_all(&ids(600_000, 50), &lane(OTHER));
    let next = server.take(50, "token");
    let theirs = next.iter().filter(|id| **id >= ids(600_000, 1)[0]).count();
    assert!((25..=26).contains(&theirs), "{theirs} of 50");
}

#[test]
fn a_tenant_that_always_comes_back_with_one_job_gets_its_turn_and_no_more() {
    let mut server = Server::connect();
    server.push_all(&ids(0, 1000), &lane(TENANT));
    server.push_all(&ids(1000, 1000), "1:01900000-0000-7000-8000-000000000003");
    let (mut own, mut waits) = (0, false);
    for id in ids(2000, 300) {
        if !waits {
            server.push(&id, &lane(OTHER), 1, 0);
        }
        waits = server.take(1, "token")[0] < ids(2000, 1)[0];
        own += usize::from(!waits);
    }
    assert!((99..=101).contains(&own), "{own} of 300 turns, with two others there");
}

#[test]
fn weights_are_shares() {
    let mut server = Server::connect();
    for (n, id) in ids(0, 800).iter().enumerate() {
        let lane = lane(if n % 2 == 0 { TENANT } else { OTHER });
        server.push(id, &lane, weight_of(&lane), 0);
    }
    let of_other = server.take(400, "token").iter().filter(|id| id.as_bytes()[35] % 2 == 1).count();
    assert!((299..=301).contains(&of_other), "{of_other} of 400 at 3 to 1");
}

#[test]
fn rates_hold_overall_and_for_each_tenant_and_hold_back_nobody_else() {
    let mut server = Server::connect();
    let hour = 3_600_000_000;
    let limited = |tenant: &str| format!("1:{tenant}:answer");
    server.push_all(&ids(0, 10), &limited(TENANT));
    server.push_all(&ids(100, 10), &limited(OTHER));
    server.push_all(&ids(200, 1), &lane(TENANT));
    let per_tenant: [Limit; 1] = [("answer", 0, 0, hour, 2)];
    let (again, taken) = server.take_within(20, "token", &per_tenant);
    assert_eq!(taken.len(), 5, "two of each tenant, and the one without a limit: {taken:?}");
    assert!((3_500_000..=3_600_100).contains(&again), "{again} ms");
    for tenant in [TENANT, OTHER] {
        server.backdate("throttled", &limited(tenant));
    }
    assert_eq!(server.take_within(20, "token", &per_tenant).1.len(), 0, "the rate is what counts");
    server.backdate("throttled", &limited(OTHER));
    let clock = server.key(&format!("limit:answer:{OTHER}"));
    redis::cmd("DEL").arg(clock).exec(&mut server.redis).unwrap();
    assert_eq!(server.take_within(20, "token", &per_tenant).1, ids(102, 2));

    let mut server = Server::connect();
    server.push_all(&ids(0, 10), &limited(TENANT));
    server.push_all(&ids(100, 10), &limited(OTHER));
    let overall: [Limit; 1] = [("answer", hour, 3, 0, 0)];
    assert_eq!(server.take_within(20, "token", &overall).1.len(), 3);
    assert_eq!(server.take_within(20, "token", &overall).1.len(), 0);
}
