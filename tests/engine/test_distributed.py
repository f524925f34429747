"""Two processes that shard one model train it as one process does, and write the same single checkpoint."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from process import sesame
from text_store import write_store

from sesame import config
from sesame.data.text import TextSet, examples_of, rows_of
from sesame.engine.build import load
from sesame.engine.distributed import is_block
from sesame.engine.run import Run

SMALL = [
    "--threads", 1, "--device", "cpu", "--backbone.layers", 2, "--backbone.width", 32, "--backbone.heads", 2,
    "--backbone.ffn", 64, "--data.length", 32, "--data.rows", 8, "--eval-rows", 4, "--log-every", 1, "--accumulate", 2,
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "store"
    write_store(path)
    return path


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def train(words: list[object], world: int, log: Path, status: int = 0) -> None:
    """One process, or two that find each other the way torchrun's do."""
    port = str(free_port())
    env = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        sesame(
            "pretrain", *words, log=log, env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else None
        )
        for rank in range(world)
    ]
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [status] * world, log.read_text()


def losses(run: Path) -> list[float]:
    return [event["loss"] for event in Run.open(run).events() if event["event"] in ("log", "evaluate")]


def compare(store: Path, folder: Path, steps: int, tolerance: float, *words: object) -> None:
    for world in (1, 2):
        out = folder / str(world)
        named = ["bert-tiny", "--data", store, "--out", out, "--steps", steps, *SMALL, *words]
        train(named, world, folder / "log")
    one, two = losses(folder / "1"), losses(folder / "2")
    assert len(one) == len(two) >= steps
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < tolerance
    a, b = load(folder / "1").objective.state_dict(), load(folder / "2").objective.state_dict()
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=0, atol=10 * tolerance)
    newest = f"checkpoints/step-{steps:08d}/model"
    assert {p.name for p in (folder / "1" / newest).iterdir()} == {p.name for p in (folder / "2" / newest).iterdir()}
    published = load(folder / "2" / newest).objective
    assert torch.equal(
        published.backbone.embed.token.weight.double(), b["backbone.embed.token.weight"].float().double()
    )


def test_two_processes_train_as_one_does_in_fp64(store, tmp_path):
    compare(store, tmp_path, 8, 1e-9, "--precision", "fp64", "--optimizer.name", "muon", "--ema", 0.9)


VIEWS = ["--threads", 1, "--device", "cpu", "--precision", "fp64", "--data.rows", 33, "--eval-rows", 20]
VIEWS += ["--log-every", 1, "--backbone.channels", 4, 8]


@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [
        ("simclr-digits", "lars"),
        pytest.param("byol-digits", "momentum", marks=pytest.mark.slow),
        pytest.param("mocov3-digits", "adamw", marks=pytest.mark.slow),
    ],
)
def test_two_processes_share_a_batch_that_is_compared_as_a_whole(recipe, optimizer, tmp_path):
    """33 images are 17 and 16: projections are joined, batch norm sees all, the slow copy follows shard by shard."""
    for world in (1, 2):
        words = [recipe, "--out", tmp_path / str(world), "--steps", 4, "--optimizer.name", optimizer, *VIEWS]
        train(words, world, tmp_path / "log")
    one, two = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert len(one) == len(two) > 4
    assert one == pytest.approx(two, abs=1e-9)
    a, b = load(tmp_path / "1").objective.state_dict(), load(tmp_path / "2").objective.state_dict()
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=0, atol=1e-6, msg=lambda said, name=name: f"{name}: {said}")


def test_a_run_of_two_processes_is_refused_by_one_unless_inexact_is_allowed(store, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    train(["bert-tiny", "--data", store, "--out", run, "--steps", 6, "--save-every", 3, *SMALL], 2, log)
    state = json.loads((run / "state.json").read_text())
    (run / "state.json").write_text(json.dumps(state | {"state": "interrupted"}))
    for path in (run / "checkpoints").glob("step-00000006/*.safetensors"):
        path.unlink()  # so that there is something to go on with
    train(["--resume", run], 1, log, status=2)
    assert "processes: 2 then, 1 now" in log.read_text()
    train(["--resume", run, "--inexact"], 1, log)
    assert "not exact to the bit" in log.read_text()
    assert Run.open(run).state().state == "finished"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tolerance", "words"),
    [(1e-4, ["--precision", "fp32"]), (1e-9, ["--precision", "fp64"]),
     (1e-4, ["--precision", "fp32", "--pretext.next-sentence", 1, "--pretext.sentence-order", 1])],
)  # fmt: skip
def test_fifty_steps_of_two_processes_are_those_of_one(store, tmp_path, tolerance, words):
    compare(store, tmp_path, 50, tolerance, *words)


@pytest.mark.slow
def test_torchrun_starts_two_processes(store, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2, "--master-port", free_port()]
    command += ["-m", "sesame", "pretrain", "bert-tiny", "--data", store, "--out", out, "--steps", 5, *SMALL]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert Run.open(out).state().state == "finished"
    assert load(out).step == 5


@pytest.mark.parametrize(
    ("name", "block"),
    [("backbone.blocks.0", True), ("backbone.decoder.blocks.11", True), ("backbone.blocks", False),
     ("backbone.blocks.0.ffn", False), ("blocks.3", True), ("pretext.head", False)],
)  # fmt: skip
def test_blocks_are_found_by_name(name, block):
    assert is_block(name) == block


OWN = """
from sesame.data.text import examples_of, rows_of
from sesame.probes import Value

def measure(model, ask):
    batch, _ = examples_of([ask.data.store.ids[:9]], model.vocabulary, 16)
    yield Value("norm", float(model.objective.backbone(rows_of(batch)).last.norm()), n=ask.step)
"""


@pytest.mark.slow
def test_probes_of_two_processes_see_the_whole_model_and_change_nothing(store, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    words = ["bert-tiny", "--data", store, "--steps", 6, *SMALL]
    train([*words, "--out", tmp_path / "plain"], 2, tmp_path / "log")
    train([*words, "--out", tmp_path / "watched", "--probe", tmp_path / "own.py"], 2, tmp_path / "log")
    a, b = (load(tmp_path / name).objective.state_dict() for name in ("plain", "watched"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    rows = pq.read_table(tmp_path / "watched" / "probes.parquet").to_pylist()
    assert rows[0]["step"] == 0 and rows[-1]["step"] == 6
    model = load(tmp_path / "watched", 6)
    data = TextSet.open(config.TextData(store=str(store)))
    batch, _ = examples_of([data.store.ids[:9]], data.vocabulary, 16)
    with torch.no_grad():
        norm = float(model.objective.backbone(rows_of(batch)).last.norm())
    assert rows[-1]["value"] == pytest.approx(norm, rel=1e-5)
