"""All commands by one name: tfclust train --data=/my/images ...

`tfclust NAME ...` is `python -m tfclust.NAME ...`, which is what it runs.
"""

import difflib
import importlib
import runpy
import sys

from tfclust.runtime import terminal
from tfclust.runtime.exit_codes import BAD_INPUT, DONE

# In the order in which a person needs them.
COMMANDS = (
    "advise", "train", "evaluate", "report", "cluster", "embed", "export",
    "sweep",
)  # fmt: skip


def main():
    """Runs the command that the first argument names."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        sys.argv = [name, *arguments]
        runpy.run_module(f"tfclust.{name}", run_name="__main__", alter_sys=True)
        return DONE
    with terminal.guarded():
        if name in ("--help", "-h", "-help", "help"):
            print(_help())
            return DONE
        terminal.say(f"tfclust: {_unknown(name)}", sys.stderr)
        return BAD_INPUT


def _help():
    about = {
        name: importlib.import_module(f"tfclust.{name}").__doc__ or ""
        for name in COMMANDS
    }
    lines = [f"  {name:<10}{of.splitlines()[0]}" for name, of in about.items()]
    return "\n".join(
        [
            "Clusters and features from unlabelled images.\n",
            "Usage: tfclust COMMAND --flag=value ...\n",
            *lines,
            "\ntfclust COMMAND --help tells its flags. To begin:",
            "  tfclust train --data=/my/images --workdir=runs/mine",
        ]
    )


def _unknown(name):
    near = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return (
        f"the first argument must be one of {', '.join(COMMANDS)}. Received: "
        f"{name}.{hint}"
    )


if __name__ == "__main__":
    sys.exit(main())
