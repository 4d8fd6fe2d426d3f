"""Commands of ours as child processes, several at a time."""

import concurrent.futures
import signal
import subprocess
import sys

from tfclust.runtime.exit_codes import INTERRUPTED


class Processes:
    """Child processes, ended if the sweep ends before them."""

    def __init__(self, at_once):
        self.pool = concurrent.futures.ThreadPoolExecutor(at_once)
        self.children: set[subprocess.Popen] = set()
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True
        self.pool.shutdown(wait=False, cancel_futures=True)
        for child in tuple(self.children):
            child.send_signal(signal.SIGTERM)  # training saves first
        self.pool.shutdown(wait=True)

    def each(self, run, variants, *arguments):
        """(variant, result of `run`) for each, as they end."""
        futures = {
            self.pool.submit(run, self, variant, *arguments): variant
            for variant in variants
        }
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()

    def call(self, log, module, *arguments):
        """The exit code of a command of ours, whose output goes to `log`."""
        if self.closed:
            return INTERRUPTED
        child = subprocess.Popen(
            [sys.executable, "-m", f"tfclust.{module}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it only through us
        )
        self.children.add(child)
        try:
            return child.wait()
        finally:
            self.children.discard(child)
