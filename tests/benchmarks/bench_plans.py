"""Plans on images that nobody tuned for: figures, and minutes against theirs.

    python tests/benchmarks/bench_plans.py [--quick] [--minutes=15]
        [--methods=swav,deepcluster_v2] [NAME=TRAIN,TEST ...]

Each set trains by `tfclust.train` without a recipe, and is measured by
`tfclust.evaluate` on its test images. TRAIN and TEST are what --data takes;
without sets, scikit-learn's digits. Prints a line of a table for each set and
method as it ends; a run that fails says why, and the exit code is 1.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIGITS = "digits=digits:?split=train,digits:?split=test"
# Column, protocol and figure of evaluation.json.
FIGURES = (
    ("20-NN", "knn", "top1"),
    ("linear", "linear", "top1"),
    ("NMI", "clusters", "nmi"),
    ("ARI", "clusters", "ari"),
)
HEAD = (
    "| set | method | trained, untrained, pixels, colours: 20-NN | linear "
    "| NMI | ARI | minutes: expected, taken |\n| --- | --- | --- | --- | --- "
    "| --- | --- |"
)


def main():
    options = _parse()
    print(HEAD, flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for one in options.sets:
            name, train, test = _parts(one)
            for method in options.methods.split(","):
                workdir = pathlib.Path(folder) / f"{name}-{method}"
                line = _line(name, method, train, test, options, workdir)
                failed += line is None
                print(line or f"| {name} | {method} | failed |", flush=True)
    return 1 if failed else 0


def _line(name, method, train, test, options, workdir):
    """A line of the table, or None if a command failed."""
    began = time.perf_counter()
    arguments = [f"--workdir={workdir}", f"--method={method}"]
    arguments += [f"--data={train}", f"--minutes={options.minutes}"]
    said = _command("train", *arguments)
    taken = (time.perf_counter() - began) / 60
    arguments = [f"--workdir={workdir}", f"--test_data={test}"]
    if said is None or _command("evaluate", *arguments) is None:
        return None
    results = json.loads((workdir / "evaluation.json").read_text("utf-8"))
    cells = [
        ", ".join(
            _in_words(results, who, *figure) for who in _subjects(results)
        )
        for _, *figure in FIGURES
    ]
    expected = _minutes(re.search(r"Expected: (.*?) for ", said)[1])
    cells += [f"{expected:.1f}, {taken:.1f}"]
    return " | ".join([f"| {name}", method, *cells]) + " |"


def _subjects(results):
    return [
        n for n in ("trained", "untrained", "pixels", "colours") if n in results
    ]


def _in_words(results, who, protocol, figure):
    value = results[who][protocol][figure]
    return f"{value:.3f}" if protocol == "clusters" else f"{100 * value:.1f}"


def _minutes(words):
    """`1 h 2 min`, `2 min 5 s` or `5 s` in minutes."""
    units = {"h": 60, "min": 1, "s": 1 / 60}
    found = re.findall(r"([\d,]+) (h|min|s)", words)
    return sum(int(n.replace(",", "")) * units[unit] for n, unit in found)


def _command(name, *arguments):
    """What a command prints; None, with its last words shown, if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", f"tfclust.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stderr.strip()[-500:], file=sys.stderr)
        return None
    return done.stdout


def _parts(words):
    name, _, both = words.partition("=")
    train, comma, test = both.partition(",")
    if not comma:
        sys.exit(f"every set must be NAME=TRAIN,TEST. Received: {words}.")
    return name, train, test


def _parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half a minute")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--methods", default="swav,deepcluster_v2")
    parser.add_argument("sets", nargs="*", metavar="NAME=TRAIN,TEST")
    options = parser.parse_args()
    options.sets = options.sets or [DIGITS]
    if options.quick:
        options.minutes, options.methods = 0.5, "swav"
    return options


if __name__ == "__main__":
    sys.exit(main())
