"""The command line: dataclasses to flags and back, and the exit codes."""

import dataclasses
import errno

import pytest

from tests.support import processes
from tfclust import options
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runs import flagfile


@dataclasses.dataclass(frozen=True)
class Run:
    """The run."""

    method: str = option("swirl", "Which method.", choices=("swirl", "drum"))
    data: str = option("", "Where the images are.")
    rate: float = option(0.1, "How fast.", unit="steps", source="Paper, 3.1")
    loud: bool = option(False, "Whether it speaks.")
    quick: bool | None = option(None, "Whether it hurries.")
    sizes: tuple[int, ...] = option((224,), "Sides.", lower=4)
    limit: int | None = option(None, "At most so many.")

    def __post_init__(self):
        options.check(self)


@dataclasses.dataclass(frozen=True)
class Swirl:
    """Knobs of Swirl."""

    clusters: tuple[int, ...] = option((30,), "Clusters.")
    heat: float = option(0.1, "Temperature.", lower=0.01)

    def __post_init__(self):
        options.check(self)


@dataclasses.dataclass(frozen=True)
class Drum:
    """Knobs of Drum."""

    clusters: tuple[int, ...] = option((30, 30), "Clusters.")
    beats: int = option(4, "Beats.")


@pytest.fixture(autouse=True)
def command():
    flags.define(Run, method_configs={"swirl": Swirl, "drum": Drum})


def parsed(*arguments):
    flags.parse(["train.py", *arguments])


def test_flags_left_out_give_the_dataclass_defaults():
    parsed()
    assert flags.read(Run) == Run()
    assert flags.read(Swirl) == Swirl()


def test_flags_become_fields():
    parsed("--rate=0.5", "--sizes=96,64", "--limit", "7", "--loud")
    assert flags.read(Run) == Run(rate=0.5, sizes=(96, 64), limit=7, loud=True)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--loud", True),
        ("--loud=true", True),
        ("--noloud", False),
        ("--loud=no", False),
    ],
)
def test_bool_flags_read_with_and_without_a_value(argument, expected):
    parsed(argument)
    assert flags.read(Run).loud is expected


def test_optional_bool_tells_no_from_unsaid():
    parsed("--noquick")
    assert flags.read(Run).quick is False
    flags.define(Run)
    parsed("--quick=")
    assert flags.read(Run).quick is None


def test_later_flag_overrides_the_flagfile(tmp_path):
    file = tmp_path / "recipe.flags"
    file.write_text("# A recipe.\n\n--rate=0.5\n--sizes=96,64\n")
    parsed(f"--flagfile={file}", "--sizes=32")
    assert flags.read(Run) == Run(rate=0.5, sizes=(32,))


def test_flag_of_several_methods_is_read_by_the_chosen_one():
    parsed("--method=drum", "--clusters=7,8", "--beats=3")
    assert flags.read(Drum) == Drum(clusters=(7, 8), beats=3)


def test_flag_that_the_method_never_reads_names_who_does():
    with pytest.raises(flags.FlagError) as error:
        parsed("--beats=3")
    assert str(error.value) == (
        "--beats is read only by method=drum. Received: --beats=3 with "
        "method=swirl. Leave it out, or choose another method."
    )


def test_flag_of_another_method_in_a_file_is_told_once_and_passed_to_nobody(
    tmp_path, capsys
):
    file = tmp_path / "swirl.flags"
    file.write_text("--heat=0.5\n--loud\n--clusters=9\n")
    parsed("--method=drum", f"--flagfile={file}", "--noquick")
    assert capsys.readouterr().out.count("Not read: --heat is read only") == 1
    flags.parse_after(file)
    assert not capsys.readouterr().out
    words = flags.words_read()
    assert sorted(words) == [
        "--clusters=9", "--loud=true", "--method=drum", "--quick=false",
    ]  # fmt: skip
    before = flags.read(Run), flags.read(Drum)
    flags.define(Run, method_configs={"swirl": Swirl, "drum": Drum})
    parsed(*words)
    assert (flags.read(Run), flags.read(Drum)) == before
    flags.define(Run, method_configs={"swirl": Swirl, "drum": Drum})
    parsed("--method=drum")
    flags.parse_after(file, tell=False)
    assert not capsys.readouterr().out


def test_misspelt_method_is_named_before_the_flags_that_it_would_read():
    with pytest.raises(flags.FlagError) as error:
        parsed("--method=drums", "--beats=3")
    assert str(error.value) == (
        "--method must be one of swirl, drum. Received: --method=drums."
    )


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--rat=3", "Unknown command line flag 'rat'. Did you mean: rate"),
        ("--rate=fast", "--rate=fast: expected a number"),
        ("--limit=2.5", "--limit=2.5: expected a whole number"),
        ("--sizes=a,b", "whole number, or several separated by commas"),
        ("--loud=perhaps", "expected true or false"),
        ("--rate", "Missing value for flag --rate"),
        ("rate=3", "every argument must be a flag.*Received: rate=3"),
        ("--flagfile=absent.flags", "absent.flags"),
    ],
)
def test_bad_command_line_is_refused(argument, message):
    with pytest.raises(flags.FlagError, match=message):
        parsed(argument)


def test_line_of_a_flagfile_that_is_no_flag_is_refused(tmp_path):
    file = tmp_path / "recipe.flags"
    file.write_text("rate=0.5\n")
    with pytest.raises(flags.FlagError, match="Received: rate=0.5"):
        parsed(f"--flagfile={file}")


def test_written_flagfile_gives_the_same_configs_again(tmp_path):
    configs = [
        Run(data="folder:~/ä b", sizes=(), rate=1e-7, quick=True),
        Swirl(clusters=(3, 4), heat=0.3),
    ]
    file = tmp_path / "config.flags"
    flagfile.write(file, configs, header="First line.\n\nThird line.")
    assert file.read_text(encoding="utf-8").startswith("# First line.\n#\n# T")
    parsed(f"--flagfile={file}")
    assert [flags.read(Run), flags.read(Swirl)] == configs


def test_value_that_no_line_can_hold_is_not_written(tmp_path):
    file = tmp_path / "config.flags"
    for data in ("two\nlines", " space"):
        with pytest.raises(ValueError, match="data must not"):
            flagfile.write(file, [Run(data=data)])
    assert not file.exists()


def test_help_tells_default_unit_and_source_of_each_flag(capsys):
    assert flags.status(_never, ["train.py", "--help"]) == 0
    text = capsys.readouterr().out
    words = " ".join(text.split())
    assert "Usage: python -m tfclust.train --flag=value" in words
    assert "--rate=X How fast. Default: 0.1; unit: steps; source: P" in words
    assert "Default: 30 (swirl), 30,30 (drum)" in words
    assert "one of swirl, drum" in words
    assert max(len(line) for line in text.splitlines()) <= 80


def test_help_opens_with_the_flags_to_know_and_helpfull_has_all(capsys):
    flags.define(Run, first=("rate", "data"))
    assert flags.status(_never, ["train.py", "--help"]) == 0
    text = capsys.readouterr().out
    assert text.index("--rate=X") < text.index("--data=TEXT")
    assert "--limit" not in text and "5 more, with their sources" in text
    assert flags.status(_never, ["train.py", "--helpfull"]) == 0
    assert "--limit=N" in capsys.readouterr().out


@pytest.mark.parametrize("argument", ["--rat=3", "--rate=fast", "stray"])
def test_bad_flag_exits_with_2_and_one_line(argument, capsys):
    assert flags.status(_never, ["train.py", argument]) == 2
    error = capsys.readouterr().err
    assert error.startswith("train: ") and error.count("\n") == 1


def test_value_out_of_bounds_exits_with_2(capsys):
    def main():
        flags.read(Swirl)

    assert flags.status(main, ["train.py", "--heat=0"]) == 2
    assert "heat must be at least 0.01" in capsys.readouterr().err


def test_missing_file_exits_with_2(capsys):
    def main():
        with open("/nowhere/at/all"):
            pass

    assert flags.status(main, ["train.py"]) == 2
    assert "/nowhere/at/all" in capsys.readouterr().err


def test_error_that_is_no_sentence_of_ours_keeps_its_traceback():
    def main():
        int("x")

    with pytest.raises(ValueError):
        flags.status(main, ["train.py"])


def test_full_disk_exits_with_2_though_the_system_names_no_file(capsys):
    def main():
        raise OSError(errno.ENOSPC, "No space left on device")

    assert flags.status(main, ["train.py"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_interruption_exits_with_130(capsys):
    def main():
        raise KeyboardInterrupt

    assert flags.status(main, ["train.py"]) == 130
    assert capsys.readouterr().err == "train: interrupted.\n"


def test_exit_code_of_main_is_passed_on():
    assert flags.status(lambda: None, ["train.py"]) == 0
    assert flags.status(lambda: 130, ["train.py"]) == 130


def test_process_that_meets_a_bad_flag_writes_one_line():
    code = (
        "from tfclust.cli import flags\n"
        "from tfclust.optimizers import OptimizerConfig\n"
        "flags.define(OptimizerConfig)\n"
        "flags.run(lambda: None, ['train.py', '--momentun=3'])\n"
    )
    done = processes.run(["-c", code], fresh=True)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "Unknown command line flag 'momentun'" in line


def _never():
    raise AssertionError("main must not be called")
