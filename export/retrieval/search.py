"""Finds the images of an index that are nearest to an image.

python -m export.retrieval.search --index=idx --query=photo.jpg --top=10
"""

import dataclasses

from tfclust import options
from tfclust.cli import flags
from tfclust.options import option
from tfclust.runtime import folders, quiet, terminal


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """What is searched, and where."""

    index: str = option("", "Folder of the index.")
    query: str = option(
        "", "An image file, or images such as folder:/path, each a query."
    )
    top: int = option(10, "Images to find for each query.", lower=1)
    html: str = option(
        "", "File of a page with thumbnails to write; empty for none."
    )
    saved_model: str = option(
        "",
        "Where the index's model is now; empty for where it was when the "
        "index was built.",
    )
    max_queries: int | None = option(
        None, "Use only this many of the queries; empty for all.", lower=1
    )

    def __post_init__(self):
        options.check(self)
        for name in ("index", "query"):
            if not getattr(self, name):
                raise ValueError(
                    f"{name} must be given, such as --index=idx "
                    "--query=photo.jpg."
                )
        if self.html:
            folders.writable_file("html", self.html)


def main():
    """Finds the images of an index that are nearest to an image."""
    config = flags.read(SearchConfig)
    quiet.import_tensorflow()
    from export.retrieval import searching

    answers = searching.search(config, terminal.say)
    for line in searching.table(answers):
        terminal.say(line)
    if config.html:
        page = folders.expanded(config.html)
        searching.write_page(page, answers, config.index)
        terminal.say(f"Page: {page}")


if __name__ == "__main__":
    flags.define(SearchConfig)
    flags.run(main)
