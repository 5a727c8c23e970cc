"""What the precision of the body's matrix products does to heads: bfloat16 beside float32."""

from dataclasses import replace

import pandas as pd
from tqdm.auto import tqdm

from qllm_helpers.studies.data import one_thread, unit_data
from qllm_helpers.studies.run import shipped_units
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
    units = [unit for unit in shipped_units("paper", MPNET) if unit.head in HEADS]
    measured = []
    for precision in PRECISIONS[1:]:
        X = encode(load_texts("sst2").texts, MPNET, progress=progress, precision=precision)
        for unit in tqdm(units, disable=not progress, desc=f"heads, {precision}"):
            with one_thread():
                data = replace(unit_data(unit), X=X)
                fits = [one.fit for one in chosen_fits(unit, data)]
            for replica, (seed, fit) in enumerate(zip(unit.seeds, fits, strict=True)):
                test = data.splits[replica].test
                accuracy = fit.score(data.features(replica, test), data.y[test])
                measured.append((unit.head, precision, seed, accuracy))
    return pd.DataFrame(measured, columns=["head", "precision", "seed", "test_accuracy"])
