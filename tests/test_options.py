"""A knob's bounds, and its way to words and back."""

import dataclasses
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfclust import options
from tfclust.options import option


@dataclasses.dataclass(frozen=True)
class Knobs:
    rate: float = option(0.1, "A rate.", lower=0.0, upper=1.0)
    sizes: tuple[int, ...] = option((3,), "Sizes.", lower=1)
    kind: str = option("a", "A kind.", choices=("a", "b"))
    limit: int | None = option(None, "A limit.", lower=2)
    share: float = option(0.5, "A share without bounds.")

    def __post_init__(self):
        options.check(self)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"rate": -0.5}, "rate must be at least 0.0. Received: rate=-0.5"),
        ({"rate": 1.5}, "rate must be at most 1.0"),
        ({"rate": float("nan")}, "rate must be a finite number"),
        ({"share": float("inf")}, "share must be a finite number"),
        ({"share": float("-inf")}, "share must be a finite.*share=-inf"),
        ({"sizes": (4, 0)}, "sizes must be at least 1. Received: sizes=0"),
        ({"kind": "c"}, "kind must be one of a, b. Received: kind=c"),
        ({"limit": 1}, "limit must be at least 2"),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(knobs, message):
    with pytest.raises(ValueError, match=message):
        Knobs(**knobs)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (
            {"sizes": 4},
            r"sizes must be of type tuple\[int, ...\]. .* sizes=4. ",
        ),
        ({"sizes": 4}, r"Try \(4,\)\."),
        ({"rate": np.float32("nan")}, "rate must be a finite number"),
        ({"sizes": "4,5"}, "sizes must be of type .* sizes='4,5'"),
        ({"sizes": [4, 0.5]}, r"sizes must be of .* sizes=\(4, 0.5\)"),
        ({"rate": "0.1"}, "rate must be of type float. .* rate='0.1'"),
        ({"rate": None}, "rate must be of type float. Received: rate=None"),
        ({"rate": True}, "rate must be of type float. Received: rate=True"),
        ({"limit": 2.0}, r"limit must be of type int \| None. .* limit=2.0"),
        ({"kind": 3}, "kind must be of type str"),
    ],
)
def test_value_of_another_type_is_refused_by_name(knobs, message):
    with pytest.raises(ValueError, match=message):
        Knobs(**knobs)


def test_lists_numpys_numbers_and_paths_become_what_a_flag_gives():
    knobs = Knobs(sizes=[3, np.int64(4)], rate=np.float32(0.5), share=1)
    assert knobs == Knobs(sizes=(3, 4), rate=0.5, share=1.0)
    assert options.text(knobs.sizes) == "3,4"
    assert options.text(knobs.rate) == "0.5"

    @dataclasses.dataclass(frozen=True)
    class Place:
        where: str = option("", "A folder.")

        def __post_init__(self):
            options.check(self)

    assert Place(pathlib.PurePosixPath("a/b")).where == "a/b"


def test_bounds_include_their_ends_and_spare_none():
    Knobs(rate=0.0)
    Knobs(rate=1.0, limit=2)
    Knobs(limit=None)


numbers = st.floats(allow_nan=False)
words = st.text(st.characters(exclude_characters=",:"))
KINDS = [
    (bool, st.booleans()),
    (int, st.integers()),
    (float, numbers),
    (str, st.text()),
    (float | None, st.none() | numbers),
    (tuple[int, ...], st.lists(st.integers()).map(tuple)),
    (tuple[float, float], st.tuples(numbers, numbers)),
    (
        tuple[tuple[float, float], ...],
        st.lists(st.tuples(numbers, numbers)).map(tuple),
    ),
    (tuple[int, ...] | None, st.none() | st.just((1, 2))),
]


@pytest.mark.parametrize(("kind", "values"), KINDS, ids=lambda k: str(k))
def test_text_parses_back_to_the_same_value(kind, values):
    @given(values)
    def check(value):
        assert options.parse(options.text(value), kind) == value

    check()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("fast", float),
        ("1.5", int),
        ("", int),
        ("maybe", bool),
        ("1,x", tuple[int, ...]),
        ("1,2,3", tuple[float, float]),
        ("0.1:1:2", tuple[tuple[float, float], ...]),
    ],
)
def test_words_of_another_kind_are_refused(words, kind):
    with pytest.raises(ValueError):
        options.parse(words, kind)


def test_kinds_resolve_string_annotations():
    @dataclasses.dataclass(frozen=True)
    class Late:
        count: "int" = option(1, "A count.")

    assert options.kinds(Late) == {"count": int}


@pytest.mark.parametrize(
    "rule", [{"resume": "never"}, {"resume": "some"}, {"why_never": "so"}]
)
def test_knob_that_no_run_may_change_says_why(rule):
    with pytest.raises(ValueError, match="why_never is only for never"):
        option(1, "A knob.", **rule)
