"""Folders that one process at a time may write into; locks end with it."""

import contextlib
import errno
import fcntl
import os
import re
import stat

from tfclust.runtime import folders, terminal

FILE = ".lock"  # in a run's folder
_TAKEN = (errno.EAGAIN, errno.EACCES)  # other errors: there are no locks
_PROCESS = re.compile(rb"[0-9]*\n?")


class BusyError(RuntimeError):
    """Another run is using the workdir."""


@contextlib.contextmanager
def lock(workdir, *, really=True):
    """Locks a run's folder against a second run; makes it if necessary.

    The lock ends with the process, however it ends.

    Args:
      workdir: the run's folder.
      really: False on the hosts that help the one that has the lock.

    Raises:
      BusyError: if another process has the lock.
      ValueError: if it cannot be made or written to, or `.lock` there is not a
        run's.
    """
    if not really:
        yield
        return
    workdir = folders.writable("workdir", workdir)
    with _lock_file(workdir / FILE) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems have no locks: then there is none.
            if error.errno in _TAKEN:
                raise _busy(workdir, file) from error
        file.seek(0)
        file.truncate()
        file.write(b"%d\n" % os.getpid())
        file.flush()
        yield


def _lock_file(path):
    """The file that is locked; refuses anything that is not a run's own.

    Through a link, the file to which it leads would be emptied.
    """
    how = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, how, 0o644)
    except OSError as error:
        why = error.strerror
        if error.errno == errno.ELOOP:
            why = "it is a link"
        raise _no_lock(path, why) from error
    file = os.fdopen(descriptor, "r+b", buffering=0)
    ours = stat.S_ISREG(os.fstat(descriptor).st_mode)
    if not ours or not _PROCESS.fullmatch(file.read(100)):
        file.close()
        raise _no_lock(path, "it holds something else")
    return file


def _no_lock(path, why):
    return ValueError(
        f"workdir must have no .lock, or one with a run's process number. "
        f"Received: {path}: {why}. Move it away, or give another workdir."
    )


def _busy(workdir, file):
    file.seek(0)
    process = file.read(100).decode("ascii", "replace").strip() or "unknown"
    return BusyError(
        f"workdir={workdir} is in use: another run (process {process}) trains "
        "there. Wait for it, or give another workdir."
    )


def held(folder, *, wait=False):
    """A lock on a folder for as long as the descriptor is open.

    Args:
      folder: path of the folder.
      wait: whether to wait for another process that has it.

    Returns:
      int, the descriptor; None if another process has it, or the file system
      has no locks.
    """
    descriptor = _opened(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def alone(folder, busy):
    """The lock of `held` for a process that must be the only one.

    Where the file system has no locks it goes on without, and says so.

    Args:
      folder: path of the folder.
      busy: str, what to say if another process has the lock.

    Returns:
      int, the descriptor, to be closed at the end.

    Raises:
      ValueError: with `busy`.
    """
    descriptor = _opened(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            os.close(descriptor)
            raise ValueError(busy) from error
        terminal.say(
            f"No locks where {terminal.one_line(folder)} is "
            f"({error.strerror}): a second process that writes there would "
            "not be noticed."
        )
    return descriptor


def _opened(folder):
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
