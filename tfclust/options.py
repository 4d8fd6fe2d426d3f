"""A knob is a dataclass field that carries its own help, bounds and source.

`option()` is the only place where a default is written. `check()` reads the
bounds back in `__post_init__`; `parse()` and `text()` turn the words of a flag
into a value and back, so that the command line, the run's `config.flags` and a
notebook mean the same.
"""

import dataclasses
import math
import os
import types
import typing

import numpy as np


@dataclasses.dataclass(frozen=True)
class Option:
    """What a knob says about itself; kept in the field's metadata."""

    help: str
    unit: str = ""
    source: str = ""
    lower: float | None = None
    upper: float | None = None
    choices: tuple = ()
    resume: str = "asked"
    why_never: str = ""


RESUMES = ("free", "asked", "never")
SHAPES = "it sets the shapes of the saved state"  # a reason for never


def option(
    default,
    help,
    *,
    unit="",
    source="",
    lower=None,
    upper=None,
    choices=(),
    resume="asked",
    why_never="",
):
    """A frozen-dataclass field with its help, unit, source and bounds.

    Args:
      default: the value if none is given; immutable.
      help: one sentence for `--help`.
      unit: word for the unit, such as "epochs" or "rows".
      source: where the default comes from, such as "SwAV, A.1".
      lower: smallest allowed value (inclusive), also of each tuple entry.
      upper: largest allowed value (inclusive), also of each tuple entry.
      choices: the allowed values; empty for any.
      resume: whether a run may resume with another value: "free"; "asked", only
        with `--allow_config_change`; or "never".
      why_never: the reason for "never", to end the sentence of the refusal.

    Returns:
      A `dataclasses.field`.

    Raises:
      ValueError: if `resume` is another word, or "never" comes without a
        reason.
    """
    if resume not in RESUMES or (resume == "never") != bool(why_never):
        raise ValueError(
            f"resume must be one of {', '.join(RESUMES)}, and why_never is "
            f"only for never. Received: resume={resume}, "
            f"why_never={why_never!r}."
        )
    about = Option(
        help, unit, source, lower, upper, tuple(choices), resume, why_never,
    )  # fmt: skip
    return dataclasses.field(default=default, metadata={"option": about})


def about(config_class):
    """`{knob: Option}` of a dataclass, in the order of its fields."""
    return {
        field.name: field.metadata["option"]
        for field in dataclasses.fields(config_class)
        if "option" in field.metadata
    }


def check_one_of(config, first, second, example):
    """Refuses a config that gives both of two fields, or neither.

    Args:
      config: a dataclass. first, second: names of fields, empty if not given.
      example: str, how to give one.

    Raises:
      ValueError: if it does.
    """
    one, other = getattr(config, first), getattr(config, second)
    if bool(one) == bool(other):
        raise ValueError(
            f"give either {first} or {second}, such as {example}. Received: "
            f"{first}={one or 'none'}, {second}={other or 'none'}."
        )


def check(config):
    """Raises ValueError if a field of `config` leaves its type or bounds.

    Lists become tuples, NumPy numbers become Python numbers, and paths become
    text, as flags have them. Call it first in `__post_init__`, before checks
    that compare fields.
    """
    types_of = kinds(type(config))
    for field in dataclasses.fields(config):
        about = field.metadata.get("option")
        if about is not None:
            value = _plain(getattr(config, field.name))
            object.__setattr__(config, field.name, value)  # it is frozen
            _check_kind(field.name, value, types_of[field.name])
            _check_value(field.name, value, about)


def parse(text_value, kind):
    """The value of type `kind` that `text_value` spells.

    Args:
      text_value: as on the command line: `0.1`, `true`, `224,96`,
        `0.14:1,0.05:0.14` for a tuple of pairs, empty for `()` or None.
      kind: bool, int, float, str, `X | None`, or `tuple[...]` of these.

    Raises:
      ValueError: if it does not spell such a value.
    """
    return _parse(text_value, kind, separators=(",", ":"))


def text(value):
    """The spelling of `value` that `parse` reads back as the same value."""
    return _text(value, separators=(",", ":"))


def kinds(config_class):
    """`{field name: type}` of a dataclass, with string annotations resolved."""
    hints = typing.get_type_hints(config_class)
    return {f.name: hints[f.name] for f in dataclasses.fields(config_class)}


def _plain(value):
    if isinstance(value, (list, tuple)):
        return tuple(_plain(entry) for entry in value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _check_kind(name, value, kind):
    if not _is_kind(value, kind):
        words = str(kind) if typing.get_args(kind) else kind.__name__
        many = (value,)
        way_out = f" Try {many!r}." if _is_kind(many, kind) else ""
        raise ValueError(
            f"{name} must be of type {words}. Received: {name}={value!r}."
            f"{way_out}"
        )


def _is_kind(value, kind):
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(_is_kind(value, one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1] is Ellipsis:
            inner = (inner[0],) * len(value)
        return len(value) == len(inner) and all(map(_is_kind, value, inner))
    if kind is bool:
        return isinstance(value, bool)
    if kind is float:
        kind = (float, int)
    return isinstance(value, kind) and not isinstance(value, bool)


def _check_value(name, value, about):
    if isinstance(value, tuple):
        for entry in value:
            _check_value(name, entry, about)
        return
    if value is None:
        return
    if about.choices and value not in about.choices:
        allowed = ", ".join(str(choice) for choice in about.choices)
        raise ValueError(
            f"{name} must be one of {allowed}. Received: {name}={value}."
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(
            f"{name} must be a finite number. Received: {name}={value}."
        )
    if about.lower is not None and value < about.lower:
        raise ValueError(
            f"{name} must be at least {about.lower}. Received: {name}={value}."
        )
    if about.upper is not None and value > about.upper:
        raise ValueError(
            f"{name} must be at most {about.upper}. Received: {name}={value}."
        )


def _parse(words, kind, separators):
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        inner = [k for k in typing.get_args(kind) if k is not type(None)]
        return None if words == "" else _parse(words, inner[0], separators)
    if origin is tuple:
        return _parse_tuple(words, typing.get_args(kind), separators)
    if kind is bool:
        return _parse_bool(words)
    if kind is str:
        return words
    return kind(words.strip())


def _parse_tuple(words, entry_kinds, separators):
    if words == "":
        return ()
    separator, *deeper = separators
    parts = words.split(separator)
    if entry_kinds[-1] is Ellipsis:
        entry_kinds = (entry_kinds[0],) * len(parts)
    if len(parts) != len(entry_kinds):
        raise ValueError(
            f"expected {len(entry_kinds)} values separated by '{separator}'"
        )
    return tuple(
        _parse(part, kind, deeper)
        for part, kind in zip(parts, entry_kinds, strict=True)
    )


def _parse_bool(words):
    lowered = words.strip().lower()
    if lowered in ("true", "t", "1", "yes"):
        return True
    if lowered in ("false", "f", "0", "no"):
        return False
    raise ValueError("expected true or false")


def _text(value, separators):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        separator, *deeper = separators
        return separator.join(_text(entry, deeper) for entry in value)
    if isinstance(value, float):
        return repr(value)
    return str(value)
