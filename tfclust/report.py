"""Writes a page about a run: is it working, and what is in its clusters?

python -m tfclust.report --workdir=runs/mine
"""

from tfclust.cli import flags
from tfclust.reporting.config import ReportConfig
from tfclust.runs import folder
from tfclust.runtime import quiet, terminal


def main():
    """Writes a page about a run, or about several, and prints its path.

    One file with everything inside: curves, clusters with their images, a map,
    settings. It works for runs that are still going on.
    """
    config = flags.read(ReportConfig)
    for workdir in config.workdirs or (config.workdir,):
        folder.check_trained(workdir)
    quiet.import_tensorflow()
    from tfclust.reporting import compared, page

    write = compared.write if config.workdirs else page.write
    terminal.say(write(config))


if __name__ == "__main__":
    flags.define(ReportConfig)
    flags.run(main)
