"""The served page follows its run, on this machine alone, and does not cost what training needs."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
from report_folders import write_probes, write_run

from sesame.engine.run import Run
from sesame.errors import UserError
from sesame.report.live import LOOPBACK, Live, server, stamp_of


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def grow(run):
    with (run / "metrics.jsonl").open("a") as lines:
        lines.write(json.dumps({"event": "evaluate", "step": 450, "time": 1_790_000_400.0, "loss": 3.21}) + "\n")


def test_a_page_is_made_anew_where_something_changed_and_not_before_its_time(tmp_path, clock):
    run = write_run(tmp_path / "run").path
    live = Live([run], clock=clock)
    live.make()
    first = live.page()
    assert live.stamp().encode() in first
    clock.now = 1000.0
    assert live.page() is first  # nothing changed
    grow(run)
    live._next = 1001.0
    assert live.page() is first  # too early
    clock.now = 1002.0
    assert b"3.21" in live.page()
    assert live._next >= 1007.0


def test_making_pages_anew_takes_a_tenth_of_the_time_at_most(tmp_path, clock):
    work = iter([0.0, 2.0, 4.0])  # the first page begins; the second begins, and is done
    live = Live([write_run(tmp_path / "run").path], clock=clock, work=lambda: next(work))
    live.make()
    assert live._next == 5.0
    clock.now = 100.0
    live.make()
    assert live._next == 100.0 + 2.0 / 0.1


def test_a_stamp_tells_every_change_that_a_page_shows(tmp_path):
    run = write_run(tmp_path / "run")
    stamps = [stamp_of([run.path])]
    for change in (
        lambda: grow(run.path),
        lambda: write_probes(run.path, until=0, only="rank"),
        lambda: write_probes(run.path, until=1, only="rank"),
        lambda: (run.checkpoints / "step-00000400").mkdir(),
        run.lock,
    ):
        change()
        stamps.append(stamp_of([run.path]))
    run.close()
    assert len(set(stamps)) == 6
    assert stamp_of([run.path]) == stamps[-2]


def test_figures_of_measurements_are_kept_until_something_is_measured(tmp_path, clock):
    run = write_run(tmp_path / "run").path
    write_probes(run, until=1, only="rank")
    live = Live([run], clock=clock)
    live.make()
    before = live._learned[1]
    grow(run)
    live.make()
    assert live._learned[1] is before
    write_probes(run, until=4, only="rank")
    live.make()
    assert live._learned[1] is not before


@pytest.mark.parametrize(
    ("file", "half"),
    [
        ("probes.parquet", b"half"),
        ("config.json", b"half"),
        ("config.json", b'{"recipe": 1}'),
        ("metrics.jsonl", b"half\n"),
    ],
)
def test_a_folder_that_cannot_be_read_for_a_while_leaves_the_last_page(tmp_path, clock, caplog, file, half):
    run = write_run(tmp_path / "run").path
    write_probes(run, until=0, only="rank")
    live = Live([run], clock=clock)
    live.make()
    page, stamp, whole = live.page(), live.stamp(), (run / file).read_bytes()
    clock.now = 100.0
    (run / file).write_bytes(half)
    assert (live.page(), live.stamp()) == (page, stamp)
    assert "The page stays as it was." in caplog.text
    assert ("cannot be read just now" in live.state()) == (file == "config.json")
    (run / file).write_bytes(whole)
    clock.now = 200.0
    assert live.stamp() != stamp
    assert "Nothing is training" in live.state()


@pytest.fixture
def served(tmp_path):
    run = Run.open(write_run(tmp_path / "run", state="running", step=100).path)
    run.lock()
    live = Live([run.path])
    with server(live, 0) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield run, f"http://{LOOPBACK}:{serving.server_port}", live
        serving.shutdown()
    run.close()


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read().decode()


def test_it_is_served_to_this_machine_under_its_own_address(served):
    run, url, live = served
    assert live.stamp() in get(url)
    said = json.loads(get(f"{url}/stamp"))
    assert (said["stamp"], said["state"][:5]) == (live.stamp(), "Live,")
    run.close()
    assert json.loads(get(f"{url}/stamp"))["state"].startswith("Nothing is training any more")
    for address, headers in ((f"{url}/stamp", {"Host": "evil.example:80"}), (f"{url}/../config.json", {})):
        with pytest.raises(urllib.error.HTTPError):
            get(address, **headers)


def test_a_port_that_is_taken_is_said(served):
    _, url, live = served
    port = int(url.rsplit(":", 1)[1])
    with pytest.raises(UserError, match=rf"--port {port} cannot be served .* Choose another"):
        server(live, port)
    with pytest.raises(UserError, match="--port 99999 cannot be served"):
        server(live, 99_999)


def test_a_real_process_serves_until_it_is_interrupted(tmp_path):
    write_run(tmp_path / "run")
    program = (
        "import signal, sys; from sesame.cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "report", "run", "--live", "--port", "0", "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        said = ""
        while not said.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            said += line
        assert "How it" not in get(json.loads(said)["url"])
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert "No longer served" in process.stderr.read()
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
    finally:
        process.kill()
        process.communicate()
