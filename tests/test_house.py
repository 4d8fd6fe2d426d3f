"""The house keeps its size, and its pages name what there is."""

import pathlib
import re

import pytest

from tests.support.processes import ROOT

MOST_LINES = 400
PAGES = [ROOT / "README.md", ROOT / "BUILD.md", *ROOT.glob("docs/**/*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(
    r"(?<![\w./<-])(?:tfclust|configs|docs|tests|export)/[\w./-]+"
    r"\.(?:py|flags|md)\b"
)
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


@pytest.mark.parametrize("folder", ["tfclust", "tests", "export"])
def test_no_file_is_longer_than_a_reader_bears(folder):
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / folder).rglob("*.py")
        if (count := path.read_text("utf-8").count("\n")) > MOST_LINES
    }
    assert not long, f"split by theme, to {MOST_LINES} lines or fewer: {long}"


def anchors(page):
    """What `#...` may follow the page's name: its headings, as GitHub does."""
    for heading in HEADING.findall(page.read_text("utf-8")):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        yield words.replace(" ", "-")


def missing_links(page):
    """Relative links of a page that lead nowhere."""
    prose = CODE.sub("", page.read_text("utf-8"))
    for link in LINK.findall(prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def missing_paths(page):
    """Files that a page mentions from the top folder and that are not there."""
    for path in PATH.findall(page.read_text("utf-8")):
        if not (ROOT / path).is_file():
            yield path


def shown(path):
    return str(pathlib.Path(path).relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_link_and_path_of_a_page_leads_to_a_file(page):
    assert not [*missing_links(page), *missing_paths(page)]
