"""What is to be found: images of a class, or of the same object."""

import numpy as np

from tfclust.retrieval import landmarks, maps, ranking
from tfclust.runtime import terminal


def task(source, queries, truth):
    """What is to be found.

    Args:
      source: `data.Source`, what is searched.
      queries: `data.Source`, or None for the same images.
      truth: `landmarks.GroundTruth`; None or empty for classes.

    Returns:
      An object with `notices`, list of str; `judged(describe)`, a
      `ranking.Judged`; and `figures(describe)`, its figures.

    Raises:
      ValueError: if the images have no labels, or not those of `truth`.
    """
    if truth:
        return InstanceTask(source, queries or source, truth)
    return ClassTask(source, queries)


class ClassTask:
    """Images of the query's class are to be found."""

    notices: list = []

    def __init__(self, source, queries):
        self._source, self._queries = source, queries
        for argument, one in (("images", source), ("queries", queries)):
            if one is not None and one.labels is None:
                raise ValueError(
                    f"{argument} must have labels: class folders, or "
                    "image/class/label in TFRecords. Received: "
                    f"{argument}={one.uri} without."
                )
        if queries is not None and queries.class_names != source.class_names:
            raise ValueError(
                "queries must have the classes of images. Received: "
                f"{queries.class_names} beside {source.class_names}."
            )

    def figures(self, describe):
        return self.judged(describe).figures()

    def judged(self, describe):
        gallery = describe(self._source, None)
        if self._queries is None:
            return ranking.judged_by_class(gallery, self._source.labels)
        rows = describe(self._queries, None)
        return ranking.judged_by_class(
            gallery, self._source.labels, rows, self._queries.labels
        )


class InstanceTask:
    """Images of the same object are to be found, by a part of one."""

    def __init__(self, source, queries, truth):
        self._truth, self.notices = truth, []
        places = _by_stem(source, "images")
        if truth.images is not None:
            places = self._among(places, truth.images)
        self._source, self._places = source, places
        self._rows = np.array(sorted(places.values()), np.int64)
        self._queries, of_queries = queries, _by_stem(queries, "queries")
        self._boxes = []
        for query in truth.queries:
            if query.image not in of_queries:
                raise ValueError(
                    f"ground_truth names the query {query.image}, which "
                    f"{queries.uri} does not hold. Give the images of this "
                    "ground truth in images, or queries."
                )
            row = of_queries[query.image]
            if query.box is not None:
                maps.check_box(
                    query.box,
                    query.image,
                    int(queries.heights[row]),
                    int(queries.widths[row]),
                )
            self._boxes.append((row, query.box))
        named = set()
        for query in truth.queries:
            named |= set().union(*query.positives.values())
        self._tell_missing(named - set(places))

    def figures(self, describe):
        return self.judged(describe).figures()

    def judged(self, describe):
        gallery = describe(self._source, [(r, None) for r in self._rows])
        queries = describe(self._queries, self._boxes)
        order = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")
        rankings = self._rows[order]
        found = {}
        for protocol in self._truth.protocols:
            figures = self._of_protocol(protocol, rankings)
            ending = f" {protocol}" if protocol else ""
            if not figures:
                continue
            found[f"mAP{ending}"] = 100 * np.array([f.ap for f in figures])
            for place, at in enumerate(ranking.AT):
                values = np.array([f.precisions[place] for f in figures])
                found[f"mP@{at}{ending}"] = 100 * values
        return ranking.Judged(found, {})

    def _of_protocol(self, protocol, rankings):
        figures = []
        for query, row in zip(self._truth.queries, rankings, strict=True):
            positives = self._numbers(query.positives[protocol])
            junk = self._numbers(query.junk[protocol])
            # A query without any in this protocol does not count.
            if positives - junk:
                figures.append(ranking.instance_figures(row, positives, junk))
        return figures

    def _numbers(self, names):
        return {self._places[name] for name in names if name in self._places}

    def _among(self, places, names):
        missing = [name for name in names if name not in places]
        self._tell_missing(missing)
        return {name: places[name] for name in names if name in places}

    def _tell_missing(self, names):
        if names:
            self.notices.append(
                f"{len(names):,} images of the ground truth are not there, "
                f"such as {sorted(names)[0]}; figures are without them."
            )


def _by_stem(source, argument):
    """Places of images by their names without folder and ending."""
    places: dict[str, int] = {}
    for place, name in enumerate(source.manifest().names):
        stem = landmarks.stem(name)
        if stem in places:
            raise ValueError(
                f"{argument} must have one image for each name, as ground "
                f"truth names them. Received: two of {terminal.one_line(stem)} "
                f"in {source.uri}."
            )
        places[stem] = place
    return places
