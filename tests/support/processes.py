"""Processes that begin with TensorFlow imported: an import takes 7 s of a core.

A server, one a test process, imports it once and forks (`multiprocessing`'s
"forkserver"). A fork has an environment, arguments, output, signals and an exit
code of its own, and nothing of the test process. All forks share what an
interpreter settles when it starts or imports: the seed of hashes, addresses,
TensorFlow's own messages. What depends on these, or must not, is `fresh`: an
interpreter of its own.
"""

import atexit
import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As the commands do (`tfclust/runtime/quiet.py`).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The suite has a process a core: waiting threads of BLAS would spin on others'.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ROOT = pathlib.Path(__file__).resolve().parents[2]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tensorflow", "keras"])
_LOCK = threading.Lock()  # a start polls the others; two polls lose a code


def start(arguments, *, env=None, stderr=subprocess.PIPE, fresh=False):
    """Starts `python *arguments` in the project's root; output is text.

    Args:
      arguments: as the interpreter's: "-m" and a module, "-c" and code, or a
        file, and then the program's own.
      env: the whole environment, or None for this process's.
      stderr: `subprocess.STDOUT` joins it to standard output.
      fresh: whether it has an interpreter of its own.

    Returns:
      `subprocess.Popen`, or a `Process` that can what the tests need of it.
    """
    if not fresh:
        return Process(arguments, env, stderr)
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def run(arguments, *, env=None, timeout=300, fresh=False):
    """The `subprocess.CompletedProcess` of `start`; killed at the timeout."""
    process = start(arguments, env=env, fresh=fresh)
    try:
        output, errors = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(
        process.args, process.returncode, output, errors
    )


def run_in_subprocess(code, *, timeout=300, env=None, fresh=False):
    """Standard output of `code`, run in the project's root.

    An aborted collective poisons every later one in its process, so each
    strategy case has a process of its own.
    """
    env = {**os.environ, **(env or {})}
    done = run(["-c", code], env=env, timeout=timeout, fresh=fresh)
    assert done.returncode == 0, (
        f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    )
    return done.stdout


def free_ports(count):
    """Ports of this computer for hosts that talk to one another."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Process:
    """A fork, by the names of `subprocess.Popen`."""

    def __init__(self, arguments, env, stderr):
        self.args = [str(argument) for argument in arguments]
        env = dict(os.environ if env is None else env)
        self._errors = None
        if stderr != subprocess.STDOUT:
            self._errors = tempfile.NamedTemporaryFile(  # noqa: SIM115
                "r", errors="replace"
            )
        reader, writer = _CONTEXT.Pipe(duplex=False)
        errors = self._errors and self._errors.name
        self._process = _CONTEXT.Process(
            target=_main, args=(self.args, env, writer, errors), daemon=True
        )
        # Else a fork would begin by importing the program that asks for it.
        nothing = types.ModuleType("__main__")
        with _LOCK, mock.patch.dict(sys.modules, __main__=nothing):
            self._process.start()
        writer.close()
        self.pid = self._process.pid
        self.stdout = os.fdopen(os.dup(reader.fileno()), errors="replace")
        reader.close()

    @property
    def returncode(self):
        return self.poll()

    def poll(self):
        with _LOCK:
            return self._process.exitcode

    def wait(self, timeout=None):
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """What is left of the output, and the errors, when it has ended."""
        output = []
        reader = threading.Thread(
            target=lambda: output.append(self.stdout.read()), daemon=True
        )
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(timeout)
        return output[0], self._errors and self._errors.read()

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()


def _main(arguments, env, writer, errors):
    """In the fork: becomes the interpreter that was asked for."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT)
    # What a shell's background job ignores, its children do.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _look_for_devices()
    os.dup2(writer.fileno(), 1)
    writer.close()
    file = 1 if errors is None else os.open(errors, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 2)
    code = 0
    try:
        _interpret(*arguments)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    # `multiprocessing` leaves by `_exit`: past these, and C++ destructors.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).exit(code)


def _look_for_devices():
    """What `runtime.quiet` does after the import; its lines go nowhere."""
    import tensorflow as tf

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    tf.config.list_physical_devices()
    tf.debugging.disable_traceback_filtering()


def _interpret(kind, *rest):
    named = kind in ("-m", "-c")
    sys.path[:] = [
        str(ROOT if named else ROOT / os.path.dirname(kind)),
        *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)),
        *(p for p in sys.path if p and not p.startswith(f"{ROOT}/tests")),
    ]
    if kind == "-m":
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), module.__dict__)
    else:
        sys.argv = [kind, *rest]
        runpy.run_path(kind, run_name="__main__")
