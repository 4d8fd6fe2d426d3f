"""What a server's models.config says of the versions beside it.

It is protobuf's text format, of which the parts that such files use are read
here: fields, blocks, strings and integers. An export reads it before it removes
old versions, and `tensorflow-serving-api` need not be installed for that.
"""

import pathlib
import re
from typing import NamedTuple

CONFIG = pathlib.PurePath("serving", "models.config")  # beside the versions
_TOKEN = re.compile(
    r"""(?P<skip>[\s,;]+|\#[^\n]*)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<number>-?\d+)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<mark>[:{}<>])""",
    re.VERBOSE,
)
_OPENS = {"{": "}", "<": ">"}


class Labels(NamedTuple):
    """What names versions: `{label: version}`, and versions by number."""

    labels: dict
    versions: tuple = ()

    def named(self):
        """The versions that must stay."""
        return {*self.labels.values(), *self.versions}


def read(folder):
    """The `Labels` of the models.config beside the versions of `folder`.

    Returns:
      `Labels`, of every model that the file lists; empty without a file.

    Raises:
      ValueError: if the file cannot be read.
    """
    path = pathlib.Path(folder) / CONFIG
    try:
        words = path.read_text("utf-8")
        fields = parse(words)
        found = _labels_of(fields)
    except FileNotFoundError:
        return Labels({})
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(
            f"{path} must be a models.config as export.serving.serve writes "
            f"it. Received: {error}. Mend it, or write it again with "
            "export.serving.serve --stable=<version>."
        ) from error
    return found


def parse(words):
    """Fields of a text-format message: a list of (name, value).

    A value is str, int, or the list of a block's fields.

    Raises:
      ValueError: if it is not of that format.
    """
    tokens, place = [], 0
    while place < len(words):
        found = _TOKEN.match(words, place)
        if found is None:
            line = words.count("\n", 0, place) + 1
            raise ValueError(f"line {line} is not of protobuf's text format")
        if found.lastgroup != "skip":
            tokens.append((found.lastgroup, found.group()))
        place = found.end()
    fields, rest = _fields(tokens, "")
    if rest:
        raise ValueError(f"a {rest[0][1]} that closes nothing")
    return fields


def _fields(tokens, end):
    """The fields up to the mark `end`, and the tokens after it."""
    fields: list[tuple] = []
    while tokens:
        (kind, name), *tokens = tokens
        if name == end:
            return fields, tokens
        if kind != "name" or not tokens:
            raise ValueError(f"{name} where the name of a field is expected")
        value, tokens = _value(tokens)
        fields.append((name, value))
    if end:
        raise ValueError(f"a block without {end}")
    return fields, tokens


def _value(tokens):
    has_colon = tokens[0] == ("mark", ":")
    (kind, word), *rest = tokens[1:] if has_colon else tokens
    if word in _OPENS:
        return _fields(rest, _OPENS[word])
    if not has_colon or kind == "mark":
        raise ValueError(f"{word} where a value is expected")
    if kind == "number":
        return int(word), rest
    return word if kind == "name" else _plain(word[1:-1]), rest


def _plain(text):
    return re.sub(r"\\(.)", r"\1", text)


def _labels_of(fields):
    labels: dict[str, int] = {}
    versions: list[int] = []

    def visit(fields):
        for name, value in fields:
            if name == "version_labels":
                entry = dict(value)
                labels[entry["key"]] = int(entry["value"])
            elif name == "specific":
                versions.extend(int(v) for n, v in value if n == "versions")
            elif isinstance(value, list):
                visit(value)

    try:
        visit(fields)
    except KeyError as error:
        raise ValueError(f"version_labels without {error.args[0]}") from error
    return Labels(labels, tuple(versions))
