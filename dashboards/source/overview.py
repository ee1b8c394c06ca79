"""The overview: rate, errors and duration of requests by route, what waits behind them, and the processes."""

from __future__ import annotations

from .panels import NO_SHARE, PEOPLE, Rows, graph, leaders, oldest, quantile, rate, rate_by, relay_lag, stat


def overview() -> Rows:
    requests, duration = "helpcenter_http_requests_total", "helpcenter_http_request_duration_seconds"
    errors = f'{PEOPLE}, status=~"5.."'
    ours = 'job=~"helpcenter-.*"'
    process = "{{job}} {{instance}}"
    return {
        "At a glance": [
            stat(
                "Processes that answer",
                "Processes of each program that answered their latest scrape.",
                f"sum by (job) (up{{{ours}}})",
                "short",
                legend="{{job}}",
                width=6,
                colors={None: "red", 1: "green"},
            ),
            stat(
                "Requests",
                "Requests answered per second, all routes but the health checks.",
                f"sum({rate(requests, PEOPLE)})",
                "reqps",
            ),
            stat(
                "Server errors",
                f"Share of requests answered with a status of 5xx, all routes but the health checks. {NO_SHARE}",
                f"sum({rate(requests, errors)}) / sum({rate(requests, PEOPLE)})",
                "percentunit",
                colors={None: "green", 0.01: "orange", 0.05: "red"},
            ),
            stat(
                "Duration, 95 %",
                "95 of 100 requests were answered within this time, all routes but the health checks.",
                quantile(0.95, duration, "", PEOPLE),
                "s",
                colors={None: "green", 0.5: "orange", 1: "red"},
            ),
            stat(
                "Jobs that wait",
                "Jobs of all queues that could start now or are not in Redis yet.",
                'sum(max by (queue, state) (helpcenter_queue_jobs{state=~"waiting|unrelayed"}))',
                "short",
            ),
            stat(
                "Dead letters",
                "Jobs that were given up and that nobody has retried or discarded yet.",
                'sum(max by (queue) (helpcenter_queue_jobs{state="dead"}))',
                "short",
                colors={None: "green", 1: "red"},
            ),
            leaders(),
        ],
        "Requests by route": [
            graph(
                "Rate",
                "Requests answered per second. All addresses that no route knows count as one: unmatched.",
                {"{{method}} {{route}}": rate_by("route, method", requests, PEOPLE)},
                "reqps",
            ),
            graph(
                "Errors",
                f"Share of a route's requests that were answered with a status of 5xx. {NO_SHARE}",
                {"{{route}}": f"{rate_by('route', requests, errors)} / {rate_by('route', requests, PEOPLE)}"},
                "percentunit",
                limit=0.05,
            ),
            graph(
                "Duration, 95 %",
                "95 of 100 requests of a route were answered within this time. Without requests there is none.",
                {"{{route}}": quantile(0.95, duration, "route", PEOPLE)},
                "s",
                limit=1,
            ),
            graph(
                "Answers by status",
                "Answers per second by HTTP status. 4xx are mistakes of callers, 5xx are ours.",
                {"{{status}}": rate_by("status", requests, PEOPLE)},
                "reqps",
                draw="stack",
            ),
            graph(
                "Duration of all routes",
                "Half, 95 and 99 of 100 requests were answered within these times.",
                {f"{share * 100:g} %": quantile(share, duration, "", PEOPLE) for share in (0.5, 0.95, 0.99)},
                "s",
            ),
            graph(
                "Duration, mean",
                "The time that a route's answers took over their number. Without requests there is none.",
                {
                    "{{route}}": f"{rate_by('route', f'{duration}_sum', PEOPLE)} / "
                    f"{rate_by('route', f'{duration}_count', PEOPLE)}"
                },
                "s",
            ),
        ],
        "Behind the requests": [
            oldest(),
            graph(
                "Ends of attempts",
                "Attempts of jobs that ended, per second. `retry` failed and is tried again, `dead` failed and was given up.",
                {"{{outcome}}": rate_by("outcome", "helpcenter_jobs_finished_total")},
                "ops",
                draw="stack",
            ),
            relay_lag(),
        ],
        "Search": [
            graph(
                "Behind, by meaning",
                "Age of the oldest published change that search by meaning does not know yet; 0 when it knows all. Search by "
                "words knows every change at once.",
                {"lag": "max(helpcenter_index_lag_seconds)"},
                "s",
                width=12,
                limit=1800,
            ),
            graph(
                "Articles that wait to be embedded",
                "Published changes of articles that search by meaning does not know yet, given up ones among them.",
                {"articles": "max(helpcenter_index_waiting_articles)"},
                "short",
                width=12,
            ),
        ],
        "Processes": [
            graph(
                "Processor",
                "Processor time used per second; 1 is one core.",
                {process: rate("process_cpu_seconds_total", ours)},
                "short",
                width=6,
            ),
            graph(
                "Memory",
                "Resident memory. The API and every worker hold the embedding model.",
                {process: f"process_resident_memory_bytes{{{ours}}}"},
                "bytes",
                width=6,
            ),
            graph(
                "Open files",
                "Open files and sockets over what the process may have open.",
                {process: f"process_open_fds{{{ours}}} / process_max_fds{{{ours}}}"},
                "percentunit",
                width=6,
            ),
            graph(
                "Running for",
                "Time since the process started; a fall to 0 is a restart.",
                {process: f"time() - process_start_time_seconds{{{ours}}}"},
                "s",
                width=6,
            ),
            graph(
                "Answers to scrapes",
                "1 where the process answered Prometheus, else 0.",
                {process: f"up{{{ours}}}"},
                "short",
                width=12,
                draw="steps",
                maximum=1,
            ),
            graph(
                "Releases",
                "Processes by program and version. During an upgrade there are two versions for a while.",
                {"{{job}} {{version}}": "count by (job, version) (helpcenter_build_info)"},
                "short",
                width=12,
                draw="steps",
            ),
        ],
    }
