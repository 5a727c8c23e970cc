"""A reader's own head is judged as the studies judge, and nothing that it does is passed over."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from qllm_helpers import MLPClassifier, judge
from qllm_helpers.cli import main
from qllm_helpers.figures import card_figure, write_card
from qllm_helpers.files import DataError
from qllm_helpers.results.judge import REFERENCES
from qllm_helpers.studies.own import find_head
from qllm_helpers.text.corpora import load_embeddings

SMALL = {"encoder": "all-MiniLM-L6-v2", "seeds": 3}


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path / "cache"))


class Nearest(ClassifierMixin, BaseEstimator):
    """The class with the nearest mean; `seen` notes what each call was given."""

    seen = []

    def fit(self, X, y):
        type(self).seen.append(("fit", X.copy(), y.copy()))
        self.means_ = np.stack([X[y == label].mean(0) for label in np.unique(y)])
        return self

    def predict(self, X):
        type(self).seen.append(("predict", X.copy(), None))
        return np.linalg.norm(X[:, None] - self.means_, axis=-1).argmin(1)


class Shuffled(Nearest):
    """Learns from labels in a random order."""

    def fit(self, X, y):
        return super().fit(X, np.random.permutation(y))


class Memorised(Nearest):
    """Knows the corpus by heart."""

    def fit(self, X, y):
        data = load_embeddings("sst2", "all-MiniLM-L6-v2")
        self.known_ = dict(zip(map(bytes, data.X), data.y, strict=True))
        return self

    def predict(self, X):
        return np.array([self.known_[bytes(x)] for x in X])


class HalfMemorised(Memorised):
    """Knows every second sentence by heart, and learns the others."""

    def fit(self, X, y):
        Nearest.fit(self, X, y)
        return Memorised.fit(self, X, y)

    def predict(self, X):
        known = np.arange(len(X)) % 2 == 0
        return np.where(known, Memorised.predict(self, X), Nearest.predict(self, X))


class Faulty(Nearest):
    """Does something wrong when the random state is one."""

    def __init__(self, fault="raises", random_state=None):
        self.fault = fault
        self.random_state = random_state

    def fit(self, X, y):
        if self.random_state == 1 and self.fault == "raises":
            raise RuntimeError("out of light")
        return super().fit(X, y)

    def predict(self, X):
        said = super().predict(X)
        wrong = {"unknown": said + 5, "nan": said * np.nan, "shape": said[:, None]}
        return wrong.get(self.fault, said) if self.random_state == 1 else said


class Silent:
    """A head that is no estimator of scikit-learn, and takes its labels from a function."""

    def __init__(self, weights):
        self.weights = weights

    def fit(self, X, y):
        self.sign = 1 if ((X @ self.weights > 0) == y).mean() > 0.5 else -1

    def predict(self, X):
        return (self.sign * (X @ self.weights) > 0).astype(float)


# --- verdicts ----------------------------------------------------------------------------------


def test_a_worse_head_is_worse():
    card = judge(GaussianNB, **SMALL | {"seeds": 5})
    assert list(card.verdicts["reference"]) == list(REFERENCES)
    assert set(card.verdicts["verdict"]) == {"worse"}
    assert "5 seeds are fewer than 20" in card.objections[0]
    assert card.verdicts["detectable"].between(0.001, 0.02).all()


def test_logistic_regression_is_equivalent_to_itself():
    card = judge(LogisticRegression(max_iter=5000), **SMALL)
    first = card.verdicts.iloc[0]
    assert (first["difference"], first["verdict"]) == (0, "equivalent")
    # 385 numbers: the linear map of 770 is twice as large
    assert list(card.verdicts["reference"])[3:] == ["NN[0]"]
    shipped, own = (card.fits[card.fits["head"] == one] for one in (REFERENCES[0], card.head))
    for theirs, ours in zip(shipped["predictions"], own["predictions"], strict=True):
        assert (theirs == ours).all()


def test_shuffled_labels_are_at_chance_and_worse():
    card = judge(Shuffled(), **SMALL)
    assert card.verdicts["accuracy"].iloc[0] == pytest.approx(0.5, abs=0.08)
    assert set(card.verdicts["verdict"]) == {"worse"}
    assert card.seen == []


@pytest.mark.parametrize("kind", [Memorised, HalfMemorised])
def test_a_head_that_knows_the_corpus_is_not_better_in_silence(kind):
    card = judge(kind(), **SMALL)
    assert set(card.verdicts["verdict"]) == {"better"}
    assert card.sentence.startswith("Has it seen these sentences?")
    assert "Taught wrong labels, it still gives the right ones" in str(card)
    assert ("Its accuracy is 1.000" in str(card)) == (kind is Memorised)


def test_the_test_part_is_never_shown_with_labels():
    Nearest.seen.clear()
    judge(Nearest(), **SMALL, n_jobs=1)
    fits = [call for call in Nearest.seen if call[0] == "fit"]
    assert [len(y) for _, _, y in fits] == [435] * 4
    taught = [np.bincount(y).tolist() for _, _, y in fits]
    assert taught[-1] == taught[0][::-1] or taught[0] == taught[-1][::-1]
    asked = [X for what, X, _ in Nearest.seen if what == "predict"]
    assert {len(X) for X in asked} == {77, 9101}


def test_all_seeds_of_a_house_head_are_fitted_at_once(monkeypatch):
    head = MLPClassifier(hidden_dims=(), epochs=2)
    card = judge(head, **SMALL)
    assert card.fits[card.fits["head"] == "MLPClassifier"]["seed"].tolist() == [0, 1, 2]
    assert list(card.verdicts["reference"])[3:] == ["NN[0]"]


def test_references_are_fitted_where_none_are_shipped(tmp_path):
    X = np.random.default_rng(0).normal(size=(200, 5))
    y = np.where(X[:, 0] + 0.1 * X[:, 1] > 0, "warm", "cold")
    card = judge(GaussianNB(), np.vstack([X, X[:7]]), np.hstack([y, y[:7]]), seeds=2)
    assert list(card.verdicts["reference"]) == [*REFERENCES, "NN[0]"]
    assert card.verdicts["reference_accuracy"].iloc[0] > 0.8
    assert "7 samples that occur more than once" in card.objections[-1]
    assert "fitted in this run" in write_card(card, tmp_path)[1].read_text()
    assert card.seen == []


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raises", "RuntimeError: out of light"),
        ("unknown", "which is none of the labels"),
        ("nan", "predict gave np.float64(nan)"),
        ("shape", "predict gave the shape (77, 1) for 77 sentences"),
    ],
)
def test_a_failing_seed_is_one_line_and_the_others_go_on(fault, reason):
    card = judge(Faulty(fault), **SMALL)
    (line,) = [line for line in card.objections if "has no row" in line]
    assert line.startswith("Faulty has no row of seed 1: ") and reason in line
    assert set(card.verdicts["n_seeds"]) == {2}


def test_a_head_that_always_fails_has_no_verdict(tmp_path):
    card = judge(Silent(np.ones(3)), **SMALL)
    assert set(card.verdicts["verdict"]) == {"not run"}
    assert "Silent has no row of seed 0, 1, 2: ValueError: matmul" in str(card)
    write_card(card, tmp_path)


class NoPredict:
    def fit(self, X, y):
        return self


class Needy(Nearest):
    def __init__(self, width):
        self.width = width


# its vectors by the second body are not shipped
TREC = {"dataset": "trec", "encoder": "all-mpnet-base-v2"}
X_SMALL, Y_SMALL = np.arange(120.0).reshape(60, 2), np.arange(60) % 2


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        ("sklearn.naive_bayes", {}, "no estimator at 'sklearn.naive_bayes'"),
        ("sklearn.naive_bayes:Nobody", {}, "no attribute 'Nobody'"),
        ("nowhere:Head", {}, "No module named 'nowhere'"),
        (NoPredict(), {}, "NoPredict has no predict"),
        (3, {}, "int has no fit"),
        (Needy, {}, "Needy cannot be made and copied"),
        (GaussianNB, {"dataset": "sst3"}, "unknown dataset 'sst3'"),
        (GaussianNB, {"protocol": "five_shot"}, "protocol must be one of"),
        (GaussianNB, {**TREC, "protocol": "few_shot"}, "use paper_split instead"),
        (GaussianNB, {"seeds": 1}, "seeds must be a whole number, at least 2"),
        (GaussianNB, {"margin": 0.0}, "margin must be"),
        (GaussianNB, {"name": "NN[0]"}, "give the head another name"),
        (GaussianNB, {"samples_per_class": 9999}, "fewer than samples_per_class"),
        (GaussianNB, {"X": X_SMALL}, "give both X and y"),
        (GaussianNB, {"X": X_SMALL, "y": np.zeros(60)}, "two or more labels"),
        (GaussianNB, {"X": X_SMALL, "y": Y_SMALL[:-1]}, "inconsistent numbers of samples"),
        (GaussianNB, {"X": X_SMALL * np.nan, "y": Y_SMALL}, "contains NaN"),
        (GaussianNB, {"X": X_SMALL[:, 0], "y": Y_SMALL}, "Expected 2D array"),
        (GaussianNB, {"X": X_SMALL, "y": np.where(Y_SMALL, None, "a")}, "two or more labels"),
        (GaussianNB, {"X": X_SMALL, "y": np.arange(60) // 50}, "12 samples each are needed"),
        (GaussianNB, {"dataset": "nowhere.csv"}, "No such file"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_any_fit(head, options, message, monkeypatch):
    monkeypatch.setattr("qllm_helpers.results.judge.run_study", None)
    with pytest.raises((ValueError, DataError), match=message.replace("(", r"\(")):
        judge(head, **SMALL | options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("words,label\na,0\n", "cannot read texts and labels .*text"),
        ("", "cannot read texts and labels"),
    ],
)
def test_a_csv_file_is_checked(tmp_path, text, message):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        judge(GaussianNB, dataset=str(path))


# --- what is kept ------------------------------------------------------------------------------


def test_heads_are_told_apart_by_code_parameters_and_state(tmp_path, monkeypatch):
    same = [find_head(one).identity for one in (GaussianNB, GaussianNB(), lambda: GaussianNB())]
    assert len(set(same)) == 1
    assert find_head(GaussianNB(var_smoothing=1e-8)).identity != same[0]
    states = [find_head(Silent(np.full(3, value))).identity for value in (1.0, 1.0, 2.0)]
    assert states[0] == states[1] != states[2]
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for shift in (0, 1):
        for name in ("mine", "helper"):
            sys.modules.pop(name, None)
        (tmp_path / "helper.py").write_text(f"def answer(X):\n    return 0 * len(X) + {shift}\n")
        (tmp_path / "mine.py").write_text(
            "from helper import answer\n\nclass Head:\n    def fit(self, X, y): pass\n"
            "    def predict(self, X): return answer(X)\n"
        )
        found.append(find_head("mine:Head").identity)
    assert None not in found and found[0] != found[1]


def test_what_cannot_be_told_apart_is_not_kept(tmp_path):
    class Local(Nearest):
        pass

    card = judge(Local(), **SMALL, store=tmp_path / "units")
    assert any("Nothing was kept" in line for line in card.objections)
    assert not (tmp_path / "units").exists()


DRIVER = """
    import os, sys
    from pathlib import Path
    folder = Path(sys.argv[1])
    sys.path.insert(0, str(folder))
    import slow_head
    from qllm_helpers.figures import write_card
    from qllm_helpers.results.judge import judge

    def once(kills):
        options = {"seeds": 4, "encoder": "all-MiniLM-L6-v2", "store": folder / f"units {kills}"}
        write_card(judge(slow_head.Slow, **options), folder / f"card {kills}")
        os._exit(0)

    for kills in ("0", "2 4 6"):
        os.environ["KILLS"], runs, status = kills, 0, 1
        slow_head.MARKS.write_text("")
        while status and runs < 9:
            child = os.fork()
            if child == 0:
                once(kills)
            runs, status = runs + 1, os.waitpid(child, 0)[1]
        print(runs, len(slow_head.MARKS.read_text().splitlines()))
"""
SLOW = """
    import os, signal
    from pathlib import Path
    from sklearn.naive_bayes import GaussianNB

    MARKS = Path(__file__).with_name("marks")

    class Slow(GaussianNB):
        def fit(self, X, y):
            with MARKS.open("a") as stream:
                stream.write("fit\\n")
            # the kill -9 of somebody who is tired of waiting
            if len(MARKS.read_text().splitlines()) in map(int, os.environ["KILLS"].split()):
                os.kill(os.getpid(), signal.SIGKILL)
            return super().fit(X, y)
"""


def test_killed_runs_end_with_the_same_card_and_fit_no_seed_twice(tmp_path):
    (tmp_path / "slow_head.py").write_text(textwrap.dedent(SLOW))
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    # four seeds and the probe; what was killed is fitted once more, and nothing else
    assert done.stdout == "1 5\n4 8\n", done.stderr
    cards = [(tmp_path / f"card {kills}" / "card.html").read_bytes() for kills in ("0", "2 4 6")]
    assert cards[0] == cards[1]


def test_several_processes_give_the_same_rows(tmp_path):
    cards = [judge(Nearest(), **SMALL, store=tmp_path / str(jobs), n_jobs=jobs) for jobs in (1, 2)]
    rows = [[row | {"fit_seconds": 0} for row in card.rows] for card in cards]
    assert rows[0] == rows[1]


# --- the card ----------------------------------------------------------------------------------


def test_the_report_has_the_verdict_and_can_be_read_alone(tmp_path):
    card = judge(GaussianNB(), **SMALL, name="naive <Bayes>")
    written = write_card(card, tmp_path)
    names = ["card.html", "card.md", "card.svg", "rows.csv", "rows.safetensors", "verdicts.csv"]
    assert [path.name for path in written] == names
    page, text = ((tmp_path / f"card.{kind}").read_text() for kind in ("html", "md"))
    assert "naive &lt;Bayes&gt;" in page and "<svg" in page and "<Bayes>" not in page
    assert card.sentence in text and "3 seeds are fewer than 20" in text
    assert "scikit_learn" in text and "detectable" in text
    verdicts = pd.read_csv(tmp_path / "verdicts.csv")
    assert list(verdicts["verdict"]) == list(card.verdicts["verdict"])
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert list(rows["seed"]) == [0, 1, 2, 0]
    address = json.loads(rows["configuration"][0])["address"]
    assert address == "sklearn.naive_bayes:GaussianNB"
    axes = card_figure(card).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == [REFERENCES[0], card.head]


def test_the_command_judges_a_file_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("judged_heads.py").write_text(
        "from sklearn.naive_bayes import GaussianNB\n\nclass Mine(GaussianNB):\n    pass\n"
    )
    words = [
        "judge",
        "judged_heads:Mine",
        "--seeds",
        "2",
        "--jobs",
        "1",
        "--body",
        "all-MiniLM-L6-v2",
    ]
    found = CliRunner().invoke(main, [*words, "--quiet"])
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("Mine against LogisticRegression, C = 1: ")
    assert Path("judged-Mine", "card.html").is_file()
    for wrong, message in (("judged_heads:Yours", "Yours"), ("nothing:Mine", "nothing")):
        found = CliRunner().invoke(main, ["judge", wrong])
        assert found.exit_code == 1 and message in found.stderr
        assert found.stderr.count("\n") == 1 and found.stdout == ""
