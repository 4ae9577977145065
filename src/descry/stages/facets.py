"""Stage facets: groups of exemplars, descriptors that cover them, and close negatives."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from descry.activations.exemplar_files import read_exemplars
from descry.activations.nan_stats import ratio
from descry.activations.store import DATA, neuron_blocks, read_block
from descry.annotators.annotations import Annotations, read_annotations
from descry.corpus.covariates import TOKENS, covariates
from descry.corpus.splits import CALIBRATION, HALVES, VALIDATION, draw
from descry.corpus.units import stand_for_all
from descry.errors import InputError
from descry.evaluation.agreement import clopper_pearson
from descry.evaluation.close_negatives import PARTS, Close, breadth, closest
from descry.evaluation.coverage import covering
from descry.evaluation.facets import Facets as Found
from descry.evaluation.facets import SetTest, Tested, facets
from descry.evaluation.sentence_clusters import padded
from descry.io.csv_rows import Row, defined
from descry.io.hashing import JSON
from descry.io.hdf5 import hdf5_provenance, reading_hdf5
from descry.io.kept import FOLDER, Kept, content
from descry.io.parquet import ROW_GROUP, Texts, read_blocks, write_table
from descry.io.provenance import provenance, recorded
from descry.io.read_provenance import provenance_of
from descry.io.section import Count, Section, Seed, Threshold
from descry.labels.assignment import SetCounter, asked_sets
from descry.labels.counting import MatchedDraws
from descry.labels.results import REPLICATED, Labels, read_labels
from descry.labels.strata import Matching, Strata
from descry.models.checkpoints import Checkpoint
from descry.models.devices import may_have_gpu
from descry.models.embedder import embedded
from descry.models.neurons import chosen_places
from descry.models.spec import NeuronNames

if TYPE_CHECKING:
    from descry.stages.cluster import Cluster

PACKAGES = ["h5py", "numba", "numpy", "pyarrow", "scikit-learn", "scipy", "sentence-transformers"]
POOL = 20_000  # sentences of which the closest are taken, at most: drawn at random
MEMORY = 2**28  # bytes of activations held at a time
_LEAST = 200  # random sets that the silhouettes of neurons are compared with, at least
OF_POSITIONS = "positions of one sentence are no sentences to group (activations.unit)"
NO_MATRIX = "activations of other sentences than the highest are not kept (activations.store)"
_LABEL = pa.struct(
    [
        ("descriptor", pa.string()),
        ("count", pa.int32()),
        ("expected", pa.float64()),
        ("p", pa.float64()),
        ("q", pa.float64()),
        ("neuron_p", pa.float64()),
    ]
)
_FACET = pa.struct([("rows", pa.list_(pa.int32())), ("labels", pa.list_(_LABEL))])
_CLOSE = pa.struct(
    [("row", pa.int32()), ("similarity", pa.float64()), ("activation", pa.float32())]
)
_BREADTH = pa.struct(
    [
        ("descriptor", pa.string()),
        ("exemplars", pa.float64()),
        ("close", pa.float64()),
        ("quiet", pa.float64()),
        ("p", pa.float64()),
        ("broad", pa.bool_()),
    ]
)
TABLE = pa.schema(
    [
        ("layer", pa.int16()),
        ("neuron", pa.int32()),
        ("silhouette", pa.float64()),
        ("facets", pa.list_(_FACET)),
        ("cover", pa.list_(pa.string())),
        ("cover_reached", pa.bool_()),
        ("covered", pa.float64()),
        ("covered_random", pa.float64()),
        ("labelled", pa.float64()),
        ("labelled_low", pa.float64()),
        ("labelled_high", pa.float64()),
        ("labelled_random", pa.float64()),
        ("close", pa.list_(_CLOSE)),
        ("breadth", pa.list_(_BREADTH)),
    ]
)


_LABELLED = ("labelled", "labelled_low", "labelled_high", "labelled_random")


class Facets(Section):
    """Several labels for a neuron: facets, sets that cover, and close negatives."""

    enabled: bool
    neurons: NeuronNames | Count | None
    most: Annotated[int, Field(ge=1, le=10)]
    coverage: Threshold
    negatives: Count
    seed: Seed


def find_facets(
    params: Facets,
    topics: "Cluster",
    *,
    corpus: Path,
    activations: Path,
    exemplars: Path,
    annotations: Path,
    labels: Path,
    facets: Path,
    cache_folder: Path | None = None,
) -> dict[str, object]:
    """Write a row per neuron that has a label in the whole corpus or in the calibration half.

    Columns: layer, neuron; silhouette of its best partition; facets, its exemplars in groups (one
    where it is not parted): rows of the corpus, and the labels of the group, with neuron_p, p among
    all exemplars. cover, the descriptors of which a held-out exemplar has at least one with
    probability `coverage` (of those over-represented in the calibration half), cover_reached,
    whether any set does, covered, the share of the validation half's exemplars that have one, and
    covered_random, of random sentences of the same strata. labelled, the share of the exemplars of
    the validation half that have a label of the calibration half, its exact 95% interval, and
    labelled_random, of random sentences of the same strata; null without such a label. close, the
    sentences of each half most like its exemplars that do not excite it (null without the matrix of
    activations); breadth, of each label of the whole corpus the share among exemplars, close
    negatives and all sentences that do not excite it, p, and whether it is too broad.

    `chance` in the file's provenance has the facets by chance. If nothing can be found, the file
    has no row, and `undefined` says why.

    Args:
        topics: the section of stage cluster, whose embedder groups sentences.
        cache_folder: of the prompt cache; beside it are vectors that stage annotate may have kept,
            and what is found stays, for another run.

    Raises:
        InputError: files of different runs, or a neuron that does not exist.
    """
    recorded_as = {"facets": params.model_dump(), "cluster": topics.model_dump()}
    why = None if params.enabled else "not enabled (facets.enabled)"
    if why is None and stand_for_all(corpus) is not None:
        why = OF_POSITIONS
    if why is not None:
        made = provenance("facets", recorded_as, [], PACKAGES) | {"undefined": why}
        write_table(facets, TABLE.empty_table(), made)
        return {"neurons": 0, "why": why}
    read = [corpus, activations, exemplars, annotations, labels]
    made = provenance("facets", recorded_as, read, PACKAGES)
    _check(made["inputs"], provenance_of(labels, "label")["inputs"], corpus, exemplars, annotations)
    _check_activations(made["inputs"], exemplars, activations)
    folder = cache_folder and cache_folder.with_name(FOLDER)

    def compute() -> JSON:
        study = Study.of(params, topics, folder, *read)
        rows = pa.Table.from_pylist(study.table, TABLE).to_pylist()
        return {"told": study.told, "rows": rows, "counts": study.counts}

    others = [made["inputs"][recorded(path)] for path in read if path != labels]
    by = provenance_of(labels, "label")["params"]
    how = {name: by[name] for name in ("fdr", "strata", "strata_parts")}
    found = Kept(folder, PACKAGES).value(
        compute, "facets", may_have_gpu(), recorded_as, others, content(labels), how
    )
    made |= found["told"]
    write_table(facets, pa.Table.from_pylist(found["rows"], TABLE), made)
    return dict(found["counts"])


def _check(
    inputs: dict[str, str], of_labels: dict[str, str], corpus: Path, exemplars: Path, b: Path
) -> None:
    """Refuse labels of other files."""
    for path in (corpus, exemplars, b):
        if inputs[recorded(path)] not in of_labels.values():
            raise InputError(
                f"labels.parquet: made of another {path.name}: run `descry stage label` again"
            )


def _check_activations(inputs: dict[str, str], exemplars: Path, activations: Path) -> None:
    with reading_hdf5(exemplars, "exemplars") as file:
        sources = hdf5_provenance(file)["inputs"].values()
    if inputs[recorded(activations)] not in sources:
        raise InputError(
            f"{exemplars}: made of another {activations.name}: run `descry stage exemplars` again"
        )


@dataclass(frozen=True)
class Study:
    """What is found of which neurons; everything is made when it is wanted.

    Attributes:
        topics: the section of stage cluster.
        kept: the folder of vectors that another stage may have made; None: they are made anew.
        labels, b: of the same descriptors.
    """

    params: Facets
    topics: "Cluster"
    kept: Path | None
    corpus: Path
    activations: Path
    exemplars: Path
    labels: Labels
    b: Annotations

    @classmethod
    def of(
        cls,
        params: Facets,
        topics: "Cluster",
        kept: Path | None,
        corpus: Path,
        activations: Path,
        exemplars: Path,
        annotations: Path,
        labels: Path,
    ) -> "Study":
        """From the files of a run."""
        table = read_labels(labels)
        b = read_annotations(annotations).only(table.descriptors)
        return cls(params, topics, kept, corpus, activations, exemplars, table, b)

    @cached_property
    def places(self) -> np.ndarray:
        """The labelled neurons whose exemplars were asked about, among all: int [neurons]."""
        splits = [self.labels.splits[split].assigned for split in ("all", CALIBRATION)]
        labelled = np.logical_or(*splits).any(axis=2).ravel()
        labelled &= asked_sets(self.every["all"], self.b.asked)
        neurons = self.labels.neurons
        if isinstance(self.params.neurons, int):
            names = neurons.names
            found = sorted(
                np.flatnonzero(labelled),
                key=lambda n: draw(self.params.seed, f"neuron:{names[n]}"),
            )
            return np.sort(np.array(found[: self.params.neurons], dtype=np.intp))
        chosen = chosen_places(self.params.neurons, neurons, self.params.seed)
        return np.asarray(chosen[labelled[chosen]])

    @cached_property
    def every(self) -> dict[str, np.ndarray]:
        """The exemplar sets of all neurons by split: int32 [neurons, size]."""
        found = {split: read_exemplars(self.exemplars, split) for split in ("all", *HALVES)}
        return {split: sets.reshape(-1, sets.shape[2]) for split, sets in found.items()}

    @cached_property
    def sets(self) -> dict[str, np.ndarray]:
        """The exemplar sets of the chosen neurons, by split."""
        return {split: sets[self.places] for split, sets in self.every.items()}

    @cached_property
    def half(self) -> dict[str, np.ndarray]:
        """The sentences of each half: bool [sentences]."""
        found = {half: [np.zeros(0, dtype=bool)] for half in HALVES}
        for block in read_blocks(self.corpus, "corpus", ["split"], ROW_GROUP):
            for half, parts in found.items():
                parts.append(pc.equal(block["split"], half).to_numpy())
        return {half: np.concatenate(parts) for half, parts in found.items()}

    @cached_property
    def strata(self) -> Strata:
        """The strata that labels of the whole corpus are matched on."""
        return self._strata(Matching.of(self.labels.made["params"]))

    @cached_property
    def coarse(self) -> Strata:
        """The same covariates in fewer parts, for close negatives, which are few."""
        names, parts = vars(Matching.of(self.labels.made["params"])).values()
        return self._strata(Matching(names, min(parts, PARTS)))

    def _strata(self, matching: Matching) -> Strata:
        tokens = None
        if TOKENS in matching.names:
            from descry.activations.exemplar_files import read_tokens

            tokens = read_tokens(self.exemplars)
        found = covariates(self.corpus, matching.names, tokens)
        return matching.strata(found, np.arange(len(self.b.asked)), self.b.sampled)

    @cached_property
    def pool(self) -> np.ndarray:
        """Rows of which random sets and close negatives are taken: int [rows], ascending."""
        rows = np.flatnonzero(self.b.sampled)
        if len(rows) > POOL:
            ids, seed = Texts(self.corpus, "corpus", "id"), self.params.seed
            every = (int(row) for row in rows)  # no list of them: there may be millions
            lots = nsmallest(POOL, every, key=lambda row: draw(seed, f"facets:{ids[row]}"))
            rows = np.sort(np.array(lots, dtype=np.intp))
        return rows

    @cached_property
    def rows_read(self) -> np.ndarray:
        """Rows whose sentences are embedded: the pool, and all exemplars."""
        own = [sets[sets >= 0] for sets in self.sets.values()]
        return np.unique(np.concatenate([self.pool, *own]))

    @cached_property
    def embedded(self) -> np.ndarray:
        """Their vectors: float32 [rows, dimension]."""
        checkpoint = Checkpoint(**self.topics.embedder.model_dump())
        texts = Texts(self.corpus, "corpus", "text")
        return embedded(checkpoint, [texts[row] for row in self.rows_read.tolist()], self.kept)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Of some rows: float32 [rows, dimension]."""
        return np.asarray(self.embedded[np.searchsorted(self.rows_read, rows)])

    @cached_property
    def answers(self) -> np.ndarray:
        """About the rows that are read: int8 [rows, descriptors]."""
        return self.b.at(self.rows_read)

    def said(self, rows: np.ndarray) -> np.ndarray:
        """Yes of some rows: bool [rows, descriptors]."""
        return np.asarray(self.answers[np.searchsorted(self.rows_read, rows)] == 1)

    def random(self, split: str, draws: int) -> list[np.ndarray]:
        """Random sets of the same strata for the chosen neurons; none where there are too few."""
        inside = np.zeros(len(self.b.asked), dtype=bool)
        inside[self.pool] = True
        if split != "all":
            inside &= self.half[split]
        source = MatchedDraws(self.strata.count(self.sets[split]), self.strata.of, inside)
        if not source.possible or not len(self.places):
            return []
        name = split.encode()
        return [
            source.draw(np.random.default_rng([self.params.seed, number, *name]))
            for number in range(draws)
        ]

    @cached_property
    def test(self) -> SetTest:
        """The test of labels."""
        counter, number = SetCounter(self.b.bits, self.b.asked), len(self.b.descriptors)
        fdr, within = float(self.labels.made["params"]["fdr"]), bool(self.b.sampled.all())
        return SetTest(counter, number, self.strata, self.b.sampled, within, fdr)

    @cached_property
    def found(self) -> Found:
        """The facets of the chosen neurons."""
        random = self.random("all", -(-_LEAST // max(1, len(self.places))))
        how = self.params.most, self.params.seed
        return facets(self.sets["all"], random, self.vectors, self.test, *how)

    @cached_property
    def told(self) -> JSON:
        """What the file says of all of them."""
        return {
            "chance": defined(self.found.chance),
            "pool": len(self.pool),
            "no_close": NO_MATRIX if self.close is None else None,
        }

    @property
    def counts(self) -> dict[str, object]:
        """What the terminal shows."""
        chance, rows = self.found.chance, self.table
        found: dict[str, object] = {"neurons": len(rows)}
        found["in facets"] = f"{chance['parted']} (by chance {0.05 * len(rows):.0f})"
        if chance["parted"]:
            own, lots, random = (chance[f"{of}_labels"] for of in ("facets", "lots", "random"))
            found["labels of a facet"] = (
                f"{own:.1f} (exemplars dealt at random {lots:.1f}, random sets {random:.1f})"
            )
        found["with a set that covers"] = sum(bool(row["cover_reached"]) for row in rows)
        of_labels = [one["broad"] for row in rows for one in row["breadth"] or ()]
        if self.close is not None:
            found["labels too broad"] = f"{sum(of_labels)} of {len(of_labels)}"
        else:
            found["close negatives"] = f"none: {NO_MATRIX}"
        return found

    @cached_property
    def table(self) -> list[Row]:
        """The rows of the file, neuron by neuron."""
        silhouettes = [None if np.isnan(x) else float(x) for x in self.found.silhouettes]
        return self.told_of(self.found.neurons, silhouettes, self.close)

    def told_of(
        self,
        parts: Sequence[Sequence[np.ndarray]],
        silhouettes: Sequence[float | None],
        close: Sequence[Close] | None,
    ) -> list[Row]:
        """The rows of the file, from what the embedder has found: it is not needed for the rest.

        Args:
            parts: the groups of each neuron's exemplars, rows of the corpus.
            silhouettes: of each neuron's best partition.
            close: negatives of each; None without the matrix of activations.
        """
        width, layers = self.labels.neurons.width, self.labels.neurons.layers
        parted, whole = [own for own in parts if len(own) > 1], self.test(self.sets["all"]).p
        tested, at, rows = self.test(padded([part for own in parted for part in own])), 0, []
        for n, place in enumerate(self.places.tolist()):
            row: Row = {"layer": layers[place // width], "neuron": place % width}
            row["silhouette"] = silhouettes[n]
            row["facets"] = [{"rows": part, "labels": []} for part in parts[n]]
            if len(parts[n]) > 1:
                for part in row["facets"]:
                    part["labels"] = self._labels_of(tested, at, whole[n])
                    at += 1
            row |= self._cover(n) | self._labelled(n)
            rows.append(row | self._near(n, None if close is None else close[n]))
        return rows

    def _labels_of(self, tested: Tested, at: int, whole: np.ndarray) -> list[Row]:
        """The labels of a facet, the surest first."""
        columns = np.flatnonzero(tested.labels[at])
        columns = columns[np.argsort(tested.p[at, columns], kind="stable")]
        return [
            {
                "descriptor": self.labels.descriptors[c],
                "count": int(tested.yes[at, c]),
                "expected": float(tested.expected[at, c]),
                "p": float(tested.p[at, c]),
                "q": float(tested.q[at, c]),
                "neuron_p": float(whole[c]),
            }
            for c in columns.tolist()
        ]

    def _cover(self, n: int) -> Row:
        """The descriptors that cover a neuron's exemplars.

        Of those that are over-represented in the half that orders them: what is said of nearly
        every sentence would cover any.
        """
        half = self.labels.splits[CALIBRATION]
        at = divmod(int(self.places[n]), self.labels.neurons.width)
        own = np.flatnonzero((half.p[at] < REPLICATED) & (half.count[at] > half.expected[at]))
        sides = [self.sets[name][n] for name in HALVES]
        choosing, testing = (self.said(side[side >= 0])[:, own] for side in sides)
        lot = draw(self.params.seed, f"coverage:{self.labels.neurons.name(*at)}")
        found = covering(choosing, testing, self.params.coverage, int.from_bytes(lot[:8]) / 2**64)
        columns = own[found.columns]
        held = sides[1][sides[1] >= 0]
        return {
            "cover": [self.labels.descriptors[c] for c in columns],
            "cover_reached": found.reached,
            "covered": _known(found.covered),
            "covered_random": self._of_random(columns, held),
        }

    def _labelled(self, n: int) -> Row:
        """How many held-out exemplars have a label that they did not choose."""
        at = divmod(int(self.places[n]), self.labels.neurons.width)
        own = np.flatnonzero(self.labels.splits[CALIBRATION].assigned[at])
        held = self.sets[VALIDATION][n]
        held = held[held >= 0]
        if not len(own) or not len(held):
            return dict.fromkeys(_LABELLED)
        hits = int(self.said(held)[:, own].any(axis=1).sum())
        values = hits / len(held), *clopper_pearson(hits, len(held)), self._of_random(own, held)
        return dict(zip(_LABELLED, values, strict=True))

    def _of_random(self, columns: np.ndarray, held: np.ndarray) -> float | None:
        """Share of random sentences of the validation half that have any of some descriptors.

        Args:
            held: rows of exemplars, in whose strata the sentences are.
        """
        of_pool = self.pool[self.half[VALIDATION][self.pool]]
        every = self.said(of_pool)[:, columns].any(axis=1)
        number = len(self.strata.names)
        counts = np.bincount(self.strata.of[held], minlength=number)
        of, weights = self.strata.of[of_pool], every.astype(np.float64)
        rates = ratio(np.bincount(of, weights, minlength=number), np.bincount(of, minlength=number))
        known = ~np.isnan(rates) & (counts > 0)
        return float((counts * rates)[known].sum() / counts[known].sum()) if known.any() else None

    def _near(self, n: int, negatives: Close | None) -> Row:
        """The close negatives of a neuron, and how well its labels fit them."""
        if negatives is None or self.quiet is None or self.columns is None:
            return {"close": None, "breadth": None}
        activations = self.columns[n][np.searchsorted(self.pool, negatives.rows)]
        rows = zip(negatives.rows, negatives.similarities, activations, strict=True)
        close = [{"row": int(r), "similarity": s, "activation": a} for r, s, a in rows]
        place, width = int(self.places[n]), self.labels.neurons.width
        own = np.flatnonzero(self.labels.splits["all"].assigned[divmod(place, width)])
        exemplars = self.sets["all"][n][self.sets["all"][n] >= 0]
        at = exemplars, negatives.rows, np.concatenate(self.quiet[n])
        members, near, far = (np.searchsorted(self.rows_read, rows) for rows in at)
        strata = self.coarse.of[self.rows_read]
        found = breadth(self.answers[:, own], members, near, far, strata)
        columns = [*map(np.ndarray.tolist, found), found.broad.tolist()]
        kinds = ("exemplars", "close", "quiet", "p", "broad")
        labels = [
            {"descriptor": self.labels.descriptors[c]}
            | {kind: _known(values[i]) for kind, values in zip(kinds, columns, strict=True)}
            for i, c in enumerate(own.tolist())
        ]
        return {"close": close, "breadth": labels}

    @cached_property
    def close(self) -> list[Close] | None:
        """The close negatives of each neuron; None if not all activations are kept."""
        if self.quiet is None:
            return None
        of_pool, found = self.vectors(self.pool).astype(np.float64), []
        for n, halves in enumerate(self.quiet):
            near = []
            for half, rest in zip(HALVES, halves, strict=True):
                own = self.sets[half][n]
                if (own >= 0).any():
                    middle = self.vectors(own[own >= 0]).astype(np.float64).mean(axis=0)
                    # Not by BLAS, whose last digits depend on the number of threads.
                    similarities = np.einsum("sd,d->s", of_pool, middle)
                    inside = np.isin(self.pool, rest)
                    near.append(closest(similarities, inside, self.pool, self.params.negatives))
            rows = [one.rows for one in near] or [np.zeros(0, dtype=int)]
            values = [one.similarities for one in near] or [np.zeros(0)]
            found.append(Close(np.concatenate(rows), np.concatenate(values)))
        return found

    @cached_property
    def quiet(self) -> list[list[np.ndarray]] | None:
        """For each neuron and half: the rows that do not excite the neuron; None as `close`."""
        if self.columns is None:
            return None
        found = []
        for n, values in enumerate(self.columns):
            taken = np.isin(self.pool, np.concatenate([sets[n] for sets in self.sets.values()]))
            own = []
            for half in HALVES:
                inside = self.half[half][self.pool]
                median = np.median(values[inside]) if inside.any() else np.nan
                own.append(self.pool[inside & ~taken & (values <= median)])
            found.append(own)
        return found

    @cached_property
    def columns(self) -> np.ndarray | None:
        """Activations of the chosen neurons over the pool: float32 [neurons, rows]; None if none.

        A block of neurons is read over all rows, and the others are let go.
        """
        width = self.labels.neurons.width
        with reading_hdf5(self.activations, "activations") as file:
            if DATA not in file:
                return None
            found = np.empty((len(self.places), len(self.pool)), dtype=np.float32)
            for layer, columns in neuron_blocks(file[DATA], MEMORY):
                first = layer * width + columns.start
                inside = (self.places >= first) & (self.places < layer * width + columns.stop)
                if inside.any():
                    block = read_block(file[DATA], layer, columns)
                    found[inside] = block[self.pool][:, self.places[inside] - first].T
        return found


def _known(value: Any) -> Any:
    """None for a number that is undefined."""
    return None if isinstance(value, float) and np.isnan(value) else value
