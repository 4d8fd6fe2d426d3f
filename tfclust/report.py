"""Writes a page about a run: is it working, and what is in its clusters?

python -m tfclust.report --workdir=runs/mine
"""

from tfclust.cli import flags
from tfclust.reporting import compared, page
from tfclust.reporting.config import ReportConfig
from tfclust.runtime import terminal


def main():
    """Writes a page about a run, or about several, and prints its path.

    One file with everything inside: curves, clusters with their images, a map,
    settings. It works for runs that are still going on.
    """
    config = flags.read(ReportConfig)
    write = compared.write if config.workdirs else page.write
    terminal.say(write(config))


if __name__ == "__main__":
    flags.define(ReportConfig)
    flags.run(main)
