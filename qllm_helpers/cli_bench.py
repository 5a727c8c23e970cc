"""``qllm bench`` and ``qllm landscape``: what is measured about the engine itself."""

import os
from pathlib import Path

import click
import pandas as pd


def _output_option(tables: str):
    """The option for the folder of the measured tables."""
    return click.option(
        "--output",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Folder for {tables}.  [default: the package's results]",
    )


def _write(tables: dict[str, pd.DataFrame], folder: Path | None) -> None:
    """Write measured tables, and say where."""
    from qllm_helpers.studies.measurements import write_measurements

    for path in write_measurements(tables, folder):
        click.echo(f"wrote {path}")


def _table(frame: pd.DataFrame) -> str:
    """The circuits' rows as text: one line per engine, replicas and task."""
    shown = frame.loc[frame["series"] == "circuits"].assign(
        ms=lambda t: 1e3 * t["seconds_per_replica"]
    )
    columns = {
        "task": "task",
        "n_modes": "modes",
        "n_photons": "photons",
        "engine": "engine",
        "n_replicas": "R",
        "ms": "ms per replica",
        "ratio": "x MerLin",
        "peak_mebibytes": "peak MiB",
        "bound": "bound by",
        "over_bound": "time / bound",
    }
    shown = shown.sort_values(["task", "n_modes", "n_photons", "engine", "n_replicas"])
    return (
        shown[list(columns)]
        .rename(columns=columns)
        .to_string(index=False, float_format=lambda value: f"{value:.3g}", na_rep="")
    )


def _growth(frame: pd.DataFrame) -> str:
    """How the time of a training step grows with each size."""
    lines = []
    for series, varied in (
        ("modes", "n_modes"),
        ("photons", "n_photons"),
        ("replicas", "n_replicas"),
        ("batch", "batch"),
    ):
        rows = frame.loc[frame["series"] == series].sort_values(varied)
        steps = ", ".join(
            f"{size}: {1e3 * seconds:.2f} ms"
            for size, seconds in zip(rows[varied], rows["seconds"], strict=True)
        )
        lines.append(f"{series:9s} {steps}")
    return "\n".join(lines)


def _qubit_table(frame: pd.DataFrame) -> str:
    """The qubit circuits' rows as text."""
    columns = {
        "n_qubits": "qubits",
        "n_blocks": "blocks",
        "engine": "engine",
        "n_replicas": "R",
        "ms": "ms per replica",
        "ratio": "x PennyLane",
        "peak_mebibytes": "peak MiB",
        "over_memory": "time / memory bound",
        "over_cache": "time / cache bound",
    }
    shown = frame.assign(ms=1e3 * frame["seconds_per_replica"])[list(columns)]
    return shown.rename(columns=columns).to_string(
        index=False, float_format=lambda value: f"{value:.3g}", na_rep=""
    )


def _qubits(threads: int, seconds: float) -> pd.DataFrame:
    """Measure the qubit circuits, and show them."""
    from qllm_helpers.benchmarks.qubits import run_qubit_benchmark, standard_cases

    cases = standard_cases()
    table = run_qubit_benchmark(cases, n_threads=threads, min_seconds=seconds, progress=True)
    click.echo("\nTraining steps of the qubit circuits:\n" + _qubit_table(table))
    return table


@click.command()
@click.option("--threads", type=click.IntRange(1), help="Threads of torch.  [default: all cores]")
@click.option("--seconds", default=1.0, show_default=True, help="Least time for each measurement.")
@click.option("--sweep/--no-sweep", default=True, help="Also time the whole mode sweep.")
@click.option("--qubits/--no-qubits", default=True, help="Also time the qubit circuits.")
@_output_option("the tables benchmark*.csv")
def bench(
    threads: int | None, seconds: float, sweep: bool, qubits: bool, output: Path | None
) -> None:
    """Measure training steps and inference beside MerLin, Perceval and PennyLane.

    Takes about ten minutes on two cores. Keep the machine otherwise idle; quote ratios, not times.
    """
    from qllm_helpers.benchmarks.bounds import machine_limits, with_bounds
    from qllm_helpers.benchmarks.layer import standard_cases
    from qllm_helpers.benchmarks.qubits import require_pennylane
    from qllm_helpers.benchmarks.sweep import sweep_benchmark
    from qllm_helpers.benchmarks.timing import run_benchmark

    if qubits:
        try:
            require_pennylane()
        except ModuleNotFoundError as error:
            raise click.ClickException(f"{error} (--no-qubits)") from error
    threads = threads or os.cpu_count() or 1
    limits = machine_limits()
    table = run_benchmark(standard_cases(), n_threads=threads, min_seconds=seconds, progress=True)
    table = with_bounds(table, limits)
    click.echo(_table(table))
    click.echo("\nOne training step of ours, by size:\n" + _growth(table))
    tables = {"benchmark": table}
    if qubits:
        tables["benchmark_qubits"] = _qubits(threads, seconds)
    if sweep:
        tables["benchmark_sweep"] = sweep_benchmark(threads, progress=True)
        totals = tables["benchmark_sweep"][["ours_seconds_per_seed", "merlin_seconds"]].sum()
        click.echo(
            f"\nMode sweep, per seed: ours {totals.iloc[0]:.2f} s, MerLin {totals.iloc[1]:.1f} s, "
            f"ratio {totals.iloc[1] / totals.iloc[0]:.0f}"
        )
    _write(tables, output)


@click.command()
@_output_option("landscape.csv")
def landscape(output: Path | None) -> None:
    """Measure gradients, expressivity and training loss against the number of photons.

    Takes about ten minutes on two cores.
    """
    from qllm_helpers.studies.landscape import landscape as measure
    from qllm_helpers.studies.landscape import standard_circuits

    _write({"landscape": measure(standard_circuits(), progress=True)}, output)


@click.command()
@_output_option("qubit_noise.csv")
def qubit_noise(output: Path | None) -> None:
    """Measure what shots and depolarising noise do to trained qubit heads.

    Takes about five minutes on two cores.
    """
    from qllm_helpers.studies.shots import SEEDS, noise_table, standard_devices, trained_heads

    table = noise_table(trained_heads(SEEDS), standard_devices(), progress=True)
    _write({"qubit_noise": table}, output)
