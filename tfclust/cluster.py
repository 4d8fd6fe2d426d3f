"""Says which cluster each image is in, and what to make of it.

python -m tfclust.cluster --workdir=runs/mine --data=/new/images \\
    --output=clusters.csv --gallery=clusters.html
"""

from tfclust import assignment
from tfclust.assignment import ClusterConfig
from tfclust.cli import flags
from tfclust.runtime import terminal


def main():
    """Says which cluster each image is in, and what to make of it.

    Writes a table with a row for each image, clusters.json beside it with the
    clusters' names and sizes, and a list of the images that could not be read.
    A command that was killed goes on where it stopped.
    """
    assignment.run(flags.read(ClusterConfig), terminal.say)


if __name__ == "__main__":
    flags.define(ClusterConfig)
    flags.run(main)
