"""Probes by their names: built in or a file of one's own; what is none is named."""

import pytest

from sesame.cli.main import main
from sesame.config import Probe
from sesame.errors import UserError
from sesame.probes import PROBES, find, find_all, named

OWN = '''"""How large the first weight is.

More words.
"""
from sesame.probes import Value
READS = ("images",)
def measure(model, ask):
    yield Value("size", 1.0)
'''


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


def test_a_file_of_ones_own_is_a_probe(own):
    found = find(Probe(name=str(own)))
    assert (found.name, found.about, found.reads) == ("own.py", "How large the first weight is.", frozenset({"images"}))
    assert [probe.config for probe in find_all([found.config], "images")] == [found.config]


@pytest.mark.parametrize("name", list(PROBES))
def test_every_probe_of_the_table_is_there_and_says_what_it_is(name):
    found = find(Probe(name=name))
    assert found.reads <= {"text", "images", "speech"} and found.reads
    assert found.about.endswith(".") and len(found.about) <= 120


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("measure = 3", r"own\.py: it has no function measure"),
        ("import nothing_of_that_name", r"own\.py: it cannot be imported \(ModuleNotFoundError"),
        ("def measure(model, ask:", r"own\.py: it cannot be imported \(SyntaxError"),
    ],
)
def test_a_file_that_is_no_probe_is_named(own, content, message):
    own.write_text(content)
    with pytest.raises(UserError, match=message):
        find(Probe(name=str(own)))


def test_an_unknown_probe_is_named_with_its_neighbours(monkeypatch):
    monkeypatch.setitem(PROBES, "word-classes", "sesame.probes.word_classes")
    with pytest.raises(UserError, match=r"no probe 'word-clases'. Did you mean word-classes"):
        find(Probe(name="word-clases"))
    with pytest.raises(UserError, match=r"mine\.py: there is no such file"):
        find(Probe(name="mine.py"))


def test_a_probe_that_reads_other_data_or_stands_there_twice_is_refused(own):
    probe = Probe(name=str(own))
    with pytest.raises(UserError, match=r"own\.py measures models of images, and this one is trained on text"):
        find_all([probe], "text")
    with pytest.raises(UserError, match=r"own\.py is asked for twice"):
        find_all([probe, probe], "images")
    assert len(find_all([probe, Probe(name=str(own), source="other")], "images")) == 2


def test_names_of_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold=1.conllu").write_text("")
    assert named("rank") == Probe(name="rank")
    assert named("own.py=gold=1.conllu") == Probe(name=f"{tmp_path}/own.py", source=f"{tmp_path}/gold=1.conllu")
    for other in ("pydocs/area", "pydocs:xml.dom", "hf:some/name.en"):
        assert named(f"tasks={other}") == Probe(name="tasks", source=other)
    with pytest.raises(UserError, match=r"there is no file gold\.conllu"):
        named("word-classes=gold.conllu")


def test_a_probe_that_is_for_other_tasks_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    frames = Probe(name="frames")
    assert find_all([frames], "speech", "apc") and find_all([frames], "speech")
    assert find_all([Probe(name="frames", source="labels.tsv")], "speech", "best-rq")
    with pytest.raises(UserError, match=r"only APC learns.*frames=FILE"):
        find_all([frames], "speech", "best-rq")
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", "best-rq-tiny", "--data", "sounds", "--out", "run", "--probe", "frames"]) == 2
    assert "only APC learns" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
