"""Queues and workers: what waits, what runs, how it ends and how long it takes; the relay and the scheduler."""

from __future__ import annotations

from .panels import (
    CHOSEN,
    FAILED,
    NO_SHARE,
    Rows,
    depth,
    graph,
    increase_by,
    leaders,
    oldest,
    quantile,
    rate,
    rate_by,
    relay_lag,
    stat,
)


def queues() -> Rows:
    finished, ran = "helpcenter_jobs_finished_total", "helpcenter_job_duration_seconds"
    by_job, job = "queue, job_name", "{{queue}} {{job_name}}"
    failing = f"sum({rate(finished, f'{CHOSEN}, {FAILED}')}) / sum({rate(finished, CHOSEN)})"
    failing_by_job = f"{rate_by(by_job, finished, f'{CHOSEN}, {FAILED}')} / {rate_by(by_job, finished, CHOSEN)}"

    def ends(outcome: str) -> str:
        return f'{CHOSEN}, outcome=~"{outcome}"'

    return {
        "At a glance": [
            stat("Waiting", "Jobs that could start now.", depth("waiting"), "short"),
            stat("Running", "Jobs at a worker.", depth("leased"), "short"),
            stat(
                "Oldest",
                "How long the oldest job that could start has waited; 0 when none waits.",
                f"max(helpcenter_queue_oldest_seconds{{{CHOSEN}}})",
                "s",
                colors={None: "green", 300: "orange", 900: "red"},
            ),
            stat(
                "Dead letters",
                "Jobs that were given up and that nobody has retried or discarded yet.",
                depth("dead"),
                "short",
                colors={None: "green", 1: "red"},
            ),
            stat(
                "Failing attempts",
                f"Share of attempts that failed, tried again or not, or whose lease was lost. {NO_SHARE}",
                failing,
                "percentunit",
                colors={None: "green", 0.05: "orange", 0.25: "red"},
            ),
            stat(
                "Not in Redis yet",
                "Age of the oldest job that no relay has sent to Redis; 0 when there is none.",
                f"max(helpcenter_relay_lag_seconds{{{CHOSEN}}})",
                "s",
                colors={None: "green", 5: "orange", 60: "red"},
            ),
            stat(
                "Workers",
                "Worker processes that answered their latest scrape.",
                'sum(up{job="helpcenter-worker"})',
                "short",
                colors={None: "red", 1: "green"},
            ),
            leaders(),
        ],
        "Backlog": [
            graph(
                "Depth",
                "Open jobs of all tenants: unrelayed (not in Redis yet), waiting (could start), delayed (their time is to "
                "come), leased (at a worker).",
                {"{{queue}} {{state}}": f'max by (queue, state) (helpcenter_queue_jobs{{{CHOSEN}, state!="dead"}})'},
                "short",
                width=6,
            ),
            oldest(CHOSEN, width=6),
            graph(
                "Wait before an attempt, 95 %",
                "95 of 100 attempts began within this time after they could have. Without attempts there is none.",
                {job: quantile(0.95, "helpcenter_job_wait_seconds", by_job, CHOSEN)},
                "s",
                width=6,
            ),
            graph(
                "Paused",
                "1 while an operator has paused the queue: nothing of it starts.",
                {"{{queue}}": f"max by (queue) (helpcenter_queue_paused{{{CHOSEN}}})"},
                "short",
                width=6,
                draw="steps",
                maximum=1,
            ),
        ],
        "Throughput": [
            graph(
                "Enqueued",
                "Committed jobs sent to Redis, per second. One that is sent once more counts once more: a dead letter tried "
                "again, and what Redis forgot.",
                {job: rate_by(by_job, "helpcenter_jobs_enqueued_total", CHOSEN)},
                "ops",
                width=6,
            ),
            graph(
                "Started",
                "Attempts that began, per second.",
                {job: rate_by(by_job, "helpcenter_jobs_started_total", CHOSEN)},
                "ops",
                width=6,
            ),
            graph(
                "Done",
                "Attempts that ended as they should, per second.",
                {job: rate_by(by_job, finished, ends("done"))},
                "ops",
                width=6,
            ),
            graph(
                "Ends of attempts",
                "Attempts that ended, per second: done, retry (failed, tried again), dead (failed, given up), cancelled, "
                "lease_lost (its job was taken over, or its end not recorded), handed_back (its worker stopped).",
                {"{{outcome}}": rate_by("outcome", finished, CHOSEN)},
                "ops",
                width=6,
                draw="stack",
            ),
        ],
        "Failures": [
            graph(
                "Failing attempts",
                f"Share of a job's attempts that failed, tried again or not, or whose lease was lost. {NO_SHARE}",
                {job: failing_by_job},
                "percentunit",
            ),
            graph(
                "Retries",
                "Attempts that failed and are tried again, in each step of the graph.",
                {job: increase_by(by_job, finished, ends("retry"))},
                "short",
                draw="bars",
            ),
            graph(
                "New dead letters",
                "Jobs that were given up, in each step of the graph.",
                {job: increase_by(by_job, finished, ends("dead"))},
                "short",
                draw="bars",
            ),
            graph(
                "Dead letters",
                "Jobs that were given up and that nobody has retried or discarded yet.",
                {"{{queue}}": f'max by (queue) (helpcenter_queue_jobs{{{CHOSEN}, state="dead"}})'},
                "short",
                draw="steps",
                limit=1,
            ),
            graph(
                "Take-overs",
                "Jobs taken from workers that were silent for longer than QUEUE_LEASE_SECONDS, in each step of the graph.",
                {"{{queue}}": increase_by("queue", "helpcenter_jobs_taken_over_total", CHOSEN)},
                "short",
                draw="bars",
            ),
            graph(
                "Lost leases and hand-backs",
                "Attempts that ended without ending their job, in each step of the graph: the lease was lost, or the worker "
                "stopped and handed the job back.",
                {"{{queue}} {{outcome}}": increase_by("queue, outcome", finished, ends("lease_lost|handed_back"))},
                "short",
                draw="bars",
            ),
        ],
        "Duration": [
            graph(
                "Duration, 50 %",
                "Half of the attempts ended within this time, however they ended. Without attempts there is none.",
                {job: quantile(0.5, ran, by_job, CHOSEN)},
                "s",
            ),
            graph(
                "Duration, 95 %",
                "95 of 100 attempts ended within this time, however they ended. Longer than 600 s is shown as 600 s.",
                {job: quantile(0.95, ran, by_job, CHOSEN)},
                "s",
            ),
            graph(
                "Busy places",
                "How many attempts ran at once on average, as told when they end. Near WORKER_CONCURRENCY times the workers, "
                "more workers would help.",
                {"{{queue}}": rate_by("queue", f"{ran}_sum", CHOSEN)},
                "short",
            ),
        ],
        "Relay": [
            relay_lag(CHOSEN),
            graph(
                "Failed rounds",
                "Rounds of a worker's relay that ended in an error, in each step of the graph: PostgreSQL or Redis did not "
                "answer.",
                {"{{instance}}": increase_by("instance", "helpcenter_relay_failures_total")},
                "short",
                draw="bars",
            ),
            graph(
                "Sent again",
                "Open jobs that Redis had forgotten, in each step of the graph. Anything but 0 means that Redis lost memory.",
                {"jobs": "sum(increase(helpcenter_jobs_resent_total[$__rate_interval]))"},
                "short",
                draw="bars",
            ),
        ],
        "Scheduler": [
            graph(
                "Who leads",
                "1 for the scheduler that leads, 0 for those that wait.",
                {"{{instance}}": "helpcenter_scheduler_leader"},
                "short",
                draw="steps",
                maximum=1,
            ),
            graph(
                "Lateness, 95 %",
                "95 of 100 ticks of a line were made within this time after they were due. Without ticks there is none.",
                {"{{line}}": quantile(0.95, "helpcenter_scheduler_lateness_seconds", "line")},
                "s",
            ),
            graph(
                "Ticks",
                "Ticks made, in each step of the graph, by line of the cron table. A tick enqueues its job for every tenant.",
                {"{{line}}": increase_by("line", "helpcenter_scheduler_lateness_seconds_count")},
                "short",
                draw="bars",
            ),
        ],
    }
