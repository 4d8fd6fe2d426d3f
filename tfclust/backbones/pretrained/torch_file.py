"""Reads a PyTorch checkpoint: its tensors, and nothing that could run.

`torch.load(weights_only=True)` makes tensors and plain containers alone. The
only other class that is let through is `argparse.Namespace`, which the
checkpoints of DINO hold, and which is dropped here unread.
"""

import argparse
import importlib
import re
import warnings

import numpy as np

# What checkpoints hold beside weights, and what may be large.
_TRAINING = re.compile(
    r"(optimi[sz]er|scheduler|lr_scheduler|optimizer_state|callback|loop|loss|"
    r"hook|meter|metric)(s|es)?(_states?)?|amp|scaler|fp16_scaler|dino_loss|"
    r"criterion|args|config|hyper_parameters|L|labels|queue_state"
)
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")


def read_torch(path):
    """The tensors of a checkpoint; the state of optimizers is left out.

    Args:
      path: of a file that `torch.save` wrote.

    Returns:
      `{name: ndarray}`; names of nested dicts are joined by dots.

    Raises:
      ValueError: if PyTorch is not installed, or the file is damaged or holds
        other objects than tensors.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise ValueError(
            "a PyTorch file needs PyTorch to be read: pip install "
            '"tfclust[torch]". Or write its tensors to a .safetensors file '
            "where PyTorch is, which needs nothing here"
        ) from error
    try:
        with (
            torch.serialization.safe_globals([argparse.Namespace]),
            warnings.catch_warnings(action="ignore"),
        ):
            tree = torch.load(path, map_location="cpu", weights_only=True)
        found: dict[str, np.ndarray] = {}
        _collect(tree, "", torch, found)
        return found
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file they are of many classes
        raise ValueError(_reason(error)) from error


def _collect(tree, name, torch, found):
    """Adds the tensors of `tree`, whatever its depth."""
    if isinstance(tree, torch.Tensor):
        wide = tree.dtype in (torch.bfloat16, torch.float16)
        tensor = tree.detach().float() if wide else tree.detach()
        found[name] = tensor.numpy()
    elif isinstance(tree, dict):
        holds_weights = all(isinstance(v, torch.Tensor) for v in tree.values())
        for key, value in tree.items():
            if holds_weights or not _TRAINING.fullmatch(str(key)):
                inner = f"{name}.{key}" if name else str(key)
                _collect(value, inner, torch, found)


def _reason(error):
    """Why PyTorch does not read a file, in one sentence."""
    if "Weights only" not in str(error):
        words = f"{type(error).__name__}: {error}".splitlines()[0]
        return f"PyTorch cannot read it: {words.split('. ')[0].strip(': ')}"
    refused = _REFUSED.search(str(error))
    what = f" ({refused.group(1)})" if refused else ""
    return (
        f"it holds objects other than tensors{what}, which are not unpickled, "
        "because that could run any code. Where you trust the file, write its "
        "state_dict alone with torch.save, and give that"
    )
