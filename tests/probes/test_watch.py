"""`watch`: the full forms over saved checkpoints; what is known stays, what is damaged is passed over."""

import pickle
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file
from watched import QUIET, probe

from sesame.data.text import TextSet
from sesame.engine import checkpoint
from sesame.engine.build import load
from sesame.errors import UserError
from sesame.probes.watch import watch
from sesame.processes import Pool
from sesame.tasks.fill import fill

NORM = '''"""The size of the weights, against the first and the previous checkpoint's."""

from sesame.probes import Item, Value

def size(model):
    return sum(float(p.double().square().sum()) for p in model.objective.parameters())

def measure(model, ask):
    yield Value("size", size(model), n=ask.cores)
    for name, other in (("first", ask.first), ("previous", ask.previous)):
        if other is not None:
            yield Value(name, size(other()), group=str(other().step))
    yield Value("held_out", float(ask.data is not None and ask.data.store.held_out.sum()))
    yield Item("size", 7, "", True, word=open(ask.source).read() if ask.source else "")
'''


@pytest.fixture
def norm(tmp_path):
    return probe(tmp_path, "norm.py", NORM)


def rows(folder, table: str = "probes.parquet") -> list[dict]:
    """NaN, which is not even equal to itself, as None."""
    told = pq.read_table(folder / table).to_pylist()
    return [{name: None if value != value else value for name, value in row.items()} for row in told]


def values(folder, metric: str = "size") -> dict[int, float]:
    return {row["step"]: row["value"] for row in rows(folder) if row["metric"] == metric}


def size(model) -> float:
    return sum(float(p.detach().double().square().sum()) for p in load(*model).objective.parameters())


def test_every_checkpoint_of_a_run_is_measured_in_full(copied, norm):
    found = watch(copied, [norm], threads=1)
    assert (found.checkpoints, found.measured, found.known, found.faults) == (4, 4, 0, ())
    assert values(copied) == {step: pytest.approx(size((copied, step))) for step in (0, 4, 8, 10)}
    told, at = rows(copied), values(copied)
    assert {row["form"] for row in told} == {"full"} and {row["probe"] for row in told} == {"norm.py"}
    others = {(row["step"], row["metric"], row["group"]): row["value"] for row in told if row["group"]}
    first = {(step, "first", "0"): at[0] for step in (4, 8, 10)}
    assert others == first | {(step, "previous", str(one)): at[one] for step, one in ((4, 0), (8, 4), (10, 8))}
    assert min(values(copied, "held_out").values()) > 0
    for row in told:
        manifest = checkpoint.read_manifest(copied / "checkpoints" / f"step-{row['step']:08d}")
        assert (row["tokens"], row["seconds"]) == (manifest.size, manifest.seconds)
    (change,) = (one for one in found.changes if one.metric == "size")
    assert (change.first_step, change.first, change.last_step, change.last) == (0, at[0], 10, at[10])
    assert "held_out" not in {one.metric for one in found.changes}  # it did not change


def test_what_is_known_is_not_measured_again_and_what_changed_is(copied, norm, tmp_path):
    (tmp_path / "gold.txt").write_text("one")
    asked = [norm, f"{norm}={tmp_path}/gold.txt"]
    assert watch(copied, asked, threads=1, steps=[0, 8]).measured == 4
    again = watch(copied, asked, threads=1)
    assert (again.measured, again.known) == (4, 4)
    before = rows(copied)
    assert watch(copied, asked, threads=1).known == 8
    assert rows(copied) == before
    # Another checkpoint under the same name, another file, another probe under the same name.
    folder = copied / "checkpoints" / "step-00000008"
    tensors = {name: value * 2 for name, value in load_file(folder / "objective.safetensors").items()}
    manifest = checkpoint.read_manifest(folder)
    shutil.rmtree(folder)
    checkpoint.save(copied / "checkpoints", manifest, tensors, {})
    changed = watch(copied, asked, threads=1)
    assert (changed.measured, changed.known) == (4, 4)  # the one after it too, which is compared with it
    assert values(copied)[8] == pytest.approx(size((copied, 8)))
    assert values(copied, "previous")[10] == values(copied)[8]
    (tmp_path / "gold.txt").write_text("two")
    assert watch(copied, asked, threads=1).measured == 4
    assert sorted(row["word"] for row in rows(copied, "probe-items.parquet")) == [""] * 4 + ["two"] * 4
    (tmp_path / "norm.py").write_text(NORM + "\n")
    assert watch(copied, asked, threads=1).measured == 8


class Told:
    """In the place of a pool: what it is told and answers goes through pickle, and no process is started."""

    def __init__(self, count: int, make, doing: str, hint: str):
        assert count == 2
        self.function = pickle.loads(pickle.dumps(make))()

    def map(self, jobs):
        return (pickle.loads(pickle.dumps(self.function(pickle.loads(pickle.dumps(job))))) for job in jobs)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize("pool", [Told, pytest.param(Pool, marks=pytest.mark.slow)])
def test_processes_side_by_side_find_what_one_finds(copied, norm, tmp_path, monkeypatch, pool):
    monkeypatch.setattr("sesame.probes.watch.Pool", pool)
    alone = watch(copied, [norm], tmp_path / "alone", threads=1)
    together = watch(copied, [norm], tmp_path / "together", threads=2)
    assert together.measured == alone.measured == 4
    for name in ("probes.parquet", "probe-items.parquet"):
        assert rows(tmp_path / "alone", name) == rows(tmp_path / "together", name)


def test_damaged_checkpoints_are_passed_over(copied, norm, caplog):
    tensors = load_file(copied / "checkpoints" / "step-00000004" / "objective.safetensors")
    name = min(tensors)
    save_file(tensors | {name: tensors[name] + 1}, copied / "checkpoints" / "step-00000004" / "objective.safetensors")
    shutil.rmtree(copied / "checkpoints" / "step-00000008")
    found = watch(copied, [norm], threads=1)
    assert sorted(values(copied)) == [0, 10] and found.measured == 2
    missing, damaged, *_ = found.faults
    assert "step-00000008 is missing" in missing and f"tensor {name} is not what was written" in damaged
    assert caplog.text.count("passed over") == 2 and len(found.faults) == 2
    assert values(copied, "previous") == values(copied, "first") == {10: values(copied)[0]}


def test_one_failing_probe_does_not_hold_up_the_others(copied, norm, tmp_path, caplog):
    bad = probe(tmp_path, "bad.py", "def measure(model, ask):\n    yield {}[1]\n")
    found = watch(copied, [bad, norm], threads=1)
    assert found.measured == 4 and len(found.faults) == 1 and caplog.text.count("KeyError") == 1
    with pytest.raises(UserError, match=r"the probe bad\.py failed with KeyError: 1 .*bad\.py, line 2"):
        watch(copied, [bad], threads=1, out=tmp_path / "none")


def test_a_folder_of_published_models(published, norm, tmp_path):
    folder = published("step{}")
    found = watch(folder, [norm], tmp_path / "out", threads=1)
    assert found.measured == 4 and found.tables == tmp_path / "out"
    assert values(tmp_path / "out") == {step: pytest.approx(size((folder / f"step{step}",))) for step in (0, 4, 8, 10)}
    assert {row["tokens"] for row in rows(tmp_path / "out")} == {-1}
    assert set(values(tmp_path / "out", "held_out").values()) == {0.0}
    assert list(folder.glob("probes*")) == []


def test_a_run_whose_text_is_gone_is_measured_without_it(copied, norm, monkeypatch, caplog):
    monkeypatch.setattr(TextSet, "hash", "other")
    assert watch(copied, [norm], threads=1, steps=[0]).measured == 1
    assert values(copied, "held_out") == {0: 0.0}
    assert "holds other text than it did, or was prepared with another tokenizer)" in caplog.text


def test_what_was_measured_without_the_text_is_measured_again_once_it_is_back(copied, norm, monkeypatch):
    assert watch(copied, [norm], threads=1, steps=[0]).measured == 1
    with monkeypatch.context() as gone:
        gone.setattr(TextSet, "hash", "other")
        without = watch(copied, [norm], threads=1, steps=[0, 4])
        assert (without.measured, without.known) == (1, 1)  # what was known with it stays
        assert watch(copied, [norm], threads=1, steps=[0, 4]).known == 2
    assert values(copied, "held_out")[4] == 0.0
    back = watch(copied, [norm], threads=1, steps=[0, 4])
    assert (back.measured, back.known) == (1, 1)
    assert values(copied, "held_out")[4] == values(copied, "held_out")[0] > 0


def test_what_is_measured_where_nobody_says_what(copied, norm, tmp_path, monkeypatch):
    from sesame import probes
    from sesame.probes import watch as module

    usual = probe(tmp_path, "usual.py", QUIET)
    monkeypatch.setitem(probes.PROBES, "usual", "usual_of_the_tests")
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copy(usual, tmp_path / "usual_of_the_tests.py")
    monkeypatch.setattr(module, "DEFAULTS", {"text": ("usual", "not there yet")})
    assert watch(copied, threads=1, steps=[0]).probes == ("usual",)
    assert watch(copied, [norm], threads=1, steps=[0]).probes == ("norm.py",)


def test_a_model_on_the_hub_needs_a_place_for_its_numbers(norm, monkeypatch):
    from sesame.interop import hub

    monkeypatch.setattr(hub, "revisions", lambda model: [("step3", "c0ffee")])
    with pytest.raises(UserError, match=r"lab/tiny is on the hub: .*--out DIR"):
        watch("lab/tiny", [norm])


def test_an_unknown_probe_is_said_before_anything_is_opened(copied):
    with pytest.raises(UserError, match="there is no probe 'nothing-like-it'"):
        watch(copied, ["nothing-like-it"])
    assert not (copied / "probes.parquet").exists()


def test_the_probe_of_the_documentation(copied, tmp_path):
    """Docs that show code show code that runs; its numbers against what `fill` says."""
    page = (Path(__file__).parents[2] / "docs" / "write-your-own-probe.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    own = probe(tmp_path, "prefers.py", code)
    sentences = [f"t1 [MASK] t{n} t{n + 1}" for n in range(6)]
    (tmp_path / "lines.tsv").write_text("".join(f"{sentence}\tt{n}\tt20\n" for n, sentence in enumerate(sentences)))
    assert watch(copied, [f"{own}={tmp_path}/lines.tsv"], threads=1, steps=[10]).measured == 1
    model = load(copied, 10)
    chances = [{g.token: g.probability for g in fill(model, text, 60).masks[0]} for text in sentences]
    right = [chance[f"t{n}"] > chance["t20"] for n, chance in enumerate(chances)]
    row, chance = rows(copied)
    assert (chance["metric"], chance["value"]) == ("prefers_chance", 0.5)
    assert (row["metric"], row["value"], row["n"]) == ("prefers", sum(right) / 6, 6)
    items = rows(copied, "probe-items.parquet")
    assert [item["right"] for item in items] == right and items[0]["text"] == "t1 ⟦[MASK]⟧ t0 t1"
    (tmp_path / "lines.tsv").write_text("The [MASK] is gone.\tcat\n")
    with pytest.raises(UserError, match=r"lines\.tsv, line 1: expected a sentence with one"):
        watch(copied, [f"{own}={tmp_path}/lines.tsv"], threads=1)
