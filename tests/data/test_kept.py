from dataclasses import dataclass
from pathlib import Path

import pytest

from sesame.data.kept import cache_folder, kept


@dataclass(frozen=True)
class Thing:
    name: str
    parts: tuple[int, ...]


@pytest.fixture
def made(monkeypatch, tmp_path):
    monkeypatch.setenv("SESAME_CACHE", str(tmp_path / "cache"))
    return []


def ask(made: list[int], made_of: object) -> Thing:
    def make() -> Thing:
        made.append(1)
        return Thing("thing", (1, len(made)))

    return kept("thing", made_of, Thing, make)


def test_what_was_made_of_the_same_is_made_once(made):
    assert ask(made, ("a", 1)) == ask(made, ("a", 1)) == Thing("thing", (1, 1))
    assert ask(made, ("a", 2)) == Thing("thing", (1, 2))


def test_what_is_damaged_is_made_anew(made):
    first = ask(made, "a")
    (file,) = cache_folder().iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert ask(made, "a") != first
    assert ask(made, "a") == Thing("thing", (1, 2))


def test_where_nothing_can_be_written_nothing_is_kept(made, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SESAME_CACHE", str(tmp_path / "file"))
    assert ask(made, "a") != ask(made, "a")


def test_the_folder_is_the_users_own(monkeypatch):
    monkeypatch.delenv("SESAME_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/sesame")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/sesame")
