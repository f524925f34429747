"""The shell around the verbs: quick, and one message for whatever goes wrong."""

import errno
import io
import json
import logging
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from sesame.cli import main as shell
from sesame.cli.main import VERBS, main
from sesame.errors import UserError


@pytest.fixture
def verb(monkeypatch):
    """Puts a function in the place of every verb's command."""

    def put(function):
        module = SimpleNamespace(fill_command=function)
        monkeypatch.setattr(shell.importlib, "import_module", lambda name: module)

    return put


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import json, sys; from sesame.cli.main import main; "
        "main(['--help']); json.dump(sorted(sys.modules), sys.stderr)"
    )
    took = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        took.append(time.perf_counter() - start)
    heavy = {"torch", "numpy", "tyro", "rich", "tokenizers", "msgspec", "pyarrow"}
    assert not heavy & set(json.loads(done.stderr))
    assert min(took) < 0.5
    for verb in VERBS:
        assert f"  {' '.join(verb.words)} " in done.stdout


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: "-".join(verb.words))
def test_every_verb_exists_and_explains_itself(verb, capsys):
    assert main([*verb.words, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"sesame {' '.join(verb.words)}" in said
    assert "--help" in said


@pytest.mark.parametrize(
    ("words", "near"),
    [(["pretrian"], "pretrain"), (["data", "prepair"], "data prepare"), (["data", "hsow"], "data show")],
)
def test_an_unknown_verb_names_the_nearest_and_exits_with_2(words, near, capsys):
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"sesame: there is no command {' '.join(words)!r}.")
    assert near in said.err
    assert len(said.err.splitlines()) == 1


def test_an_unknown_option_exits_with_2(capsys):
    assert main(["fill", "run", "text", "--nonsense"]) == 2
    assert "--nonsense" in capsys.readouterr().err


def test_a_group_alone_lists_its_verbs(capsys):
    assert main(["data", "--help"]) == 0
    assert "data prepare" in capsys.readouterr().out
    assert main(["data"]) == 2
    assert main([]) == 2


def test_the_version_is_the_package_s(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split()[0] == "sesame"


def test_a_user_s_mistake_is_one_message_and_2(verb, capsys):
    def mistaken(argv):
        raise UserError("notes.txt: line 3 is not UTF-8. Convert the file.")

    verb(mistaken)
    assert main(["fill"]) == 2
    assert capsys.readouterr() == ("", "sesame: notes.txt: line 3 is not UTF-8. Convert the file.\n")


def test_an_interruption_exits_with_130(verb, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    verb(interrupted)
    assert main(["fill"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "run/metrics.jsonl"), ["run/metrics.jsonl", "no space left"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["no space left"]),
        (PermissionError(errno.EACCES, "Permission denied", "run/lock"), ["run/lock", "Permission denied"]),
    ],
)
def test_a_failing_disk_is_one_message_and_2(verb, capsys, failure, words):
    def failing(argv):
        raise failure

    verb(failing)
    assert main(["fill"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert all(word in said for word in words)


def test_a_fault_of_the_program_is_not_hidden(verb):
    def faulty(argv):
        raise ZeroDivisionError

    verb(faulty)
    with pytest.raises(ZeroDivisionError):
        main(["fill"])


def test_output_that_nobody_reads_ends_quietly():
    done = subprocess.run(
        f"{sys.executable} -c \"import sys; from sesame.cli import main as m; "
        "m._dispatch = lambda words: print('x' * 1000000) or 0; sys.exit(m.main(['fill']))\" | head -c 1; "
        "exit ${PIPESTATUS[0]}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (141, "x", "")


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ([], ["read 3 files", "warning: 1 skipped"]),
        (["--quiet"], ["warning: 1 skipped"]),
        (["--verbose"], ["opened notes.txt", "read 3 files", "warning: 1 skipped"]),
    ],
)
def test_messages_are_plain_lines_on_stderr(verb, monkeypatch, words, lines):
    def speaking(argv):
        assert argv == []
        log = logging.getLogger("sesame.data.sources")
        log.debug("opened notes.txt")
        log.info("read 3 files")
        log.warning("1 skipped")
        return 0

    verb(speaking)
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    assert main(["fill", *words]) == 0
    assert said.getvalue().splitlines() == lines


def test_of_several_processes_only_the_first_speaks(verb, monkeypatch):
    verb(lambda argv: logging.getLogger("sesame").info("step 1") or 0)
    monkeypatch.setattr(sys, "stderr", said := io.StringIO())
    monkeypatch.setenv("RANK", "1")
    assert main(["fill"]) == 0
    assert said.getvalue() == ""


def test_what_follows_two_dashes_is_left_alone(verb):
    got = []
    verb(lambda argv: got.extend(argv) or 0)
    assert main(["fill", "--quiet", "run", "--", "--verbose"]) == 0
    assert got == ["run", "--", "--verbose"]


def test_quiet_and_verbose_contradict_each_other(capsys):
    assert main(["fill", "--quiet", "--verbose"]) == 2
    assert "--quiet and --verbose" in capsys.readouterr().err
