"""A command's output shows every character, and its end ends nothing."""

import contextlib
import errno
import io
import os
import shlex
import sys

from tests.support import processes
from tfclust.cli import flags
from tfclust.runs import skipped
from tfclust.runtime import terminal

NAME = "a\x1b[31m\r\nb\t\u202ec\x85\udce9ü 👩.png"
SHOWN = r"a\x1b[31m\r\nb\t\u202ec\x85\xe9ü 👩.png"


def test_names_are_shown_on_one_line_without_escapes():
    assert terminal.one_line(NAME) == SHOWN


def test_a_command_can_be_pasted_into_a_shell():
    shown = terminal.command("train", workdir="my runs/a'b")
    assert shlex.split(shown)[2:] == ["tfclust.train", "--workdir=my runs/a'b"]


def test_list_of_images_left_out_has_a_line_for_each(tmp_path):
    path = skipped.write(tmp_path, [(NAME, "torn\x1b"), ("b", "torn")])
    skipped.add(tmp_path, NAME, "gone\n")
    assert path.read_bytes().decode("utf-8").splitlines() == [
        f"{SHOWN}\ttorn\\x1b",
        "b\ttorn",
        f"{SHOWN}\tgone\\n (after the check)",
    ]


def talk():
    """Says what it is told, and progress as `data.scan` does."""
    print("Left out:", NAME)
    print(f"\r\x1b[K{NAME}", file=sys.stderr)
    raise ValueError(f"{NAME} cannot\n   be read.")


def test_whatever_a_command_prints_shows_its_characters(capsys, monkeypatch):
    # As if the library had raised it.
    monkeypatch.setitem(talk.__globals__, "__package__", "tfclust")
    assert flags.status(talk, ["talk.py"]) == 2
    out, err = capsys.readouterr()
    escapes = r"a\x1b[31m\r" + "\nb\t" + r"\u202ec\x85\xe9ü 👩.png"
    assert out == f"Left out: {escapes}\n"
    progress, rest = err.split("\n", 1)
    assert progress == r"\x1b[Ka".replace(r"\x1b", "\r\x1b") + r"\x1b[31m\r"
    assert rest.endswith(
        "talk: a\\x1b[31m b\\t\\u202ec\\x85\\xe9ü 👩.png cannot be read.\n"
    )


def test_terminal_without_utf_8_gets_what_it_can_show(monkeypatch):
    plain = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    with terminal.guarded():
        print("loss · ü")
    assert plain.buffer.getvalue() == b"loss \\xb7 \\xfc\n"


@contextlib.contextmanager
def reader_gone():
    """Standard output whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    # Closing it would fail if anything were left in it.
    with (
        os.fdopen(writer, "w") as stream,
        contextlib.redirect_stdout(stream),
    ):
        yield


def test_command_goes_on_when_nobody_reads_its_output(tmp_path):
    def main():
        for _ in range(1000):
            print("epoch")
            terminal.say("epoch")
        sys.stdout.writelines(["epoch\n"])
        (tmp_path / "checkpoint").touch()

    with reader_gone():
        assert flags.status(main, ["main.py"]) == 0
    assert (tmp_path / "checkpoint").exists()


def test_exit_code_is_the_commands_own_when_nobody_reads():
    for code in (0, 130):
        with reader_gone():

            def main(code=code):
                print("unread")
                return code

            assert flags.status(main, ["main.py"]) == code


def test_closed_streams_are_none_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    def main():
        assert not sys.stderr.isatty()
        print("epoch")

    assert flags.status(main, ["main.py"]) == 0


def test_output_that_a_full_disk_lost_is_reported(
    capsys, monkeypatch, tmp_path
):
    def main():
        print("table", flush=True)
        (tmp_path / "figures").touch()

    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert flags.status(main, ["main.py"]) == 2
    assert (tmp_path / "figures").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "main: standard output could not be written: "
        f"{os.strerror(errno.ENOSPC)}."
    )


def test_python_itself_ends_with_the_commands_code():
    """It writes what is left when it ends, which gave exit code 120."""
    code = (
        "from tfclust.cli import flags\n"
        "flags.run(lambda: print('a line'), ['main.py'])\n"
    )
    process = processes.start(["-c", code])
    process.stdout.close()
    try:
        assert process.wait(60) == 0
    finally:
        process.kill()
