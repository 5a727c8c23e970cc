"""What the precision of the body's matrix products does to heads: bfloat16 beside float32."""

import json
from dataclasses import replace

import pandas as pd
from tqdm.auto import tqdm

from qllm_helpers.studies.data import one_thread, unit_data
from qllm_helpers.studies.grid import load_units
from qllm_helpers.studies.table import load_results
from qllm_helpers.studies.unit import chosen_fits
from qllm_helpers.text.corpora import load_texts
from qllm_helpers.text.encoders import MPNET, PRECISIONS, encode

#: Heads of the study `paper` that are fitted again.
HEADS = (
    *("LogisticRegression, C = 1", "SVC RBF, C = 1", "8 modes, 1 photon", "8 modes, 2 photons"),
    "8 modes, 2 photons, distinguishable",
)


def precision_table(*, progress: bool = False) -> pd.DataFrame:
    """Accuracies of heads whose body computed in each precision: head, precision, seed.

    SST-2 is encoded twice; heads have the settings of the shipped rows of the study `paper`.
    """
    rows = load_results("paper").query("encoder == @MPNET and selection == 'pool'")
    settings = rows.drop_duplicates("head").set_index("head")["hyperparameters"].map(json.loads)
    units = [unit for unit in load_units("paper", encoder=MPNET) if unit.head in HEADS]
    units, measured = [unit for unit in units if unit.selection == "pool"], []
    for precision in PRECISIONS[1:]:
        X = encode(load_texts("sst2").texts, MPNET, progress=progress, precision=precision)
        for unit in tqdm(units, disable=not progress, desc=f"heads, {precision}"):
            with one_thread():
                data = replace(unit_data(unit), X=X)
                fits = [one.fit for one in chosen_fits(unit, data, [settings[unit.head]])]
            for replica, (seed, fit) in enumerate(zip(unit.seeds, fits, strict=True)):
                test = data.splits[replica].test
                accuracy = fit.score(data.features(replica, test), data.y[test])
                measured.append((unit.head, precision, seed, accuracy))
    return pd.DataFrame(measured, columns=["head", "precision", "seed", "test_accuracy"])
