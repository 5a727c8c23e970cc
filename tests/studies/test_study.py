"""Studies: resumable after kill -9, repeatable, honest in selection, and refused when damaged."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator, ClassifierMixin

from qllm_helpers import files as artifacts
from qllm_helpers.cli import main
from qllm_helpers.files import DataError, UnknownNameError
from qllm_helpers.studies import data as study_data
from qllm_helpers.studies import grid as study_grid
from qllm_helpers.studies import run
from qllm_helpers.studies import run as study
from qllm_helpers.studies import table as study_table
from qllm_helpers.studies import unit as study_run
from qllm_helpers.studies.data import split_of, unit_data
from qllm_helpers.studies.grid import KNOWN, STUDY_NAMES, digest
from qllm_helpers.studies.run import check_rows, load_units, run_study
from qllm_helpers.studies.table import (
    COLUMNS,
    export_table,
    format_table,
    from_text,
    load_predictions,
    load_results,
    pack,
    parse_table,
    unpack,
)
from qllm_helpers.studies.unit import Candidate, Tried, choose, select
from qllm_helpers.text.corpora import load_embeddings

Count = namedtuple("Count", "total")
Counts = namedtuple("Counts", "nominal live effective")

GRID = """
[search.validation]
centroid = { shift = [0.0, 0.05] }
linear = { C = [1.0, 10.0] }
net = { lr = [1e-3, 1e-2] }

[search.pool]
centroid = { shift = [-0.05, 0.0, 0.05, 0.1, 9.0] }
linear = { C = [0.1, 1.0, 2.0, 5.0, 10.0] }

[toy]
dataset = "sst2"
encoder = "all-MiniLM-L6-v2"
protocol = "few_shot"
selection = "validation"
seeds = 3

[[toy.heads]]
label = "width {width}"
estimator = "Centroid"
fixed = { pause = PAUSE }
vary = [{ width = [1, 2, 3, 4, 5, 6, 7, 8] }]
tune = "centroid"

[[toy.heads]]
label = "LogisticRegression"
estimator = "LogisticRegression"
tune = "linear"
"""


class Centroid(ClassifierMixin, BaseEstimator):
    """Sign of the projection on the difference of the class means, of a few features only."""

    family = "linear"

    seen = []

    def __init__(self, width=1, shift=0.0, pause=0.0):
        self.width = width
        self.shift = shift
        self.pause = pause

    def fit(self, X, y):
        import time

        time.sleep(self.pause)
        self.classes_ = np.unique(y)
        self.direction_ = X[y == 1].mean(0) - X[y == 0].mean(0)
        self.direction_[10 * self.width :] = 0
        return self

    def predict(self, X):
        type(self).seen.append((id(self), X.copy()))
        return (X @ self.direction_ > self.shift).astype(int)

    def count_parameters(self, X):
        return Counts(Count(10 * self.width), Count(10 * self.width), None)


KNOWN["Centroid"] = Centroid


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(GRID.replace("PAUSE", "0.0"))
    return path


@pytest.fixture
def units(grid):
    return load_units("toy", path=grid)


@pytest.fixture
def rows(units, tmp_path):
    return run_study(units, store=tmp_path / "first")


def untimed(rows):
    return [{key: value for key, value in row.items() if key != "fit_seconds"} for row in rows]


def use_data_folder(monkeypatch, folder):
    """Ship tables from a folder of the test instead of the package's."""
    shutil.copytree(
        artifacts.DATA_DIR, folder, ignore=shutil.ignore_patterns("results", "predictions")
    )
    monkeypatch.setattr(artifacts, "DATA_DIR", folder)
    (folder / "results").mkdir()
    artifacts.write_manifest()


# --- grids -----------------------------------------------------------------------------------


def test_grid_expands_in_the_order_of_the_file(units):
    assert [unit.head for unit in units] == [*(f"width {w}" for w in range(1, 9)), units[-1].head]
    assert units[0].settings == ({"shift": 0.0}, {"shift": 0.05})
    assert units[0].seeds == (0, 1, 2)


def test_a_head_may_have_fewer_seeds_than_its_study(grid):
    text = grid.read_text().replace('label = "LogisticRegression"', 'label = "LR"\nseeds = 2')
    grid.write_text(text)
    units = load_units("toy", path=grid)
    assert [unit.seeds for unit in units[-2:]] == [(0, 1, 2), (0, 1)]


def test_seeds_of_a_slow_head_are_units_of_their_own(grid):
    text = grid.read_text().replace(
        'label = "LogisticRegression"', 'label = "LR"\nseeds_apart = true'
    )
    grid.write_text(text)
    assert [unit.seeds for unit in load_units("toy", path=grid)[-3:]] == [(0,), (1,), (2,)]
    assert [unit.seeds for unit in load_units("toy", path=grid, n_seeds=2)[-2:]] == [(0,), (1,)]


HEADS_OF_ANY_CORPUS = """
[[toy.heads]]
label = "net"
estimator = "MLPClassifier"
fixed = { epochs = 1, hidden_dims = [2] }
tune = "net"

[[toy.heads]]
label = "LogisticRegression"
estimator = "LogisticRegression"
tune = "linear"
"""


def test_a_head_may_have_fewer_bodies_than_its_study(grid):
    text = grid.read_text().replace("seeds = 3", "seeds = 3\nfine_tuned = [false, true]")
    text = text.replace('label = "width {width}"', 'label = "width {width}"\nfine_tuned = false')
    grid.write_text(text)
    tuned = [unit.head for unit in load_units("toy", path=grid) if unit.fine_tuned]
    assert tuned == ["LogisticRegression"]


def test_parts_of_a_study_differ_in_corpus_and_size(grid, tmp_path):
    parts = 'parts = [{ dataset = "trec", samples_per_class = 8 }, { samples_per_class = 4 }]'
    text = grid.read_text().replace('"few_shot"', f'"paper"\n{parts}')
    text = text.replace("all-MiniLM-L6-v2", "all-mpnet-base-v2")  # TREC is shipped by this body
    grid.write_text(text[: text.index("[[toy.heads]]")] + HEADS_OF_ANY_CORPUS)
    units = load_units("toy", path=grid)
    places = [("trec", 8), ("trec", 8), ("sst2", 4), ("sst2", 4)]
    assert [(unit.dataset, unit.samples_per_class) for unit in units] == places
    rows = run_study(units, store=tmp_path / "parts")
    table = parse_table(format_table(rows), "toy", "toy.csv")
    assert table.groupby("dataset")["n_train"].first().to_dict() == {"sst2": 6, "trec": 40}
    assert not any(row.problem for row in check_rows(table, units, len(table)))


class Length(ClassifierMixin, BaseEstimator):
    """Reads sentences: the longer ones are of class 1; remembers what it was given."""

    family = "linear"
    reads_texts = True

    def fit(self, X, y, X_val, y_val):
        self.classes_, self.given_ = np.unique(y), (list(X), list(X_val), len(y), len(y_val))
        self.middle_ = np.median([len(text) for text in X])
        Length.last = self
        return self

    def predict(self, X):
        return np.array([len(text) > self.middle_ for text in X]).astype(int)

    def count_parameters(self, X):
        return Counts(Count(1), None, None)


KNOWN["Length"] = Length


def test_an_estimator_may_read_sentences(grid, tmp_path, monkeypatch):
    from qllm_helpers.text.corpora import Texts

    y = load_embeddings("sst2", "all-MiniLM-L6-v2")
    sentences = [f"sentence {number}" for number in range(len(y.y))]
    texts = Texts(sentences, y.y, y.split, y.label_names)
    monkeypatch.setattr(study_data, "load_texts", lambda name: texts)
    grid.write_text(grid.read_text().replace('"LogisticRegression"\ntune', '"Length"\ntune'))
    unit = replace(load_units("toy", path=grid)[-1], settings=({},), estimator="Length")
    rows = study_run.run_unit(unit)
    split = unit_data(unit).splits[-1]
    train, validation, *sizes = Length.last.given_
    assert train == [sentences[i] for i in split.train] and sizes == [16, 250]
    assert validation == [sentences[i] for i in split.validation]
    assert [row["n_parameters"] for row in rows] == [1, 1, 1]


def test_shipped_grids_have_the_circuits_of_the_published_table():
    few_shot = [unit for unit in load_units("few_shot") if unit.selection == "validation"]
    photonic = [unit for unit in few_shot if unit.family == "photonic"]
    assert {len(unit.seeds) for unit in few_shot} == {20}
    assert len(photonic) == 2 * 2 * 10 and photonic[0].head == "2 modes, 1 photon"
    assert all(unit.settings[0]["lr"] == 1e-3 for unit in photonic)


def test_every_head_of_a_study_tries_equally_many_settings():
    for name in study_grid.STUDY_NAMES:
        for selection in study_grid.SELECTIONS:
            units = [unit for unit in load_units(name) if unit.selection == selection]
            assert len({len(unit.settings) for unit in units} - {1}) <= 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("linear = { C = [1.0, 10.0] }", "linear = { C = [1.0] }", "as many for every head"),
        ('tune = "linear"', 'tune = "ridge"', "no search validation.ridge"),
        ('"validation"\n', '"test"\n', "selection must be one of"),
        ('"few_shot"', '"zero_shot"', "protocol of study .* not 'zero_shot'"),
        ("seeds = 3", "seeds = 3\ncolour = 1", "unknown field 'colour'"),
        ('label = "width {width}"', 'label = "toy"', "same label"),
        ('"Centroid"', '"Centroids"', "unknown estimator 'Centroids'"),
        ('"Centroid"', '"qllm_helpers.files:Centroids"', "no estimator at 'qllm_helpers.files:"),
        ('"Centroid"', '"sklearn.tree:DecisionTreeClassifier"', "needs the attribute `family`"),
        ("width = [1, 2, 3, 4, 5, 6, 7, 8]", "width = 1", "must be a list"),
        (
            'label = "width {width}"',
            'label = "w"\nseeds = 4',
            "seeds of 'w' must be .* 1 to 3, not 4",
        ),
        ("seeds = 3", "seeds = 3\nparts = [{ colour = 1 }]", "unknown field 'colour' of a part"),
        ("seeds = 3", 'seeds = 3\nparts = [{ dataset = "sst3" }]', "unknown dataset 'sst3'"),
        ("seeds = 3", "seeds = 3\nparts = [{}, {}]", "same label"),
    ],
)
def test_bad_grids_are_refused(grid, old, new, message):
    grid.write_text(grid.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        load_units("toy", path=grid)


def test_unknown_study_and_pattern_are_refused(grid):
    with pytest.raises(UnknownNameError, match="no study 'joy'"):
        load_units("joy", path=grid)
    with pytest.raises(UnknownNameError, match="no head of 'toy' matches"):
        load_units("toy", path=grid, heads="depth*")


def test_key_depends_on_everything_but_the_names(units):
    first = units[0]
    key = first.key("digest")
    assert key == replace(first, study="other", head="renamed").key("digest")
    assert key != first.key("other digest")
    assert key != replace(first, seeds=(0,)).key("digest")
    assert key != units[1].key("digest")


def test_an_address_names_an_estimator_and_gives_the_same_key(grid, units):
    address = "sklearn.linear_model:LogisticRegression"
    named = f'estimator = "{address}"'
    grid.write_text(grid.read_text().replace('estimator = "LogisticRegression"', named))
    other = load_units("toy", path=grid)[-1]
    assert (other.estimator, other.estimator_name) == (address, "LogisticRegression")
    assert other.family == "linear" and other.key("digest") == units[-1].key("digest")
    (row,) = study_run.run_unit(replace(other, seeds=(1,)))
    assert row["estimator"] == "LogisticRegression"


def test_a_class_says_itself_what_it_is(grid, monkeypatch, tmp_path):
    (tmp_path / "my_heads.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier\n"
        "class Tree(DecisionTreeClassifier):\n"
        "    family = 'svc'\n"
        "    def count_parameters(self, X):\n"
        "        from qllm_helpers.heads.parameters import ParameterCount, PartCount\n"
        "        return ParameterCount(PartCount(self.tree_.node_count), None, None)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    grid.write_text(
        grid.read_text()
        .replace('estimator = "LogisticRegression"', 'estimator = "my_heads:Tree"')
        .replace("linear = { C = [1.0, 10.0] }", "linear = { max_depth = [1, 2] }")
    )
    unit = load_units("toy", path=grid)[-1]
    rows = study_run.run_unit(unit)
    assert {(row["estimator"], row["family"]) for row in rows} == {("Tree", "svc")}
    assert rows[0]["n_parameters"] in (3, 5, 7)


# --- one unit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "size", "sizes"),
    [("paper", 256, (435, 77, 9101)), ("few_shot", 8, (16, 250, 622))],
)
def test_split_sizes_of_both_protocols(units, protocol, size, sizes):
    unit = replace(units[0], protocol=protocol, samples_per_class=size)
    for split in unit_data(unit).splits:
        assert (len(split.train), len(split.validation), len(split.test)) == sizes


def test_selection_goes_by_validation_then_loss_then_order():
    def candidate(name, accuracy, loss):
        return Candidate(name, {}, accuracy, loss)

    nan = float("nan")
    assert select([candidate("a", 0.7, 0.1), candidate("b", 0.8, 0.9)]).fit == "b"
    assert select([candidate("a", 0.8, 0.9), candidate("b", 0.8, 0.1)]).fit == "b"
    assert select([candidate("a", 0.8, nan), candidate("b", 0.8, nan)]).fit == "a"


def test_only_the_chosen_fit_sees_the_test_part_and_once(units):
    unit = units[3]
    X = load_embeddings("sst2", "all-MiniLM-L6-v2").X
    Centroid.seen.clear()
    study_run.run_unit(unit)
    splits = unit_data(unit).splits
    seen = [(who, len(part)) for who, part in Centroid.seen]
    on_validation = [who for who, size in seen if size == 250]
    on_test = [who for who, size in seen if size == 622]
    assert len(on_validation) == len(unit.seeds) * len(unit.settings)
    assert len(on_test) == len(unit.seeds)
    assert len(seen) == len(on_validation) + len(on_test)
    for _, part in Centroid.seen:
        if len(part) == 250:
            assert np.array_equal(part, X[splits[0].validation])


def test_rows_say_what_was_done(rows):
    row = rows[0]
    assert set(row) == {*study_table.COLUMNS, "predictions", "choices"}
    assert row["choices"] == [] and "choices" not in rows[1]
    assert row["selection"] == "validation" and row["precision"] == "float32"
    assert (row["head"], row["study"], row["seed"]) == ("width 1", "toy", 0)
    assert json.loads(row["hyperparameters"])["shift"] in (0.0, 0.05)
    assert json.loads(row["configuration"]) == {"width": 1, "pause": 0.0}
    assert (row["n_train"], row["n_test"], row["n_parameters"]) == (16, 622, 10)
    assert row["torch"] and len(row["data_digest"]) == 16


def test_all_seeds_of_a_network_are_fitted_like_one_alone(tmp_path):
    unit = load_units("few_shot", heads="MLP", n_seeds=2)[0]
    unit = replace(unit, settings=({"lr": 1e-3, "epochs": 5},))
    together = study_run.run_unit(unit)
    alone = study_run.run_unit(replace(unit, seeds=(1,)))
    assert together[1]["test_accuracy"] == pytest.approx(alone[0]["test_accuracy"], abs=0.01)
    assert together[0]["n_parameters"] == 100 * 769 + 50 * 101 + 2 * 51
    again = study_run.run_unit(unit)
    assert untimed(together) == untimed(again)


# --- the development pool ---------------------------------------------------------------------


@pytest.fixture
def pooled(grid):
    grid.write_text(grid.read_text().replace('"validation"\n', '"pool"\n'))
    return load_units("toy", path=grid)


def test_the_pool_chooses_once_for_all_seeds_and_decides_no_verdict(pooled):
    rows = study_run.run_unit(pooled[2])
    choices = rows[0]["choices"]
    assert len({row["hyperparameters"] for row in rows}) == 1
    assert [one["n_redraws"] for one in choices].count(20) == 4
    chosen = [one for one in choices if one["chosen"]]
    assert json.loads(rows[0]["hyperparameters"]) == chosen[0]["setting"]
    finalists = [one for one in choices if one["n_redraws"] == 20 and not one["broken"]]
    assert chosen[0]["mean"] == max(one["mean"] for one in finalists)
    assert all(row["outside_accuracy"] == row["test_accuracy"] for row in rows)


def test_a_search_may_have_fewer_redraws_and_keeps_each_setting(pooled, monkeypatch, tmp_path):
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path))
    unit = replace(pooled[2], redraws=(2, 3))
    choices = study_run.run_unit(unit)[0]["choices"]
    assert sorted({one["n_redraws"] for one in choices}) == [2, 3]
    assert [one["n_redraws"] for one in choices].count(3) == study_run.FINALISTS
    assert len([*(tmp_path / "tried").iterdir()]) == len(choices) + study_run.FINALISTS
    assert study_run.redraws(replace(unit, redraws=(2, 10), fine_tuned=True)) == (2, 5)
    assert unit.key("x") != pooled[2].key("x") != replace(unit, redraws=()).key("y")


@pytest.mark.parametrize(
    ("protocol", "size", "sizes"), [("paper", 256, (435, 437)), ("few_shot", 8, (16, 437))]
)
def test_redraws_of_the_pool_lie_in_it(units, protocol, size, sizes):
    unit = replace(units[0], protocol=protocol, samples_per_class=size)
    outside = study_data.outside_pool("sst2", unit.encoder, protocol)
    redraws = unit_data(unit, pool=True).splits
    for split in redraws:
        assert (len(split.train), len(split.validation), len(split.test)) == (*sizes, 0)
        assert not set(split.train) & set(split.validation)
        assert not outside[np.concatenate([split.train, split.validation])].any()
    assert len({tuple(sorted(split.train)) for split in redraws}) == len(redraws)
    tested = outside[unit_data(unit).splits[0].test].sum()
    assert tested == (622 if protocol == "few_shot" else pytest.approx(8275, abs=30))


def test_accuracy_outside_the_pool_comes_from_the_predictions(units):
    unit = replace(units[3], protocol="paper", samples_per_class=256)
    y = load_embeddings("sst2", unit.encoder).y
    for row in study_run.run_unit(unit):
        test = split_of(row).test
        right = from_text(row["predictions"], row["n_test"]) == y[test]
        outside = study_data.outside_pool("sst2", unit.encoder, "paper")[test]
        assert right[outside].mean() == row["outside_accuracy"] != row["test_accuracy"]


def test_a_setting_with_a_broken_fit_is_not_the_best():
    steady, lucky = np.full((5, 2), 0.8), np.full((5, 2), 0.9)
    lucky[3, 1] = 0.5  # one fit at chance
    tried = [Tried({"lr": lr}, [1, 2], a, 0.5) for lr, a in ((1, steady), (2, lucky))]
    assert [one.merits.max() for one in tried] == pytest.approx([0.8, 0.9])
    assert tried[1].row()["setting"] == {"lr": 2, "epochs": 1}
    lucky[2, 0] = 0.5
    assert Tried({}, [1, 2], lucky, 0.5).row()["broken"]


def test_epochs_are_read_off_one_training_run(units):
    unit = replace(units[0], estimator="MLPClassifier", parameters={}, selection="pool")
    one = replace(unit, settings=({"lr": 1e-3, "epochs": [1, 3]},))
    setting, rows = choose(one)
    assert setting["epochs"] in (1, 3) and len(rows[0]["curve"]) == 2
    longer = replace(unit, settings=({"lr": 1e-3, "epochs": [3]},))
    assert choose(longer)[1][0]["curve"] == pytest.approx(rows[0]["curve"][1:])
    fits = study_run.run_unit(replace(unit, settings=({"lr": 1e-3, "epochs": 3},)))
    assert fits[0]["choices"] == []


def test_a_long_search_keeps_every_setting(units, tmp_path, monkeypatch):
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path))
    net = {"estimator": "MLPClassifier", "parameters": {"hidden_dims": []}, "selection": "pool"}
    rates = tuple({"lr": lr, "epochs": [1, 2]} for lr in np.geomspace(1e-4, 1e-1, 20).tolist())
    unit = replace(units[0], **net, settings=rates)
    plain = study_run.try_settings(replace(unit, settings=rates[:3]), rates[:3], range(5))
    assert not (tmp_path / "tried").exists()  # few settings are tried anew
    first = run_study([unit], store=tmp_path / "units")
    assert len(list((tmp_path / "tried").iterdir())) == 20 + 4
    kept = study_run.try_settings(unit, rates[:3], range(5))
    assert all(map(np.array_equal, (a.accuracies for a in kept), (b.accuracies for b in plain)))
    # what was tried is not tried again, by a unit of other seeds neither
    monkeypatch.setattr(study_run, "_accuracies", lambda *_: pytest.fail("tried again"))
    again = run_study([replace(unit, seeds=(7,))], store=tmp_path / "units")
    assert again[0]["choices"] == first[0]["choices"]
    assert again[0]["hyperparameters"] == first[0]["hyperparameters"]


# --- whole studies ---------------------------------------------------------------------------


def test_second_run_computes_nothing(units, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "_work", None)
    assert run_study(units, store=tmp_path / "first") == rows


def test_two_processes_give_the_same_rows(units, rows, tmp_path):
    parallel = run_study(units, store=tmp_path / "second", n_jobs=2)
    assert untimed(parallel) == untimed(rows)


def test_a_study_runs_on_a_dask_cluster(units, rows, tmp_path):
    import joblib
    from distributed import Client, LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 1, "host": "127.0.0.1", "protocol": "tcp"}
    with (
        LocalCluster(dashboard_address=None, processes=False, **options) as cluster,
        Client(cluster),
        joblib.parallel_config("dask"),
    ):
        there = run_study(units[-3:], store=tmp_path / "dask")
    assert untimed(there) == untimed(rows)[-9:]


DRIVER = """
    import os, random, signal, sys, time
    sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    import test_study
    from qllm_helpers.studies.run import load_units, run_study
    from qllm_helpers.studies.table import export_table

    folder, kills = Path(sys.argv[2]), int(sys.argv[3])
    units = load_units("toy", path=folder / "grid.toml")
    run_study(units[-1:], store=folder / "warm")

    def once():
        rows = run_study(units, store=folder / "store")
        export_table("toy", rows, folder / "toy.csv")

    draw = random.Random(0)
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            once()
            os._exit(0)
        time.sleep(draw.uniform(0.0, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    once()
"""


def start_driver(folder, kills):
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), here, str(folder), str(kills)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})


def table_without_time(folder):
    table = parse_table((folder / "toy.csv").read_bytes(), "toy", "toy.csv")
    return table.drop(columns="fit_seconds").to_csv()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_twenty_kills_end_with_the_same_table(tmp_path):
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "grid.toml").write_text(GRID.replace("PAUSE", "0.01"))
    drivers = [start_driver(tmp_path / "undisturbed", 0), start_driver(tmp_path / "killed", 20)]
    assert [driver.wait(300) for driver in drivers] == [0, 0]
    assert table_without_time(tmp_path / "killed") == table_without_time(tmp_path / "undisturbed")


def test_two_runs_at_once_share_one_store(tmp_path):
    (tmp_path / "grid.toml").write_text(GRID.replace("PAUSE", "0.01"))
    drivers = [start_driver(tmp_path, 0), start_driver(tmp_path, 0)]
    assert [driver.wait(300) for driver in drivers] == [0, 0]
    assert len(list((tmp_path / "store").glob("*.json"))) == 9
    table = parse_table((tmp_path / "toy.csv").read_bytes(), "toy", "toy.csv")
    assert len(table) == 27 and not table.duplicated(["head", "seed"]).any()


# --- finished units --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content.replace(b"0.6", b"0.9"),
        lambda content: content.replace(b'"protocol": "few_shot"', b'"protocol": "paper"'),
        lambda content: b"[]",
        lambda content: b"\xff" + content,
    ],
)
def test_a_damaged_unit_is_named_and_left_alone(units, rows, tmp_path, damage):
    path = sorted((tmp_path / "first").iterdir())[0]
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"{path.name} is damaged. Delete it"):
        run_study(units, store=tmp_path / "first")
    assert path.read_bytes() == before
    path.unlink()
    assert untimed(run_study(units, store=tmp_path / "first")) == untimed(rows)


def test_a_file_is_no_folder_of_units(units, tmp_path):
    path = tmp_path / "studies.sqlite"
    path.write_bytes(b"SQLite format 3\x00")
    with pytest.raises(DataError, match="studies.sqlite is a file"):
        run_study(units, store=path)
    assert path.read_bytes() == b"SQLite format 3\x00"


def test_the_first_result_of_a_unit_stays(tmp_path):
    specification = {"estimator": "any"}
    key = digest(specification)
    assert study.read_unit(tmp_path, key) is None
    for accuracy in (0.5, 0.9):
        study.write_unit(tmp_path, specification, [{"test_accuracy": accuracy}])
    assert study.read_unit(tmp_path, key) == [{"test_accuracy": 0.5}]


# --- predictions -----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_classes", "n_bytes"), [(2, 2), (3, 4), (6, 6)])
def test_packed_predictions_come_back(n_classes, n_bytes):
    classes = np.arange(13) % n_classes
    packed = pack(classes, n_classes)
    assert packed.nbytes == n_bytes and packed.dtype == np.uint8
    assert unpack(packed, 13).tolist() == classes.tolist()
    assert unpack(np.stack([packed, packed]), 13).tolist() == [classes.tolist()] * 2


def test_predictions_of_a_row_give_its_accuracy(rows):
    y = load_embeddings("sst2", "all-MiniLM-L6-v2").y
    for row in rows:
        right = from_text(row["predictions"], row["n_test"]) == y[split_of(row).test]
        assert right.mean() == row["test_accuracy"]


def test_shipped_predictions_are_those_of_the_rows(rows, tmp_path, monkeypatch):
    use_data_folder(monkeypatch, tmp_path / "data")
    path, predictions = study_table.shipped_table("toy"), study_table.predictions_file("toy")
    export_table("toy", [{**row} for row in rows], path)
    stored = load_predictions("toy")
    y = load_embeddings("sst2", "all-MiniLM-L6-v2").y
    for (_, row), classes in zip(load_results("toy").iterrows(), stored, strict=True):
        right = classes == y[split_of(row).test]
        assert right.mean() == pytest.approx(row["test_accuracy"], abs=1e-6)
    kept = predictions.read_bytes()
    predictions.write_bytes(kept.replace(b"width 1", b"width 9"))
    with pytest.raises(DataError, match="damaged.*qllm study toy"):
        load_predictions("toy")
    predictions.write_bytes(b"my notes")
    with pytest.raises(DataError, match="left as it is"):
        export_table("toy", rows, path)
    assert predictions.read_bytes() == b"my notes"


SHIPPED = [name for name in STUDY_NAMES if study_table.predictions_file(name).is_file()]


@pytest.mark.parametrize("study", SHIPPED)
def test_shipped_predictions_give_the_shipped_accuracies(study):
    rows = load_results(study).assign(said=load_predictions(study))
    for _, row in rows.sample(12, random_state=0).iterrows():
        right = row["said"] == load_embeddings(row["dataset"], row["encoder"]).y[split_of(row).test]
        assert right.mean() == pytest.approx(row["test_accuracy"], abs=1e-6)


def test_predictions_of_other_rows_are_refused(rows, tmp_path, monkeypatch):
    use_data_folder(monkeypatch, tmp_path / "data")
    path = study_table.shipped_table("toy")
    without = [{key: row[key] for key in study_table.COLUMNS} for row in rows]
    export_table("toy", without, path)
    with pytest.raises(DataError, match="toy.safetensors is missing.*qllm study toy"):
        load_predictions("toy")
    export_table("toy", rows, path)
    assert len(load_predictions("toy")) == len(rows)
    export_table("toy", without[:-3], path)
    with pytest.raises(DataError, match="belongs to other rows.*qllm study toy"):
        load_predictions("toy")


# --- tables ----------------------------------------------------------------------------------


def test_table_goes_round_and_repeats(rows):
    content = format_table(rows)
    table = parse_table(content, "toy", "toy.csv")
    assert format_table(rows) == content and b"\r" not in content
    assert len(table) == len(rows)
    assert table["test_accuracy"].tolist() == pytest.approx(
        [row["test_accuracy"] for row in rows], abs=1e-6
    )
    assert table["n_modes"].isna().all() and not table["fine_tuned"].any()


def test_facts_of_a_row_are_columns(rows):
    table = parse_table(format_table(rows), "toy", "toy.csv")
    wide = table[table["estimator"] == "Centroid"]
    assert wide["head"].eq("width " + wide["width"].astype(str)).all()
    assert set(table["shift"].dropna()) <= {0.0, 0.05} and set(table["C"].dropna()) <= {1.0, 10.0}
    assert table["C"].isna().equals(table["estimator"] == "Centroid")
    assert table["kind"].equals(table["family"])
    shipped = load_results("paper")
    stages = shipped["kind"] == "two-stage"
    assert shipped.loc[stages, "n_encoders"].unique().tolist() == [1, 2]
    assert shipped.loc[~stages, "n_encoders"].isna().all()
    assert (100, 50) in set(shipped["hidden_dims"])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"my notes\n",
        lambda content: content.replace(b'""pause""', b'pause""'),
        lambda content: content[:-20],
        lambda content: content.replace(b"0.6", b"x.6"),
        lambda content: content.replace(b"toy,", b"joy,"),
        lambda content: content.replace(b",test_accuracy", b",accuracy"),
        lambda content: b"\xff\xfe" + content,
    ],
)
def test_damaged_and_foreign_tables_are_left_alone(rows, tmp_path, damage):
    path = tmp_path / "toy.csv"
    path.write_bytes(damage(format_table(rows)))
    before = path.read_bytes()
    with pytest.raises(DataError, match="left as it is"):
        export_table("toy", rows, path)
    assert path.read_bytes() == before


def test_shipped_table_is_checked_and_not_overwritten_when_changed(rows, tmp_path, monkeypatch):
    use_data_folder(monkeypatch, tmp_path / "data")
    path = study_table.shipped_table("toy")
    export_table("toy", rows, path)
    assert len(load_results("toy")) == len(rows)
    export_table("toy", rows, path)
    path.write_bytes(path.read_bytes().replace(b",0.6", b",0.7", 1))
    with pytest.raises(DataError, match="SHA-256"):
        load_results("toy")
    with pytest.raises(DataError, match="changed by hand"):
        export_table("toy", rows, path)


def test_a_kill_between_table_and_digest_is_repaired(rows, tmp_path, monkeypatch):
    use_data_folder(monkeypatch, tmp_path / "data")
    path = study_table.shipped_table("toy")
    path.write_bytes(format_table(rows))
    export_table("toy", rows, path)
    assert len(load_results("toy")) == len(rows)


def test_unknown_and_missing_studies_are_told_apart(tmp_path, monkeypatch):
    use_data_folder(monkeypatch, tmp_path / "data")
    with pytest.raises(UnknownNameError, match="unknown study 'few_shots'"):
        load_results("few_shots")
    with pytest.raises(DataError, match="noise.csv is missing.*qllm study noise"):
        load_results("noise")


# --- checks ----------------------------------------------------------------------------------


def test_check_accepts_true_rows_and_finds_a_changed_one(rows, units):
    table = parse_table(format_table(rows), "toy", "toy.csv")
    assert not any(row.problem for row in check_rows(table, units, len(table)))
    table.loc[5, "test_accuracy"] += 0.03
    wrong = [row for row in check_rows(table, units, len(table)) if row.problem]
    assert [(row.head, row.seed) for row in wrong] == [("width 2", 2)]
    assert "test_accuracy" in wrong[0].problem


def test_check_draws_by_its_seed_and_refuses_stray_rows(rows, units):
    table = parse_table(format_table(rows), "toy", "toy.csv")
    drawn = [
        [(row.head, row.seed) for row in check_rows(table, units, 4, draw=d)] for d in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(DataError, match="which the grid does not"):
        check_rows(table, units[:3], 4)


def test_command_runs_and_checks(grid, tmp_path, monkeypatch):
    use_data_folder(monkeypatch, tmp_path / "data")
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    options = ["toy", "--grids", str(grid), "--jobs", "1", "--quiet"]
    run = CliRunner()
    partial = run.invoke(main, ["study", *options, "--entries", "width 1", "--seeds", "2"])
    assert partial.exit_code == 0 and (tmp_path / "toy-part.csv").is_file()
    whole = run.invoke(main, ["study", *options, "--output", str(tmp_path / "data" / "results")])
    assert whole.exit_code == 0, whole.output
    checked = run.invoke(main, ["study", *options, "--check", "3", "--draw", "7"])
    assert checked.exit_code == 0 and "drawn with seed 7" in checked.output
    table = study_table.shipped_table("toy")
    lines = [
        line.replace(",0.", ",0.1") if "width" in line else line
        for line in table.read_text().splitlines()
    ]
    table.write_text("\n".join(lines) + "\n")
    artifacts.write_manifest(table)
    changed = run.invoke(main, ["study", *options, "--check", "27"])
    assert changed.exit_code == 1 and "test_accuracy is" in changed.output


def test_every_kind_of_head_has_its_name():
    rows = load_results("paper")
    found = rows.drop_duplicates("head").set_index("head")["kind"]
    expected = {
        "LogisticRegression": "linear",
        "4 modes, 2 photons": "photonic",
        "linear map of rank 4": "linear map",
        "8 modes, 2 photons, occupation": "occupation",
        "8 modes, 2 photons, two-stage E = 2": "two-stage",
        "8 modes, 2 photons, fidelity kernel": "fidelity kernel",
        "8 modes, 2 photons, outputs unscaled": "outputs unscaled",
        "36 random Fourier features": "random Fourier features",
    }
    assert found[list(expected)].to_dict() == expected
    names = ("distinguishable", "frozen", "cosine", "linear")
    twins = rows[rows["twin"].isin(names)]
    assert (twins["kind"] == twins["twin"] + " twin").all()
    assert found.value_counts()[[f"{name} twin" for name in names]].tolist() == [4] * 4


def test_rows_can_be_computed_again(monkeypatch):
    row = dict.fromkeys(COLUMNS) | {
        **{"study": "paper", "head": "h", "seed": 0, "fine_tuned": False},
        **{"test_accuracy": 0.75, "n_train": 435, "n_test": 9101, "samples_per_class": 256},
    }
    monkeypatch.setattr(run, "run_study", lambda units, n_jobs: [row])
    table = run.study_rows("paper", recompute=True)
    assert table["test_accuracy"].tolist() == [0.75]
    assert not table["fine_tuned"].any()


def test_circuits_on_machines_have_the_settings_that_the_pool_chose_for_them():
    known = pd.concat([study_table.load_choices(name) for name in ("paper", "finetune")])
    known = known.query("chosen and encoder == 'all-mpnet-base-v2'")
    chosen = known.drop_duplicates(["head", "fine_tuned"]).set_index(["head", "fine_tuned"])
    units = [unit for unit in load_units("noise") if "n_modes" in unit.parameters]
    assert len(units) > 100
    for unit in units:
        mine, n_photons = unit.parameters, unit.parameters["n_photons"]
        words = [f"{mine['n_modes']} modes", f"{n_photons} photon{'s' * (n_photons > 1)}"]
        head = ", ".join([*words, *filter(None, [mine.get("twin")])])
        setting = chosen["setting"][head, unit.fine_tuned]
        assert {name: mine[name] for name in setting} == setting, unit.head
