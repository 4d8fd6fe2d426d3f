"""The names of what a checkpoint holds.

Here, below `runs`, because backbones read weights out of checkpoints.
"""

CHECKPOINTS = "checkpoints"  # in a run's folder, with a folder per step
ARRAYS = "arrays.npz"
MANIFEST = "manifest.json"  # written last
