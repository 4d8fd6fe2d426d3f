"""Standard output and error of a command: readable, and never fatal.

A file's name may contain any character, even those that move a terminal's
cursor or start a new line; they are shown as `\\x1b`. The reader of the output
may stop (`| head -1`), or its disk may be full: the command continues.
"""

import contextlib
import errno
import os
import re
import shlex
import sys
import unicodedata

# Progress lines are redrawn in place; a sentence starts with neither of these.
_REDRAWN = re.compile(r"\r(?:\x1b\[K)?")


def one_line(text):
    """`text` as one line that a terminal shows as it is, such as `\\n`.

    Args:
      text: whatever `str` takes.
    """
    return _shown(str(text), "")


def say(sentence, file=None):
    """Prints a sentence on one line, at once.

    Args:
      sentence: str, or a path.
      file: a stream; None for standard output.
    """
    print(one_line(sentence), file=file, flush=True)


def command(name, **flags):
    """A command of ours as a person can paste it into a shell.

    Args:
      name: str, such as "train".
      **flags: their values.
    """
    words = [f"--{flag}={value}" for flag, value in flags.items()]
    return shlex.join(["python", "-m", f"tfclust.{name}", *words])


@contextlib.contextmanager
def guarded():
    """A context in which standard output and error never fail the command.

    Yields:
      The stream of standard output, whose `failure` is the `OSError` with which
      it ended, or None.
    """
    before = sys.stdout, sys.stderr
    output, errors = _Stream(sys.stdout), _Stream(sys.stderr)
    sys.stdout, sys.stderr = output, errors
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


def refused(failure):
    """Whether output was lost although its reader has not left."""
    return failure is not None and failure.errno != errno.EPIPE


class _Stream:
    """A text stream that accepts any text, and is silent once it has failed."""

    def __init__(self, stream):
        if stream is None:  # closed before Python started
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        self._stream = stream
        self.failure: OSError | None = None

    def write(self, text):
        redrawn = _REDRAWN.match(text)
        begin = redrawn.group() if redrawn else ""
        shown = begin + _shown(text[len(begin) :], "\n\t")
        encoding = self._stream.encoding or "utf-8"
        shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        self._try(lambda: self._stream.write(shown))
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        self._try(self._stream.flush)

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def _try(self, act):
        if self.failure is not None:
            return
        try:
            act()
        except OSError as error:
            self.failure = error
            # What is buffered would fail again when Python ends: exit code 120.
            with contextlib.suppress(OSError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


def _shown(text, kept):
    if text.isprintable():
        return text
    return "".join(
        # Python calls only ASCII's space printable; names contain others.
        c
        if c in kept or c.isprintable() or unicodedata.category(c) == "Zs"
        else _escape(c)
        for c in text
    )


def _escape(character):
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte not in UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
