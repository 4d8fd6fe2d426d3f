"""Near duplicates: pairs of images whose features nearly agree.

Each image's eight nearest are looked at, so of a large group of equal images
not every pair is listed, but each image stands in one.
"""

from typing import NamedTuple

import numpy as np

from export.retrieval import nearest
from tfclust.runtime import files, progress, terminal

MOST_PAIRS = 100_000  # that are listed
# Comparing all with all: beyond this it takes hours.
EXACT_UP_TO = 100_000
_NEIGHBOURS = 8
_AT_ONCE = 1_024
_HEAD = "cosine\tsame_bytes\timages\tname\timages\tname"


class Pairs(NamedTuple):
    """What was found, the nearest first."""

    scores: np.ndarray  # float32 [n]
    ones: np.ndarray  # int64 [n], rows
    twos: np.ndarray  # int64 [n], larger rows
    same_bytes: np.ndarray  # bool [n]
    across: np.ndarray  # bool [n], of two folders or files of images


def find(searcher, keys, blocks, threshold):
    """`Pairs` of rows with a cosine of `threshold` or more.

    Args:
      searcher: `nearest.Searcher` over `blocks`.
      keys: list of (uri, `store.Key`), one a row.
      blocks: list of float32 `[m, F]`.
      threshold: float.
    """
    count = len(keys)
    codes, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    with progress.line("Near duplicates", count) as line:
        start = 0
        for block in blocks:
            for first in range(0, len(block), _AT_ONCE):
                rows = np.asarray(block[first : first + _AT_ONCE])
                found = searcher.search(rows, _NEIGHBOURS + 1)
                own = start + first + np.arange(len(rows))[:, None]
                near = (found.scores >= threshold) & (found.rows != own)
                low = np.minimum(found.rows, own)
                high = np.maximum(found.rows, own)
                codes.append((low * count + high)[near])
                scores.append(found.scores[near])
                line.update(len(rows))
            start += len(block)
    # Mostly each of the two tells of the pair.
    code, kept = np.unique(np.concatenate(codes), return_index=True)
    score = np.concatenate(scores)[kept]
    order = np.lexsort((code, -score))
    ones, twos = np.divmod(code[order], count)
    contents, sets = _codes(keys)
    same, across = contents[ones] == contents[twos], sets[ones] != sets[twos]
    return Pairs(score[order], ones, twos, same, across)


def _codes(keys):
    """int64 `[N]` each: equal for equal bytes; equal for the same set.

    Images that are no files have no hash, 0, but one for a name. There may be
    eight pairs an image, too many to look at one by one.
    """
    contents: dict = {}
    sets: dict[str, int] = {}
    found = [
        (
            contents.setdefault(key[1:] if key.digest else key.name, row),
            sets.setdefault(uri, row),
        )
        for row, (uri, key) in enumerate(keys)
    ]
    return np.array(found, np.int64).reshape(-1, 2).T


def write(path, found, keys):
    """Writes the pairs as a table, tabs between its columns."""
    lines = [_HEAD]
    for score, one, two, same, _ in zip(*found, strict=True):
        if len(lines) > MOST_PAIRS:
            break
        cells = [f"{score:.4f}", "yes" if same else "no"]
        for uri, key in (keys[one], keys[two]):
            cells += [terminal.one_line(uri), terminal.one_line(key.name)]
        lines.append("\t".join(cell.replace("\t", " ") for cell in cells))
    text = "\n".join(lines) + "\n"
    files.write_text(path, text)


def sentence(found, threshold, path):
    """What was found, in words."""
    total = len(found.scores)
    if not total:
        return f"Near duplicates: none at a cosine of {threshold:g} or more."
    see = "see" if total <= MOST_PAIRS else f"the nearest {MOST_PAIRS:,}:"
    return (
        f"Near duplicates: {total:,} pairs at a cosine of {threshold:g} or "
        f"more, {found.same_bytes.sum():,} of the same bytes, "
        f"{found.across.sum():,} across two sets of images; {see} {path}."
    )


def feasible(kind, count):
    """Whether the search for them ends soon."""
    lists = kind != nearest.EXACT and nearest.has_faiss()
    return lists or count <= EXACT_UP_TO
