"""Commands of export/retrieval in this process, and small folders of images."""

import numpy as np

from export.retrieval import build_index, evaluate, search, serve
from tests.support import image_files
from tfclust.cli import flags

_COMMANDS = {
    "build_index": (build_index, build_index.IndexConfig),
    "search": (search, search.SearchConfig),
    "serve": (serve, serve.ServeConfig),
    "evaluate": (evaluate, evaluate.EvaluateConfig),
}


def status(name, **given):
    """The exit code of a command with `--name=value` for each keyword."""
    module, config = _COMMANDS[name]
    flags.define(config)
    words = [f"--{word}={value}" for word, value in given.items()]
    return flags.status(module.main, [f"{name}.py", *words])


def refusal(capfd, name, **given):
    """The one line with which a command refuses."""
    capfd.readouterr()
    assert status(name, **given) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line


def write_images(folder, count, seed=0, size=24):
    """Blocks in random colours, `0.png` and so on; returns their pixels."""
    random = np.random.default_rng(seed)
    images = []
    for i in range(count):
        coarse = random.integers(0, 256, (4, 4, 3), np.uint8)
        image = coarse.repeat(size // 4, 0).repeat(size // 4, 1)
        image_files.write(folder, f"{i}.png", image)
        images.append(image)
    return images


def clustered_rows(count, width, seed=0, per_group=50, spread=0.6):
    """float32 unit rows around random centres, as features lie."""
    random = np.random.default_rng(seed)
    groups = max(1, count // per_group)
    centres = random.standard_normal((groups, width), np.float32)
    rows = centres[random.integers(groups, size=count)]
    rows += spread * random.standard_normal((count, width), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
