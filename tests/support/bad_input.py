"""How bad input is written down for `test_bad_input.py`."""

from tests.support.commands import NO_PLAN


def training(folder, data, *more):
    """The words of a run that trains on `data` into a folder's `run`."""
    return [
        "tfclust.train",
        NO_PLAN,
        f"--data={data}",
        f"--workdir={folder}/run",
        "--backbone=small",
        "--image_size=8",
        "--batch_size=2",
        "--num_clusters=2",
        "--epochs=1",
        *more,
    ]


class Cases(dict):
    """A name in words -> what is typed, and the line that answers.

    A value is a function of an empty folder, which writes there what is wrong;
    it gives the words after `python -m`, and the pattern of the one line on
    standard error.
    """

    def case(self, name):
        """Lists a function as the case `name`."""

        def listed(function):
            self[name] = function
            return function

        return listed

    def words(self, name, uri, pattern, *more):
        """A case that needs nothing but words; `{}` stands for its folder."""

        def typed(folder):
            given = [argument.replace("{}", str(folder)) for argument in more]
            uri_there = uri.replace("{}", str(folder))
            return training(folder, uri_there, *given), pattern

        self[name] = typed

    def file(self, name, uri, content, pattern):
        """A case of a file `{}/file`, of bytes or of what makes them."""

        def written(folder):
            made = content() if callable(content) else content
            (folder / "file").write_bytes(made)
            return training(folder, uri.replace("{}", str(folder))), pattern

        self[name] = written
