"""LanceDB and Chroma on what `bench_search --export FOLDER` wrote: the same passages, vectors, queries and judgements.

Each runs inside this process and is given the vectors of the queries. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Query = tuple[str, Vector]

DIMENSIONS = 384
ARTICLES = 20  # distinct ones that a search returns
PASSAGES = 100  # asked for to get that many articles, and what recall is measured on
WANTED_RECALL = 0.97
RECALLED = 200  # judged queries that recall is the mean of, at most
EFS = (100, 150, 200, 300, 400, 600, 800, 1200, 1600)  # candidates of a search in a graph
CALLERS = 8  # when as much as possible is asked
WAITING = 64  # calls that may be under way when they come at a constant rate
DEPTH = 10  # of nDCG


class Corpus:
    def __init__(self, folder: Path) -> None:
        with (folder / "passages.jsonl").open(encoding="utf-8") as lines:
            passages = [json.loads(line) for line in lines]
        self.texts: list[str] = [passage["text"] for passage in passages]
        self.articles: list[str] = [passage["article"] for passage in passages]
        # By article: collection and id, joined by a slash.
        self.documents: dict[str, str | None] = {passage["article"]: passage["document"] for passage in passages}
        self.vectors = np.fromfile(folder / "vectors.f32", dtype="<f4").reshape(len(passages), DIMENSIONS)
        texts = json.loads((folder / "queries.json").read_text(encoding="utf-8"))
        judged = json.loads((folder / "judged.json").read_text(encoding="utf-8"))
        asked = np.fromfile(folder / "queries.f32", dtype="<f4").reshape(len(texts) + len(judged), DIMENSIONS)
        self.queries: list[Query] = list(zip(texts, asked))
        self.judged: list[tuple[dict[str, Any], Vector]] = list(zip(judged, asked[len(texts) :]))


class LanceDb:
    """Hybrid search: passages of the vector index and of the full-text index, fused by reciprocal ranks."""

    # Candidates, and how many times the passages asked for are compared by their whole vectors (0: none).
    settings = tuple((ef, refine) for ef in EFS for refine in (0, 2) if ef >= refine * PASSAGES)

    def build(self, corpus: Corpus, folder: Path) -> None:
        os.environ["LANCEDB_LOG"] = "error"  # or each query warns of what a later version will change
        import lancedb
        import pyarrow
        from lancedb.index import FTS, HnswSq

        columns = {
            "number": pyarrow.array(range(len(corpus.texts)), pyarrow.int32()),
            "article": corpus.articles,
            "text": corpus.texts,
            "vector": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(corpus.vectors.ravel()), DIMENSIONS),
        }
        self.table = lancedb.connect(folder).create_table("passages", pyarrow.table(columns))
        # Its documentation advises one partition, which is one graph, as long as memory suffices to build it.
        self.table.create_index("vector", config=HnswSq(distance_type="cosine", num_partitions=1))
        self.table.create_index("text", config=FTS(language="English", stem=True, remove_stop_words=True))

    def use(self, ef: int, refine: int) -> str:
        """Searches with it from now on; says all parameters."""
        self.ef, self.refine = ef, refine
        return (
            f"IVF_HNSW_SQ (cosine, 1 partition, m 20, ef_construction 300), ef {ef}, refine factor {refine or 'none'}; "
            f"FTS (English, stemmed, no stop words); {PASSAGES} passages of each, RRFReranker (K 60)"
        )

    def nearest(self, vector: Vector) -> list[int]:
        """Numbers of the passages whose vectors it finds."""
        return self._column("number", self.table.search(vector))

    def search(self, query: Query) -> list[str]:
        """Articles of the passages that it finds, best first; an article may be there more than once."""
        from lancedb.query import MatchQuery

        words = MatchQuery(query[0], "text")  # a plain string would be a phrase when it is in quotes
        return self._column("article", self.table.search(query_type="hybrid").vector(query[1]).text(words))

    def _column(self, name: str, query: Any) -> list[Any]:
        query = query.nprobes(1).ef(self.ef).limit(PASSAGES).select([name])
        if self.refine:
            query = query.refine_factor(self.refine)
        return list(query.to_arrow()[name].to_pylist())


class Chroma:
    """Nearest vectors alone: a local Chroma has no hybrid search, and full text only as a filter."""

    settings = tuple((ef,) for ef in EFS)

    def build(self, corpus: Corpus, folder: Path) -> None:
        self.folder = folder
        self._open(configuration={"hnsw": {"space": "cosine", "ef_construction": 200, "max_neighbors": 16}})
        batch = self.client.get_max_batch_size()
        for start in range(0, len(corpus.texts), batch):
            part = slice(start, start + batch)
            self.passages.add(
                ids=[str(number) for number in range(len(corpus.texts))[part]],
                embeddings=corpus.vectors[part],
                documents=corpus.texts[part],
                metadatas=[{"article": article} for article in corpus.articles[part]],
            )
        self.nearest(corpus.vectors[0])  # waits for the index

    def use(self, ef: int) -> str:
        self.passages.modify(configuration={"hnsw": {"ef_search": ef}})
        self.client.close()  # an index in memory keeps what it was loaded with
        self._open()
        return f"HNSW (cosine, max_neighbors 16, ef_construction 200), ef_search {ef}; {PASSAGES} passages"

    def nearest(self, vector: Vector) -> list[int]:
        return [int(number) for number in self._query(vector)["ids"][0]]

    def search(self, query: Query) -> list[str]:
        return [passage["article"] for passage in self._query(query[1], "metadatas")["metadatas"][0]]

    def _open(self, **options: Any) -> None:
        import chromadb

        self.client = chromadb.PersistentClient(self.folder, chromadb.Settings(anonymized_telemetry=False))
        self.passages = self.client.get_or_create_collection("passages", embedding_function=None, **options)

    def _query(self, vector: Vector, *include: Any) -> Any:
        return self.passages.query(query_embeddings=vector[None], n_results=PASSAGES, include=list(include))


Engine = Any  # one of these
ENGINES: dict[str, Engine] = {"lancedb": LanceDb, "chromadb": Chroma}


def found_articles(engine: Engine, query: Query) -> list[str]:
    return list(dict.fromkeys(engine.search(query)))[:ARTICLES]


def tune(engine: Engine, corpus: Corpus) -> tuple[float, str]:
    """Leaves the engine with the first setting of enough recall, else with that of the best; says both."""
    asked = [vector for _, vector in corpus.judged[:: math.ceil(len(corpus.judged) / RECALLED)]]
    similarities = np.stack(asked) @ corpus.vectors.T
    recalls: dict[tuple[int, ...], float] = {}
    for setting in engine.settings:
        engine.use(*setting)
        recalls[setting] = statistics.fmean(map(recall_of, map(engine.nearest, asked), similarities))
        say(f"  {setting}: recall {recalls[setting]:.3f}")
        if recalls[setting] >= WANTED_RECALL:
            break
    best = max(recalls, key=recalls.__getitem__)
    return recalls[best], engine.use(*best)


def recall_of(found: list[int], similarities: Vector) -> float:
    """The share of the nearest passages that was found; any of those that are equally near counts."""
    furthest = np.partition(similarities, -PASSAGES)[-PASSAGES]
    return float(np.count_nonzero(similarities[found] >= furthest - 1e-6)) / PASSAGES


def relevance(engine: Engine, corpus: Corpus) -> dict[str, float]:
    """nDCG by judged collection, among all articles: those that are no document of it are not relevant."""
    values: dict[str, list[float]] = {}
    for judged, vector in corpus.judged:
        collection = judged["collection"]
        grades = {f"{collection}/{document}": grade for document, grade in judged["grades"].items()}
        articles = found_articles(engine, (judged["text"], vector))
        found = [grades.get(corpus.documents[article] or "", 0) for article in articles]
        values.setdefault(collection, []).append(gain(found) / gain(sorted(grades.values(), reverse=True)))
    return {collection: statistics.fmean(of) for collection, of in sorted(values.items())}


def gain(grades: list[int]) -> float:
    return sum((2.0**grade - 1) / math.log2(rank + 2) for rank, grade in enumerate(grades[:DEPTH]))


def at_rate(engine: Engine, queries: Iterator[Query], rate: int, seconds: int) -> list[float]:
    """p50, p95 and p99 in milliseconds since each call was due, whether earlier ones were answered or not."""

    def ask(due: float, query: Query) -> float:
        found_articles(engine, query)
        return (time.perf_counter() - due) * 1_000

    start = time.perf_counter() + 0.01
    with ThreadPoolExecutor(WAITING) as pool:
        calls = []
        for number in range(rate * seconds):
            due = start + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            calls.append(pool.submit(ask, due, next(queries)))
        taken = sorted(call.result() for call in calls)
    return [taken[math.ceil(len(taken) * share) - 1] for share in (0.5, 0.95, 0.99)]


def saturated(engine: Engine, queries: Iterator[Query], seconds: int) -> float:
    """Answers a second when several callers ask again as soon as they were answered."""
    start = time.perf_counter()

    def ask() -> int:
        answered = 0
        while time.perf_counter() < start + seconds:
            found_articles(engine, next(queries))
            answered += 1
        return answered

    with ThreadPoolExecutor(CALLERS) as pool:
        answered = sum(call.result() for call in [pool.submit(ask) for _ in range(CALLERS)])
    return answered / (time.perf_counter() - start)


def measured(name: str, corpus: Corpus, options: argparse.Namespace) -> tuple[dict[str, str], str]:
    """Its row of the table, and its parameters."""
    engine = ENGINES[name]()
    row = {"engine": name, "version": importlib.metadata.version(name)}
    with tempfile.TemporaryDirectory(dir=options.export, prefix=name) as folder:
        say(f"{name}: building")
        start = time.perf_counter()
        engine.build(corpus, Path(folder))
        row["build s"] = f"{time.perf_counter() - start:.0f}"
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
        row["size MB"] = f"{size / 1e6:.0f}"
        recall, parameters = tune(engine, corpus)
        row[f"recall@{PASSAGES}"] = f"{recall:.3f}"
        ndcg = relevance(engine, corpus)
        queries = itertools.cycle(corpus.queries)
        runs = []
        for _ in range(options.runs):
            latencies = at_rate(engine, queries, options.rate, options.seconds)
            runs.append([*latencies, saturated(engine, queries, options.seconds)])
            say(f"  p50, p95, p99 in ms, queries/s: {', '.join(f'{value:.1f}' for value in runs[-1])}")
    for head, values in zip(["p50 ms", "p95 ms", "p99 ms", "queries/s"], zip(*runs)):
        row[head] = f"{statistics.median(values):.1f}"
    row |= {f"nDCG@{DEPTH} {collection}": f"{value:.3f}" for collection, value in ndcg.items()}
    return row, parameters


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--export", type=Path, required=True, help="the folder that bench_search wrote")
    parser.add_argument("--engines", default=",".join(ENGINES), help="by their names on PyPI")
    parser.add_argument("--rate", type=int, default=10, help="searches a second while latencies are measured")
    parser.add_argument("--seconds", type=int, default=15, help="how long each measurement takes")
    parser.add_argument("--runs", type=int, default=3, help="how often; the median counts")
    options, _ = parser.parse_known_args()  # the others are bench_search's own, which has checked them
    names = options.engines.split(",")
    if unknown := set(names) - set(ENGINES):
        parser.error(f"{', '.join(unknown)} is none of {', '.join(ENGINES)}")
    corpus = Corpus(options.export)
    rows, parameters = zip(*(measured(name, corpus, options) for name in names))
    print(f"{len(corpus.texts):,} passages, {options.rate} queries/s for {options.seconds} s, runs: {options.runs}\n")
    for line in [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]:
        print(f"| {' | '.join(line)} |")
    print("", *(f"- {name}: {used}" for name, used in zip(names, parameters)), sep="\n")


if __name__ == "__main__":
    main()
