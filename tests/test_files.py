"""Shipped files and the cache: digests, atomic writes, what is done about damage."""

import os

import numpy as np
import pytest

from qllm_helpers.files import (
    DataError,
    cached_arrays,
    read_manifest,
    read_verified,
    sha256,
    write_atomic,
    write_manifest,
)


def test_the_manifest_follows_its_files(data_copy):
    write_atomic(data_copy / "results" / "a.csv", b"x\n")
    write_manifest("results/a.csv")
    assert read_manifest()["results/a.csv"] == sha256(b"x\n")
    assert read_verified("results/a.csv") == b"x\n"
    write_atomic(data_copy / "results" / "a.csv", b"changed\n")
    with pytest.raises(DataError, match="is damaged"):
        read_verified("results/a.csv")
    (data_copy / "results" / "a.csv").unlink()
    write_manifest("results/a.csv")
    assert "results/a.csv" not in read_manifest()
    before = read_manifest()
    write_manifest()
    # The copy holds one of the two embedding files.
    assert set(before) - set(read_manifest()) == {
        name for name in before if not (data_copy / name).is_file()
    }


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_atomic(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_the_cache_computes_once_and_notices_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("QLLM_CACHE_DIR", str(tmp_path))
    calls = []

    def compute():
        calls.append(1)
        return {"X": np.arange(6.0).reshape(2, 3)}

    first, second = (cached_arrays("kind", "key", compute) for _ in range(2))
    assert np.array_equal(first["X"], second["X"])
    assert len(calls) == 1
    path = tmp_path / "kind" / "key.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="Delete it"):
        cached_arrays("kind", "key", compute)
