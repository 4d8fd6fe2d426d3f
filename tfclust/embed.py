"""Writes the features of images, for tools of one's own.

python -m tfclust.embed --workdir=runs/mine --data=/new/images \\
    --output=features.npz
"""

from tfclust import assignment
from tfclust.assignment import EmbedConfig
from tfclust.cli import flags
from tfclust.runtime import terminal


def main():
    """Writes the features of images, for tools of one's own.

    A row of numbers for each image and its name, as arrays of NumPy or as
    Parquet. A command that was killed goes on where it stopped.
    """
    assignment.embed(flags.read(EmbedConfig), terminal.say)


if __name__ == "__main__":
    flags.define(EmbedConfig)
    flags.run(main)
