"""Mutated bytes: a reader reads, lists, or refuses with a sentence.

Never another class of error than ValueError and OSError, and nothing that
takes long or asks for memory that is not there.
"""

import gzip
import os
import random
import resource
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import bad_bytes as made
from tfclust import data
from tfclust.data.reading.headers import Header, read_header
from tfclust.data.sources import schemes
from tfclust.runtime.terminal import one_line

GROWTH_BYTES = 1 << 28  # TensorFlow's own arenas are of tens of MB


@pytest.fixture(autouse=True)
def bounded_memory():
    """Readers that take what a header announces take more than this."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < GROWTH_BYTES


def mutated(whole, rng):
    """`whole` with a few bytes changed, cut, doubled or put in."""
    content = bytearray(whole)
    for _ in range(rng.choice([1, 1, 2, 8])):
        place = rng.randrange(len(content) + 1)
        some = rng.randrange(1, 9)
        match rng.randrange(6):
            case 0 if place < len(content):
                content[place] ^= 1 << rng.randrange(8)
            case 1:
                content[place : place + some] = rng.randbytes(some)
            case 2:
                content[place : place + some] = b"\xff" * some
            case 3:
                del content[place : place + some]
            case 4:
                del content[place:]
            case 5:
                content[place:place] = content[: some * 8]
    return bytes(content)


def opened(uri, **how):
    """A source that is sound, or None where it is refused with a sentence."""
    try:
        source = data.open_source(uri, max_bad_share=0.9, **how)
    except (ValueError, OSError) as error:
        words = str(error)
        assert len(words) > 20 and "\n" not in words
        assert type(error) in (
            ValueError,
            FileNotFoundError,
            data.UnreadableImages,
        )
        return None
    assert source.num_images > 0
    assert (source.heights > 0).all() and (source.widths > 0).all()
    assert all(reason for _, reason in source.skipped)
    return source


def few_and_many(few, many):
    """`count` mutations in the quick suite and in the whole one."""
    many = pytest.param(many, marks=pytest.mark.slow)
    return pytest.mark.parametrize("count", [few, many])


@few_and_many(80, 2000)
@pytest.mark.parametrize("packed", [False, True])
def test_mutated_records_are_read_listed_or_refused(tmp_path, count, packed):
    rng = random.Random(1)
    whole = made.good(3)
    for i in range(count):
        content = mutated(whole, rng)
        if packed:
            content = gzip.compress(content)
            content = mutated(content, rng) if i % 2 else content
        path = tmp_path / f"{i}.tfrecord"
        path.write_bytes(content)
        source = opened(f"tfrecord:{path}", max_images=5)
        opened(f"tfrecord_stream:{path}?window=4")
        if source and source.labels is not None:
            assert set(source.labels.tolist()) <= {0, 1, 2}


@few_and_many(40, 1500)
def test_mutated_examples_of_right_checksums_are_listed_or_refused(
    tmp_path, count
):
    rng = random.Random(2)
    record = made.example(image=made.picture(), label=1)
    for i in range(count):
        path = tmp_path / f"{i}.tfrecord"
        path.write_bytes(made.framed(record, mutated(record, rng)))
        assert opened(f"tfrecord:{path}") is not None
        opened(f"tfrecord_stream:{path}?window=2")


@few_and_many(200, 5000)
def test_mutated_archives_are_read_or_refused(tmp_path, count):
    rng = random.Random(3)
    pixels = np.zeros([2, 8, 8], np.uint8)
    plain = made.archive(x=pixels, y=np.arange(2), class_names=["a", "b"])
    packed = made.archive(np.savez_compressed, x=pixels, y=np.arange(2))
    path = tmp_path / "a.npz"
    for i in range(count):
        path.write_bytes(mutated((plain, packed)[i % 2], rng))
        opened(f"npz:{path}?images=x&labels=y")


@few_and_many(40, 1500)
@pytest.mark.parametrize("kind", ["folder", "tfrecord"])
def test_mutated_caches_change_nothing(tmp_path, kind, count):
    rng = random.Random(4)
    images, cache = tmp_path / "images", tmp_path / "cache"
    images.mkdir()
    (images / "a.png").write_bytes(made.picture())
    (tmp_path / "a.tfrecord").write_bytes(made.good(2))
    place = images if kind == "folder" else tmp_path / "a.tfrecord"
    first = opened(f"{kind}:{place}", cache_dir=cache)
    found = cache.glob("*") if kind == "folder" else tmp_path.glob(".*.npz")
    (kept,) = found
    whole = kept.read_bytes()
    for i in range(count):
        content = mutated(whole, rng)
        if i % 2:  # as a writer gone wrong would: the zip itself is sound
            content = rewritten(kept, whole, rng)
        kept.write_bytes(content)
        again = opened(f"{kind}:{place}", cache_dir=cache)
        assert again.num_images == first.num_images
        assert not again.skipped


def rewritten(path, whole, rng):
    """An archive with one array that is cut, or of another type or shape."""
    path.write_bytes(whole)
    with np.load(path) as stored:
        arrays = dict(stored)
    name = rng.choice(sorted(arrays))
    array = np.atleast_1d(arrays[name])
    changes = [
        lambda: array[:-1],
        lambda: np.concatenate([array, array]),
        lambda: array[:, None],
        lambda: array.astype(str),
        lambda: array.view(np.uint8),
        lambda: np.zeros(0),
        lambda: np.array(None),
    ]
    arrays[name] = rng.choice(changes)()
    return made.archive(**arrays)


@few_and_many(2000, 50_000)
def test_mutated_headers_are_none_or_of_a_kind(count):
    rng = random.Random(5)
    kinds = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
    wholes = [made.picture(kind) for kind in kinds]
    for i in range(count):
        found = read_header(mutated(wholes[i % len(wholes)], rng))
        assert found is None or isinstance(found, Header)
        assert found is None or found.orientation in range(1, 9)


@few_and_many(30, 1000)
def test_trees_of_any_shape_are_listed_each_folder_once(tmp_path, count):
    """Folders, files and links to whatever, those above among it."""
    rng = random.Random(6)
    for i in range(count):
        top = tmp_path / str(i)
        top.mkdir()
        places = [top]
        for j in range(rng.randrange(1, 12)):
            path = rng.choice(places) / rng.choice(["a", ".b", "c\n", "d.png"])
            if os.path.lexists(path):
                continue
            match rng.randrange(4):
                case 0 | 1:
                    path.mkdir()
                    places.append(path)
                case 2:
                    path.with_name(f"{j}.png").write_bytes(made.picture())
                case 3:
                    path.symlink_to(rng.choice([*places, "nowhere", path]))
        source = opened(f"folder:{top}")
        if source is not None:
            inodes = source.identities()
            assert len(inodes) == len(set(inodes))
            names = source.manifest().names
            assert names == sorted(names)


URIS = st.one_of(
    st.text(max_size=40),
    st.builds(
        "{}:{}?{}".format,
        st.sampled_from(list(schemes.SCHEMES)),
        st.sampled_from(["", "/nowhere", "~", "~x", "[", "\0", "\ud800"]),
        st.lists(
            st.sampled_from(
                ["split", "=", "&", "images", "window", "%", "+", "?", "%00",
                 "train", "1", "9" * 400, ";", "\x1b", "labels", "data_dir"]
            )
        ).map("".join),
    ),
)  # fmt: skip
QUICK = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUICK
@given(uri=URIS)
def test_any_text_is_a_source_or_refused_in_printable_words(uri):
    if uri.startswith("tfds:"):  # what TFDS says of names is its own matter
        uri = uri.replace("?", "?x=&", 1)
    try:
        data.open_source(uri, max_images=3)
    except (ValueError, FileNotFoundError) as error:
        assert str(error) == one_line(error)
        assert type(error) in (ValueError, FileNotFoundError)


@QUICK
@given(name=st.text(st.characters(codec=None), max_size=30))
def test_any_name_is_printable(name):
    shown = one_line(name)
    spaces = {c for c in shown if unicodedata.category(c) == "Zs"}
    assert all(c.isprintable() or c in spaces for c in shown)
