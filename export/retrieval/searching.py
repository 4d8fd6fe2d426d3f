"""Queries to an index: images in, names and cosines out."""

import os
import pathlib
import tempfile
from typing import NamedTuple

from export.retrieval import model, nearest, pictures, store
from tfclust import data
from tfclust.data.sources.folder import HEIC_SUFFIXES, SUFFIXES
from tfclust.runtime import folders, pages, terminal

_TEMPLATE = pathlib.Path(__file__).with_name("results.html")
_THUMBNAIL = 160  # pixels
_MOST_ON_PAGE = 200  # queries; a page of more is slow to open


class Result(NamedTuple):
    """An image of the index beside a query."""

    score: float  # cosine
    uri: str
    name: str


class Answer(NamedTuple):
    """A query, and what is nearest to it."""

    uri: str
    name: str
    results: list  # of `Result`, the nearest first


def search(config, say):
    """The `Answer`s to the queries of a `search.SearchConfig`.

    Args:
      config: `search.SearchConfig`.
      say: called with notices.
    """
    index = store.open_index(config.index, opens=nearest.searcher)
    current = model.of_index(index, config.index, config.saved_model)
    searcher = index.searcher
    if searcher.notice:
        say(searcher.notice)
    known = store.names_of(index.parts)
    answers = []
    with _queries(config) as (source, uri):
        for name, reason in source.skipped:
            say(f"Left out: {name}: {reason}.")
        names = source.manifest().names
        for rows, features in model.features_of(current, source):
            found = searcher.search(features, config.top)
            for row, scores, near in zip(rows, *found, strict=True):
                if names[row] in source.failures:
                    continue
                results = [
                    Result(float(score), *known[place])
                    for score, place in zip(scores, near, strict=True)
                    if place >= 0
                ]
                answers.append(Answer(uri, names[row], results))
        for name, reason in sorted(source.failures.items()):
            say(f"Left out: {terminal.one_line(name)}: {reason}.")
    return answers


def table(answers):
    """The answers as lines of text."""
    lines = []
    for answer in answers:
        lines += ["", f"{terminal.one_line(answer.name)}"]
        several = len({result.uri for result in answer.results}) > 1
        for rank, result in enumerate(answer.results, 1):
            where = f"  ({result.uri})" if several else ""
            shown = terminal.one_line(f"{result.name}{where}")
            lines.append(f"{rank:4}  {result.score:7.4f}  {shown}")
    return lines[1:]


def write_page(path, answers, index):
    """Writes the answers with thumbnails as a page of one file.

    Returns:
      int, how many of the answers it shows.
    """
    shown = answers[:_MOST_ON_PAGE]
    at = pictures.Pictures()

    def picture(uri, name):
        image = at.image(uri, name)
        if image is None:
            return None
        return pages.thumbnail(image, _THUMBNAIL)

    rows = [
        {
            "name": answer.name,
            "picture": picture(answer.uri, answer.name),
            "results": [
                {**result._asdict(), "picture": picture(*result[1:])}
                for result in answer.results
            ],
        }
        for answer in shown
    ]
    pages.write(
        path,
        _TEMPLATE,
        rows=rows,
        index=str(index),
        left=len(answers) - len(shown),
    )
    return len(shown)


def _queries(config):
    """A context with the source of the queries, and its URI."""
    path = folders.expanded(config.query)
    if path.is_file() and ":" not in config.query.partition("/")[0]:
        return _OneFile(path)
    return _Many(config)


class _Many:
    def __init__(self, config):
        self._source = data.open_source(
            config.query,
            max_images=config.max_queries,
            max_bad_share=1.0,
            argument="query",
        )

    def __enter__(self):
        if self._source.is_stream:
            raise ValueError(
                "query must be an image, or images that can be named. "
                f"Received: query={self._source.uri}, a stream."
            )
        return self._source, self._source.uri

    def __exit__(self, *error):
        return None


class _OneFile:
    """A file as a folder of its own, so that it is read as all images are."""

    def __init__(self, path):
        self._path = path.absolute()
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self):
        known = (*SUFFIXES, *HEIC_SUFFIXES)
        ending = self._path.suffix.lower()
        link = pathlib.Path(
            self._folder.name,
            # What a file is, is seen from its bytes, not from its ending.
            self._path.name if ending in known else f"{self._path.name}.jpg",
        )
        os.symlink(self._path, link)
        try:
            source = data.open_source(
                self._folder.name, max_bad_share=1.0, argument="query"
            )
        except data.UnreadableImages as error:
            reason = error.skipped[0][1] if error.skipped else "unknown"
            self._folder.cleanup()
            raise ValueError(
                "query must be an image that can be read. Received: "
                f"query={terminal.one_line(self._path)}: {reason}."
            ) from error
        source.manifest().names[:] = [self._path.name]
        return source, f"folder:{self._path.parent}"

    def __exit__(self, *error):
        self._folder.cleanup()
