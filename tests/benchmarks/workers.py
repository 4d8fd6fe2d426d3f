"""Rivals in processes of their own, which take their turns one at a time.

A worker builds what it times, says so, and then takes a turn for each line that
it reads. While one works the others sleep, so that `pairs.time_pairs` may call
them in turn. Imports neither TensorFlow nor PyTorch: each is in one side alone.
"""

import json
import subprocess
import sys


class Worker:
    """A process that runs `serve`.

    Args:
      command: list of its arguments, interpreter first.
    """

    def __init__(self, command):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()
        self.seconds = []  # of the processor, by turn

    def turn(self):
        """Lets the process take a turn, and waits for its end."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(self._answer())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise RuntimeError(f"{self.process.args} ended with {code}.")
        return json.loads(line)


def serve(step, about, clock):
    """Tells `about`, then calls `step` for each line of standard input.

    Args:
      step: function without arguments that ends when its work is done.
      about: what `json` can write.
      clock: function that tells this process's processor seconds.
    """
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        began = clock()
        step()
        print(json.dumps(clock() - began), flush=True)
