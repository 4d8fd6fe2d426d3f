"""Dataclass -> flags -> dataclass: the command line of every command.

A field made by `options.option` is the only definition of a knob; here it
becomes an absl flag, and the flags become the frozen dataclass again. A command
looks like this:

    def main():
        config = flags.read(RunConfig)
        ...

    if __name__ == "__main__":
        flags.define(RunConfig, method_configs={"swav": SwAVConfig})
        flags.run(main)
"""

import errno
import pathlib
import re
import signal
import sys
from typing import NamedTuple

from absl import flags as absl_flags

from tfclust import options
from tfclust.cli import help_texts
from tfclust.cli.help_texts import base, default, help_text, in_words, knobs
from tfclust.runtime import terminal
from tfclust.runtime.exit_codes import BAD_INPUT, DONE, INTERRUPTED

_CONFIGS = "_configs"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HELP = {"--help", "-help", "-h", "--helpfull", "--helpshort"}
_OURS = ("tfclust", "export")  # packages whose errors are sentences


class FlagError(ValueError):
    """The command line says something that the command does not understand."""


class _Reader(NamedTuple):
    """A dataclass that reads a flag: always, or only for one choice."""

    config_class: type
    selector: str | None  # such as "method"
    choice: str | None  # such as "swav"


class _Command:
    """The flags of one command, and who reads each."""

    def __init__(self, first=()):
        self.first = first  # the flags that `--help` tells of
        self.values = absl_flags.FlagValues()
        self.argv: list[str] = []
        self.readers: dict[str, list[_Reader]] = {}
        self.choices: dict[str, tuple] = {}  # by selector
        self.told: set[str] = set()

    def add(self, reader):
        for field in knobs(reader.config_class):
            self.readers.setdefault(field.name, []).append(reader)

    def finish(self):
        for name, readers in self.readers.items():
            kinds = [options.kinds(r.config_class)[name] for r in readers]
            absl_flags.DEFINE_flag(_KnobFlag(name, kinds), self.values)

    def value(self, name):
        """The words given for a flag; None if it was left out."""
        flag = self.values[name]
        return flag.value if flag.present else None


_command = _Command()


def define(*config_classes, first=(), **configs_by_choice):
    """Makes each knob a flag; replaces what was defined before.

    Several classes may have a knob of the same name: one flag serves them all,
    and `--help` lists each one's default.

    Args:
      *config_classes: dataclasses with `options.option` fields.
      first: names of the few flags that `--help` tells of, where `--helpfull`
        has all; empty if `--help` has all.
      **configs_by_choice: `method_configs={"swav": SwAVConfig, ...}`: only the
        class that the flag `--method` names is read. A flag that only the other
        classes have is then an error.
    """
    global _command
    command = _Command(first)
    for config_class in config_classes:
        command.add(_Reader(config_class, None, None))
    for keyword, classes in configs_by_choice.items():
        selector = keyword.removesuffix(_CONFIGS)
        if selector == keyword or selector not in command.readers:
            raise TypeError(
                f"{keyword} must be <flag>{_CONFIGS} with a knob <flag> of "
                "one of the classes. Received: knobs "
                f"{', '.join(sorted(command.readers))}."
            )
        command.choices[selector] = tuple(classes)
        for choice, config_class in classes.items():
            command.add(_Reader(config_class, selector, choice))
    command.finish()
    _command = command


def parse(argv, *, tell=True):
    """Reads the command line.

    Args:
      argv: list of str, the program's name first.
      tell: whether to say which flags of a flagfile are not read; each is said
        only once.

    Raises:
      FlagError: for an unknown flag, a value that does not parse, a flagfile
        that cannot be opened, anything that is not a flag or not UTF-8, and a
        flag that the choice made never reads.
    """
    _refuse_bytes(argv)
    _command.argv = argv
    try:
        _, *rest = _command.values(argv)
    except (absl_flags.Error, ValueError, UnicodeDecodeError) as error:
        raise FlagError(str(error).removeprefix("ERROR:: ")) from error
    if rest:
        raise FlagError(
            "every argument must be a flag, --name=value. Received: "
            f"{' '.join(rest)}."
        )
    _refuse_unknown_choices()
    for name, readers in _unread():
        _refuse_unread(name, readers, tell)


def words():
    """The words of the command line, without the program's name."""
    return _command.argv[1:]


def words_read():
    """One word for each flag that is given, here or in a flagfile, and read."""
    unread = {name for name, _ in _unread()}
    values = {
        name: _command.value(name)
        for name in _command.readers
        if name not in unread
    }
    return [
        f"--{n}={words}" for n, words in values.items() if words is not None
    ]


def has_flagfile():
    """Whether the command line names a flagfile."""
    return any(w.lstrip("-").startswith("flagfile") for w in words())


def parse_after(flagfile, *, tell=True):
    """Reads the command line again, after a flagfile that it overrides.

    Args:
      flagfile: path of the file.
      tell: as in `parse`.

    Raises:
      FlagError: as `parse`.
    """
    argv = [_command.argv[0], f"--flagfile={flagfile}", *words()]
    parse(argv, tell=tell)


def read(config_class):
    """The dataclass that the command line describes.

    Args:
      config_class: one of those given to `define`.

    Raises:
      ValueError: if a value does not parse or leaves its bounds.
    """
    return config_class(**given(config_class))


def given(config_class):
    """`{knob: value}` of a dataclass's flags on the command line.

    Args:
      config_class: one of those given to `define`.

    Raises:
      FlagError: if a value does not parse.
    """
    kinds = options.kinds(config_class)
    values = {}
    for field in knobs(config_class):
        words = _command.value(field.name)
        if words is not None:
            values[field.name] = _parsed(field.name, words, kinds[field.name])
    return values


def run(main, argv=None):
    """Parses the command line, calls `main` and leaves Python.

    The exit code is `main`'s, 0 for None; 2 with one line for bad input; 130
    after an interruption. Any other exception is a bug and keeps its traceback.

    Args:
      main: a function without arguments.
      argv: list of str, the program's name first; None for `sys.argv`.
    """
    sys.exit(status(main, argv))


def status(main, argv=None):
    """The exit code of `run`.

    Standard output may be closed; if it lost something to a full disk, it is 2.
    """
    argv = sys.argv if argv is None else argv
    program = pathlib.Path(argv[0]).stem
    with terminal.guarded() as output:
        code = _status(main, argv, program)
        output.flush()
        if code == DONE and terminal.refused(output.failure):
            why = output.failure.strerror
            terminal.say(
                f"{program}: standard output could not be written: {why}.",
                sys.stderr,
            )
            return BAD_INPUT
        return code


def _module(program):
    """The full name of the command's module, as python -m takes it."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = getattr(spec, "name", "")
    known = name.split(".")[0] in _OURS and name.endswith(f".{program}")
    return name if known else f"tfclust.{program}"


def _print_help(main, program, full):
    about, module = main.__doc__ or "", _module(program)
    first = () if full else _command.first
    print(help_text(about, module, _command.readers, first))


def _status(main, argv, program):
    try:
        if _HELP & set(argv):
            _print_help(main, program, full="--helpfull" in argv)
            return DONE
        parse(argv)
        # `kill` acts as Ctrl-C does; training has a handler that saves first.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return main() or DONE
    except KeyboardInterrupt:
        print(f"{program}: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, RuntimeError) as error:
        if not _is_bad_input(error):
            raise
        words = re.sub(r"\s*[\r\n]\s*", " ", str(error)).strip()
        terminal.say(f"{program}: {words}", sys.stderr)
        return BAD_INPUT


class _KnobParser(absl_flags.ArgumentParser):
    """Keeps the words, which must parse for one of the readers."""

    def __init__(self, kinds):
        self.kinds = kinds

    def parse(self, argument):
        for kind in self.kinds:
            try:
                options.parse(argument, kind)
                return argument
            except ValueError:
                continue
        raise ValueError(f"expected {in_words(self.kinds[0])}.")


class _KnobFlag(absl_flags.Flag):
    """A flag whose value is None until it is given."""

    def __init__(self, name, kinds):
        super().__init__(
            parser=_KnobParser(kinds),
            serializer=absl_flags.ArgumentSerializer(),
            name=name,
            default=None,
            help_string="",
            boolean=all(base(kind) is bool for kind in kinds),
        )


def _refuse_bytes(argv):
    """Refuses words that are not UTF-8, which no flagfile can hold."""
    for words in argv[1:]:
        try:
            words.encode()
        except UnicodeEncodeError as error:
            shown = words.encode("utf-8", "surrogateescape")
            raise FlagError(
                "every argument must be UTF-8, since config.flags repeats it. "
                f"Received: {shown.decode('utf-8', 'backslashreplace')}. Give "
                "it another name, or a link to it."
            ) from error


def _refuse_unknown_choices():
    """Refuses a misspelt --method first: nobody knows what it would read."""
    for selector, choices in _command.choices.items():
        chosen = _selected(selector)
        if chosen not in choices:
            raise FlagError(help_texts.no_choice(selector, choices, chosen))


def _unread():
    """(name, readers) of flags that the choices made never read."""
    for name, readers in _command.readers.items():
        read = any(r.selector is None or _chosen(r) for r in readers)
        if _command.value(name) is not None and not read:
            yield name, readers


def _refuse_unread(name, readers, tell):
    """Refuses a flag that nobody reads, but only tells of one in a flagfile.

    A file is written for its own method; another one on the command line, to
    try it with the rest of the file, is meant.
    """
    words, selector = _command.value(name), readers[0].selector
    error = help_texts.unread(name, words, readers, _selected(selector))
    if _on_command_line(name):
        raise FlagError(error)
    if tell and error not in _command.told:
        terminal.say(f"Not read: {error}")
        _command.told.add(error)


def _on_command_line(name):
    """Whether a flag stands on the command line itself, not in a flagfile."""
    spelt = {f"--{name}", f"-{name}", f"--no{name}", f"-no{name}"}
    return any(words.partition("=")[0] in spelt for words in _command.argv)


def _chosen(reader):
    return _selected(reader.selector) == reader.choice


def _selected(selector):
    """The value of a flag such as --method, or its default."""
    words = _command.value(selector)
    if words is not None:
        return words
    owner = _command.readers[selector][0].config_class
    return default(owner, selector)


def _parsed(name, words, kind):
    try:
        return options.parse(words, kind)
    except ValueError as error:
        raise FlagError(
            f"flag --{name}={words}: expected {in_words(kind)}."
        ) from error


def _is_bad_input(error):
    """Whether an error is a sentence of ours to the user, not a bug.

    The library raises these on purpose, with a way out; the same error from
    elsewhere is a mistake in the code. A missing file or a full disk is for the
    user to mend, whichever code met it.
    """
    of_system = isinstance(error, OSError)
    if of_system and (error.filename is not None or error.errno in _FULL):
        return True
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    package = trace.tb_frame.f_globals.get("__package__") or ""
    return package.split(".")[0] in _OURS
