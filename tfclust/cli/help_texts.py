"""The words of `--help` and of what the command line refuses."""

import dataclasses
import inspect
import textwrap
import typing

from tfclust import options

_WIDTH = 80
_FIRST = "The flags to know:"


def help_text(about, module, readers, first=()):
    """What `--help` prints.

    Args:
      about: str, what the command does.
      module: str, the command's module, such as "tfclust.train".
      readers: `{flag: readers}`, in the order of the flags; a reader has
        `config_class`, `selector` and `choice`.
      first: the flags to tell of; empty for all.
    """
    groups: dict[str, list[str]] = {}
    for name in first or readers:
        title = _FIRST if first else _title(readers[name])
        groups.setdefault(title, []).append(_knob_help(name, readers[name]))
    parts = [
        f"{inspect.cleandoc(about)}\n\n"
        f"Usage: python -m {module} --flag=value ...\n"
        "  --flagfile=FILE\n"
        "      Flags from a file, one per line; flags after it override it."
    ]
    parts += [f"{title}\n" + "\n".join(of) for title, of in groups.items()]
    if first:
        parts.append(
            f"{len(readers) - len(first)} more, with their sources: --helpfull."
        )
    return "\n\n".join(parts)


def knobs(config_class):
    """The fields of a dataclass that are options."""
    return [
        field
        for field in dataclasses.fields(config_class)
        if "option" in field.metadata
    ]


def default(config_class, name):
    """A knob's value when none is given."""
    (field,) = (f for f in knobs(config_class) if f.name == name)
    return field.default


def base(kind):
    """The type without `| None`."""
    if type(None) not in typing.get_args(kind):
        return kind
    return next(k for k in typing.get_args(kind) if k is not type(None))


def in_words(kind):
    """What a value of this type looks like, for an error."""
    plain = base(kind)
    if typing.get_origin(plain) is tuple:
        entry = typing.get_args(plain)[0]
        if typing.get_origin(entry) is tuple:
            return "pairs such as 0.14:1,0.05:0.14"
        return f"{in_words(entry)}, or several separated by commas"
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    return names.get(plain, "text")


def no_choice(selector, choices, chosen):
    """The error for a --method that does not exist."""
    return (
        f"--{selector} must be one of {', '.join(choices)}. Received: "
        f"--{selector}={chosen}."
    )


def unread(name, words, readers, chosen):
    """The error for a flag that the method chosen never reads."""
    selector = readers[0].selector
    who = " or ".join(f"{r.selector}={r.choice}" for r in readers)
    return (
        f"--{name} is read only by {who}. Received: --{name}={words} with "
        f"{selector}={chosen}. Leave it out, or choose another {selector}."
    )


def _title(readers):
    for reader in readers:
        if reader.selector is None:
            return _first_line(reader.config_class)
    choices = ", ".join(str(r.choice) for r in readers)
    return f"Knobs of {readers[0].selector} {choices}:"


def _first_line(config_class):
    line = (config_class.__doc__ or config_class.__name__).strip()
    return line.splitlines()[0].rstrip(".") + ":"


def _knob_help(name, readers):
    """The help of one flag: two or three lines."""
    config_class = readers[0].config_class
    (field,) = (f for f in knobs(config_class) if f.name == name)
    about = field.metadata["option"]
    kind = options.kinds(config_class)[name]
    facts = [f"Default: {_defaults(name, readers)}"]
    if about.unit:
        facts.append(f"unit: {about.unit}")
    if about.source:
        facts.append(f"source: {about.source}")
    if about.choices:
        facts.append("one of " + ", ".join(str(c) for c in about.choices))
    text = f"{about.help} {'; '.join(facts)}."
    filled = textwrap.fill(
        text,
        _WIDTH,
        initial_indent=" " * 6,
        subsequent_indent=" " * 6,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"  --{name}={_placeholder(kind)}\n{filled}"


def _defaults(name, readers):
    by_words: dict[str, list[str]] = {}
    for reader in readers:
        words = options.text(default(reader.config_class, name)) or "empty"
        by_words.setdefault(words, []).append(reader.choice or "")
    if len(by_words) == 1:
        return next(iter(by_words))
    return ", ".join(
        f"{words} ({', '.join(c for c in choices if c) or 'else'})"
        for words, choices in by_words.items()
    )


def _placeholder(kind):
    plain = base(kind)
    if typing.get_origin(plain) is tuple:
        entry = typing.get_args(plain)[0]
        return "A:B,..." if typing.get_origin(entry) is tuple else "A,B,..."
    return {bool: "true|false", int: "N", float: "X"}.get(plain, "TEXT")
