"""Indexes by default settings: recall@10, speed, and memory of a build.

    python tests/benchmarks/bench_retrieval.py [--quick]

100,000 clustered rows of width 128 are indexed as `build_index` does it, and
1,000 others look for their ten nearest: as found by the index, and by comparing
every row (the same blocked search; and faiss's flat index). 1,000 more are of
groups that the index has not seen. To hold: recall@10 at least 0.95 for both.
Then 1,000,000 rows go through an index's parts on the disk, one
part in memory at a time, in a process of its own that tells its peak memory.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "benchmarks")]

from tfclust.runtime import quiet  # isort: skip

quiet.import_tensorflow()
import faiss
import numpy as np

from export.retrieval import nearest, store

WIDTH, TOP = 128, 10
LEAST_RECALL = 0.95
_PART = 4_096
_BUILD_ONLY = "--build_only"  # of the process that builds


class Rows:
    """Clustered unit rows, made part by part; those of a part are its own."""

    def __init__(self, count, seed=0):
        random = np.random.default_rng(seed)
        groups = max(1, count // 100)
        self._centres = random.standard_normal((groups, WIDTH), np.float32)

    def part(self, number, count=_PART):
        random = np.random.default_rng((1, number))
        rows = self._centres[random.integers(len(self._centres), size=count)]
        rows += 0.6 * random.standard_normal(rows.shape, np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write_parts(folder, count):
    """The parts of an index of `count` rows; returns blocks on the disk."""
    rows, blocks = Rows(count), []
    for number, start in enumerate(range(0, count, _PART)):
        here = rows.part(number, min(_PART, count - start))
        keys = [store.Key(f"{start + i}.jpg", 1, 1) for i in range(len(here))]
        part = store.write_part(folder, "folder:/bench", keys, here)
        blocks.append(store.read_rows(folder, part))
    return blocks


class OwnMemory(threading.Thread):
    """Watches the memory of this process that is not pages of files."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak_mb = self.now_mb()
        self._ended = threading.Event()

    def run(self):
        while not self._ended.wait(0.02):
            self.peak_mb = max(self.peak_mb, self.now_mb())

    def stop(self):
        self._ended.set()
        self.join()
        return self.peak_mb

    @staticmethod
    def now_mb():
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("RssAnon:")]
        return int(line.split()[1]) / 1024


def timed(function, repeats):
    """The least seconds of a few calls, and the last result."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        found = function()
        best = min(best, time.perf_counter() - began)
    return best, found


def recall_and_speed(count, num_queries):
    """Recall@10 of both kinds of query, and how much faster than all rows."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        blocks = write_parts(folder, count)
        kind = nearest.choose(count, WIDTH)
        began = time.perf_counter()
        about = nearest.build(kind, blocks, folder, "nearest-1")
        seconds = time.perf_counter() - began
        search = nearest.searcher(folder, blocks, about)
        known = Rows(count).part(10**6, num_queries)
        unseen = Rows(count, seed=2).part(10**6, num_queries)
        recalls = [recall(search, blocks, rows) for rows in (known, unseen)]
        slow, _ = timed(lambda: nearest.exact(blocks, known, TOP), 2)
        fast, _ = timed(lambda: search.search(known, TOP), 3)
        flat = faiss.IndexFlatIP(WIDTH)
        for block in blocks:
            flat.add(np.ascontiguousarray(block))
        by_faiss, _ = timed(lambda: flat.search(known, TOP), 2)
    print(
        f"{count:,} x {WIDTH}: {kind}, {about['probes']} of {about['lists']} "
        f"lists, built in {seconds:.1f} s; recall@{TOP} {recalls[0]:.3f} (on "
        f"its own rows {about['recall']:.3f}), of unseen groups "
        f"{recalls[1]:.3f} (on drawn rows {about['recall_drawn']:.3f}), to "
        f"hold: at least {LEAST_RECALL}"
    )
    print(
        f"  {num_queries:,} queries: {1e6 * fast / num_queries:.0f} us each; "
        f"all rows compared {slow / fast:.0f} times that, faiss's flat index "
        f"{by_faiss / fast:.0f} times",
        flush=True,
    )
    return min(recalls), slow / fast


def recall(search, blocks, queries):
    """The share of the ten nearest rows that an index finds."""
    truth = nearest.exact(blocks, queries, TOP)
    found = search.search(queries, TOP)
    return (found.scores >= truth.scores[:, -1:] - 1e-6).mean()


def build_only(count):
    """Writes parts and index, and tells the memory that it took."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        memory = OwnMemory()
        before = memory.peak_mb
        memory.start()
        began = time.perf_counter()
        blocks = write_parts(folder, count)
        kind = nearest.choose(count, WIDTH)
        about = nearest.build(kind, blocks, folder, "nearest-1")
        seconds = time.perf_counter() - began
        peak = memory.stop()
        rows = count * WIDTH * 4 / 2**20
        print(
            f"{count:,} x {WIDTH} ({rows:.0f} MB of rows): {kind}, "
            f"{about['probes']} of {about['lists']} lists in "
            f"{len(about['files'])} files, parts and index in {seconds:.0f} "
            f"s, recall@{TOP} {about['recall']:.3f} on its own rows"
        )
        print(
            f"  peak of the process's own memory {peak:.0f} MB, {before:.0f} "
            "MB of it before the first row",
            flush=True,
        )


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument(_BUILD_ONLY, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.build_only:
        build_only(options.build_only)
        return None
    quick = options.quick
    found = recall_and_speed(*((25_000, 200) if quick else (100_000, 1_000)))
    count = 50_000 if quick else 1_000_000
    command = [sys.executable, __file__, f"{_BUILD_ONLY}={count}"]
    subprocess.run(command, check=True)
    return found


if __name__ == "__main__":
    main()
