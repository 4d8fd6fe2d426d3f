"""Runs the benchmarks, each in a process of its own, one after the other.

    python -m tests.benchmarks [--quick] [name ...]

A name is a file's without `bench_`; without names all run. The exit code is 0
if all came to their end, 1 if one crashed, 2 for arguments that make no sense.
"""

import argparse
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PREFIX = "bench_"
DONE, CRASHED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Answers bad input with one line, as the commands do."""

    def error(self, message):
        self.exit(BAD_INPUT, f"benchmarks: {message}\n")


def main(arguments=None, folder=HERE):
    """Runs the benchmarks of `folder`; returns the exit code."""
    files = {
        path.stem.removeprefix(PREFIX): path
        for path in sorted(folder.glob(f"{PREFIX}*.py"))
    }
    options = _parse(arguments, files)
    crashed = []
    for name in options.names or files:
        command = [sys.executable, str(files[name])]
        began = time.perf_counter()
        try:
            done = subprocess.run(command + ["--quick"] * options.quick)
        except KeyboardInterrupt:
            print("benchmarks: interrupted.", file=sys.stderr)
            return INTERRUPTED
        seconds = time.perf_counter() - began
        if done.returncode:
            crashed.append(name)
        ending = f"exit code {done.returncode}, " if done.returncode else ""
        print(f"[{name}: {ending}{seconds:.0f} s]", flush=True)
    if crashed:
        print(f"benchmarks: crashed: {', '.join(crashed)}.", file=sys.stderr)
    return CRASHED if crashed else DONE


def _parse(arguments, files):
    parser = _Parser(
        prog="python -m tests.benchmarks",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument(
        "names", nargs="*", metavar="name", help=", ".join(files)
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in files]
    if unknown:
        parser.error(
            f"every name must be one of {', '.join(files)}. Received: "
            f"{', '.join(unknown)}. Leave names out to run all."
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
