//! Redis killed, emptied, without room in memory or on its disk, or with an older memory.

use std::time::Duration;

use rand::Rng as _;
use redis::RedisError;
use shared::clock::Clock;

use super::{
    super::servers::{Loss, Redis},
    Faults,
    deck::Deck,
};

#[derive(Debug, Clone, Copy)]
enum OfRedis {
    KilledEverySecond,
    KilledAlways,
    TailLost,
    Emptied,
    Flushed,
    OutOfMemory,
    DiskFull,
    StaleCopy,
    Paused,
}

impl Faults {
    pub(super) async fn of_redis(self, seed: u64) {
        use OfRedis::{
            DiskFull, Emptied, Flushed, KilledAlways, KilledEverySecond, OutOfMemory, Paused, StaleCopy, TailLost,
        };
        let all =
            [KilledEverySecond, KilledAlways, TailLost, Emptied, Flushed, OutOfMemory, DiskFull, StaleCopy, Paused];
        let mut deck = Deck::new(seed, 4, &all);
        loop {
            let wait = deck.about(Duration::from_secs(6));
            let what = deck.draw();
            let bytes = deck.random.random_range(1..20_000);
            if !self.next(wait, true).await {
                return;
            }
            let since = Clock::system().now();
            let mut redis = self.redis.lock().await;
            match what {
                KilledEverySecond => {
                    self.restart_redis(&mut redis, "everysec", Loss::Nothing, "redis killed (everysec)").await;
                }
                KilledAlways => self.restart_redis(&mut redis, "always", Loss::Nothing, "redis killed (always)").await,
                TailLost => {
                    self.restart_redis(&mut redis, "everysec", Loss::Tail(bytes), "redis killed, end of its file lost")
                        .await;
                }
                Emptied => self.restart_redis(&mut redis, "everysec", Loss::Everything, "redis came back empty").await,
                Flushed => {
                    self.log.add("redis flushed");
                    let _ = on_redis(&redis, &["FLUSHALL"]);
                }
                OutOfMemory => {
                    self.log.add("redis out of memory");
                    let _ = on_redis(&redis, &["CONFIG", "SET", "maxmemory", "1mb"]);
                    self.sleep(Duration::from_secs(2)).await;
                    let _ = on_redis(&redis, &["CONFIG", "SET", "maxmemory", "0"]);
                }
                DiskFull => {
                    redis.let_write(false).await;
                    self.sleep(Duration::from_secs(2)).await;
                    if on_redis(&redis, &["INCR", "torture-disk"]).is_err() {
                        self.log.add("redis' disk full");
                    }
                    redis.let_write(true).await;
                    redis.recover().await;
                }
                StaleCopy => {
                    redis.copy();
                    self.sleep(Duration::from_secs(3)).await;
                    self.restart_redis(&mut redis, "everysec", Loss::SinceCopy, "redis replaced by an older copy")
                        .await;
                }
                Paused => {
                    self.log.add("redis does not answer for 3 s");
                    let _ = on_redis(&redis, &["CLIENT", "PAUSE", "3000", "ALL"]);
                    self.sleep(Duration::from_secs(3)).await;
                }
            }
            self.log.disturbed_since(since);
        }
    }

    async fn restart_redis(&self, redis: &mut Redis, flushing: &str, loss: Loss, kind: &str) {
        redis.kill().await;
        redis.lose(loss);
        redis.start(flushing).await;
        self.log.add(kind);
    }
}

fn on_redis(redis: &Redis, command: &[&str]) -> Result<(), RedisError> {
    let mut call = redis::cmd(command[0]);
    for argument in &command[1..] {
        call.arg(*argument);
    }
    call.exec(&mut redis.connect()?)
}
