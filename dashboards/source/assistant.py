"""The assistant: how soon it answers, what becomes of questions, and what language models do and cost."""

from __future__ import annotations

from .panels import NO_SHARE, Rows, graph, increase_by, quantile, rate, rate_by, stat


def assistant() -> Rows:
    answers, steps = "helpcenter_assistant_answers_total", "helpcenter_assistant_step_seconds"
    requests = "helpcenter_llm_requests_total"
    refused = 'outcome="refused"'
    return {
        "At a glance": [
            stat(
                "Questions",
                "Questions per second that came to an end: answered, refused or handed over.",
                f"sum({rate(answers)})",
                "ops",
                width=4,
            ),
            stat(
                "Answered",
                f"Share of questions that were answered with citations. {NO_SHARE}",
                f"""sum({rate(answers, 'outcome="answered"')}) / sum({rate(answers)})""",
                "percentunit",
                width=4,
            ),
            stat(
                "First words, 95 %",
                "95 of 100 askers read the first words within this time, the wait for a worker included.",
                quantile(0.95, steps, "", 'step="first_chunk"'),
                "s",
                width=4,
                colors={None: "green", 0.3: "orange", 2: "red"},
            ),
            stat(
                "Given up",
                "Questions per second that have no answer after the last attempt.",
                f"sum({rate('helpcenter_assistant_failed_total')})",
                "ops",
                width=4,
                colors={None: "green", 0.001: "red"},
            ),
            stat(
                "Circuits that are open",
                "Language models that are left alone for a while, because they failed again and again: answers are composed "
                "without them.",
                "sum(helpcenter_llm_circuit_open)",
                "short",
                width=4,
                colors={None: "green", 1: "red"},
            ),
            stat(
                "Budget used",
                "The largest share of a day's budget that a tenant has used, as of its latest call.",
                "max(helpcenter_llm_budget_used_ratio)",
                "percentunit",
                width=4,
                colors={None: "green", 0.8: "orange", 1: "red"},
            ),
        ],
        "Answers": [
            graph(
                "What became of questions",
                "Questions that came to an end, per second.",
                {"{{outcome}} by {{provider}}": rate_by("outcome, provider", answers)},
                "ops",
                draw="stack",
            ),
            graph(
                "Refused, by reason",
                "Questions that were refused, per second. `missing_knowledge`: an article is missing.",
                {"{{reason}}": rate_by("reason", answers, refused)},
                "ops",
                draw="stack",
            ),
            graph(
                "Given again",
                f"Share of answered questions whose answer had been given before. {NO_SHARE}",
                {
                    "share": f"""sum({rate('helpcenter_assistant_cache_hits_total')}) / """
                    f"""sum({rate(answers, 'outcome="answered"')})"""
                },
                "percentunit",
                maximum=1,
            ),
        ],
        "Where the time goes": [
            graph(
                "First words and whole answers, 95 %",
                "95 of 100 askers waited no longer, from the question on.",
                {"{{step}}": quantile(0.95, steps, "step", 'step=~"first_chunk|whole"')},
                "s",
                limit=5,
            ),
            graph(
                "Steps, 95 %",
                "95 of 100 answers spent no longer in each step: waiting for a worker, looking for passages, writing.",
                {"{{step}}": quantile(0.95, steps, "step", 'step=~"queue|retrieval|writing"')},
                "s",
            ),
            graph(
                "Steps, mean",
                "The time that a step took over the number of answers.",
                {
                    "{{step}}": f"""{rate_by('step', f'{steps}_sum', 'step=~"queue|retrieval|writing"')} / """
                    f"""{rate_by('step', f'{steps}_count', 'step=~"queue|retrieval|writing"')}"""
                },
                "s",
                draw="stack",
            ),
        ],
        "Language models": [
            graph(
                "Calls",
                "Calls per second, by how they ended; `not_sent` while the circuit is open, `over_budget` when the day's budget "
                "is spent.",
                {"{{outcome}}": rate_by("outcome", requests)},
                "reqps",
                draw="stack",
            ),
            graph(
                "First token and whole call, 95 %",
                "95 of 100 calls took no longer.",
                {
                    "first token": quantile(0.95, "helpcenter_llm_first_token_seconds", ""),
                    "whole call": quantile(0.95, "helpcenter_llm_duration_seconds", ""),
                },
                "s",
            ),
            graph(
                "Tokens",
                "Tokens that models read and wrote, per second.",
                {"{{direction}}": rate_by("direction", "helpcenter_llm_tokens_total")},
                "short",
                draw="stack",
            ),
            graph(
                "Spent",
                "US dollars in each step of the graph; calls whose price is unknown are not in it.",
                {"{{owner}}": increase_by("owner", "helpcenter_llm_usd_total")},
                "currencyUSD",
                draw="bars",
            ),
        ],
    }
