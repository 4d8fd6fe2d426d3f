"""Where files of a data set lie: in a folder, or in a zip."""

import pathlib
import zipfile

from tfclust.data.reading.files import read_regular
from tfclust.runtime import folders
from tfclust.runtime.terminal import one_line


class Folder:
    """Files of a folder, by their relative names."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def read(self, name):
        """The bytes of a file.

        Raises:
          OSError: if it is missing or cannot be read.
        """
        return read_regular(self.path / name)[0]

    def mark(self, name):
        """Bytes and time of a file, which tell whether it has changed; OSError
        if it is missing."""
        stat = (self.path / name).stat()
        return stat.st_size, stat.st_mtime_ns

    def names(self, folder):
        """Names of the files in a folder of it, sorted; with the folder."""
        try:
            found = [p for p in (self.path / folder).iterdir() if p.is_file()]
        except OSError:
            return []
        return sorted(str(p.relative_to(self.path)) for p in found)


class Zip:
    """Members of a zip, below the folder that holds them all."""

    def __init__(self, path, below=""):
        self.path, self.below = pathlib.Path(path), below
        self._file = zipfile.ZipFile(path)
        self._members = set(self._file.namelist())

    def read(self, name):
        """As `Folder.read`."""
        member = f"{self.below}{name}"
        if member not in self._members:
            raise FileNotFoundError(2, "No such file in the zip", member)
        try:
            return self._file.read(member)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise OSError(5, f"damaged in the zip: {error}", member) from error

    def mark(self, name):
        """As `Folder.mark`; the time is the zip's."""
        member = f"{self.below}{name}"
        if member not in self._members:
            raise FileNotFoundError(2, "No such file in the zip", member)
        size = self._file.getinfo(member).file_size
        return size, self.path.stat().st_mtime_ns

    def names(self, folder):
        """As `Folder.names`."""
        begin = f"{self.below}{folder}/"
        rest = [m.removeprefix(self.below) for m in self._members
                if m.startswith(begin)]  # fmt: skip
        return sorted(n for n in rest if "/" not in n[len(folder) + 1 :] and n)


def opened(path, inside, argument, shown):
    """The place that holds a folder called `inside`: `path`, or in it.

    Args:
      path: of a folder or a zip; `~` is the home folder.
      inside: str, a folder that must be there, such as "Annotations"; it may
        lie one folder deeper, as archives have it.
      argument: str, the argument that gave the path, for errors.
      shown: str, what the user wrote.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if a file is there that is no zip.
    """
    path = folders.expanded(path)
    told = f"{argument}={one_line(shown)}"
    if path.is_dir():
        for place in (path, *sorted(p for p in path.iterdir() if p.is_dir())):
            if (place / inside).is_dir():
                return Folder(place)
        raise FileNotFoundError(
            f"{told}: expects a folder with {inside}/ in it. Found none in "
            f"{path}."
        )
    if not path.exists():
        raise FileNotFoundError(f"{told}: nothing at {path}.")
    return _opened_zip(path, inside, told)


def _opened_zip(path, inside, told):
    try:
        names = Zip(path)._members
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(
            f"{told} must be a folder or a zip. Received: a file that is "
            f"neither ({error})."
        ) from error
    ends = [n.partition(f"{inside}/") for n in sorted(names)]
    below = {
        begin
        for begin, found, _ in ends
        if found and begin.count("/") <= 1 and (not begin or begin[-1] == "/")
    }
    if not below:
        raise FileNotFoundError(
            f"{told}: expects {inside}/ in the zip, at most one folder deep. "
            "Found none."
        )
    return Zip(path, min(below, key=len))
