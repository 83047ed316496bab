"""The command line as a user meets it: exit codes, messages, output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sdar.flows import cli
from sdar.flows.commands.options import with_latest
from sdar.flows.interrupts import Interrupted, interruptible
from sdar.flows.progress import recorded
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError
from sdar.storage import open_store
from sdar.tasks.session import Session, SystemClock


def sdar(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["sdar", *map(str, arguments)])  # quoted by some messages
    return cli.execute(sys.argv[1:])


def test_config_faults_exit_2_and_come_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = sdar(monkeypatch, "run", "--method", "gpro", "--set", "sdar.gaet=gap", "--set", "sdar.beta=-1")
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("Error: the configuration has 3 faults")
    assert "Did you mean grpo?" in error
    assert "Did you mean sdar.gate?" in error
    assert "found -1 (from the command line); allowed: a number >= 0.0" in error
    assert "Traceback" not in error


def test_devices_is_short_for_a_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sdar(monkeypatch, "run", "--devices", "0") == 2
    told = "policy.devices: found 0 (from the command line); allowed: an integer > 0 and <= 4096"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["sql", "SELECT 1"], ["store", "info"], ["policy", "list"], ["evaluate"]]
)
def test_a_missing_store_exits_2_and_is_not_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str]
) -> None:
    assert sdar(monkeypatch, *command, "--store", tmp_path / "none") == 2
    assert "sdar run" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_store_that_cannot_be_written_exits_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert sdar(monkeypatch, "run", "--store", file / "store") == 2
    assert "--store" in capsys.readouterr().err


def test_a_busy_store_exits_4_and_says_how_to_start_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with open_store(tmp_path).writer("another run"):
        assert sdar(monkeypatch, "run", "--store", tmp_path, "--seed", "3") == 4
    error = capsys.readouterr().err
    assert "another run" in error
    assert f"start again with: sdar run --store {tmp_path} --seed 3" in error


def test_resume_takes_no_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (["--resume"], ["--more", "2"]):
        assert sdar(monkeypatch, "run", *option, "--seed", "3") == 2
        assert "keeps its own" in capsys.readouterr().err


def test_resume_with_an_empty_name_begins_no_new_run(tmp_path: Path) -> None:
    """`--resume "$RUN"` with a variable that is not set."""
    with open_store(tmp_path).writer("a test"), pytest.raises(InputError, match="no run ''"):
        Session.start(open_store(tmp_path), RunConfig(), "", SystemClock())
    assert open_store(tmp_path).runs() == []


def test_resume_without_a_name_is_the_latest() -> None:
    assert with_latest(["run", "--resume"]) == ["run", "--resume", "latest"]
    assert with_latest(["run", "--resume", "--json"]) == ["run", "--resume", "latest", "--json"]
    assert with_latest(["run", "--resume", "r1"]) == ["run", "--resume", "r1"]
    assert with_latest(["run"]) == ["run"]


def test_config_show_can_be_read_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert sdar(monkeypatch, "config", "show", "--method", "grpo", "--set", "sdar.beta=2") == 0
    shown = capsys.readouterr().out
    assert "sdar.beta: 2.0  # from the command line" in shown
    file = tmp_path / "shown.yaml"
    file.write_text(shown)
    assert sdar(monkeypatch, "config", "show", "--config", file, "--json") == 0
    config = RunConfig.model_validate(json.loads(capsys.readouterr().out))
    assert (config.method, config.sdar.beta, config.sdar.coefficient) == ("grpo", 2.0, 0.0)


def test_config_schema_names_every_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sdar(monkeypatch, "config", "schema") == 0
    gate = f'sdar.gate: "{RunConfig().sdar.gate}"\n    gap, entropy, soft_or, centred_gap, none, half.'
    assert gate in capsys.readouterr().out
    assert sdar(monkeypatch, "config", "schema", "--json") == 0
    assert "properties" in json.loads(capsys.readouterr().out)


def test_methods_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert sdar(monkeypatch, "methods", "--json") == 0
    names = {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert {"sdar", "grpo"} <= names


def test_sql_on_a_new_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    open_store(tmp_path)
    assert (
        sdar(monkeypatch, "sql", "SELECT 1 AS one, NULL AS none", "--store", tmp_path, "--format", "json")
        == 0
    )
    assert json.loads(capsys.readouterr().out) == [{"one": 1, "none": None}]
    assert sdar(monkeypatch, "sql", "--tables", "--store", tmp_path, "--format", "csv") == 0
    assert "view,learning_curve," in capsys.readouterr().out
    assert sdar(monkeypatch, "sql", "--store", tmp_path) == 2
    assert "takes one of a query, --file, --tables, --schema; found none" in capsys.readouterr().err
    for command in (["runs"], ["policy", "list"], ["store", "info"], ["store", "verify"]):
        assert sdar(monkeypatch, *command, "--store", tmp_path) == 0


def test_unexpected_errors_leave_a_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a wire came loose")

    monkeypatch.setattr("sdar.flows.commands.run._start", broken)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert sdar(monkeypatch, "run", "--store", tmp_path) == 1
    error = capsys.readouterr().err
    (log,) = (tmp_path / "logs").glob("error-*.log")
    assert f"unexpected RuntimeError: a wire came loose. This is a bug; its traceback is in {log}" in error
    assert "in broken" in log.read_text()
    assert "start again with" in error


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_become_an_exception_and_handlers_are_put_back(signum: signal.Signals) -> None:
    # The timer behind the scenes would end this process after its limit, so it is started in another one.
    code = (
        "import os, signal\n"
        "from sdar.flows.interrupts import Interrupted, interruptible\n"
        "try:\n"
        "    with interruptible(lambda: None):\n"
        f"        os.kill(os.getpid(), {int(signum)})\n"
        "except Interrupted as caught:\n"
        "    raise SystemExit(caught.exit_code)\n"
    )
    before = signal.signal(signum, signal.SIG_DFL)  # nohup has one of them ignored
    try:
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 128 + signum
        with interruptible(lambda: None):
            assert signal.getsignal(signum) != signal.SIG_DFL
        assert signal.getsignal(signum) == signal.SIG_DFL
    finally:
        signal.signal(signum, before)
    assert Interrupted(signum).exit_code == 128 + signum


def test_an_interrupted_query_is_an_interruption_and_no_bug() -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from sdar.flows.interrupts import Interrupted\n"
        "from sdar.flows.progress import Progress, accounted, recorded\n"
        "class Session:\n"
        "    def finish(self, status):\n"
        "        print(status, flush=True)\n"
        "try:\n"
        "    with accounted(Progress(Path('s'), 'r1')), recorded(Session()):\n"
        "        try:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "        except Interrupted:\n"
        "            raise RuntimeError('Query interrupted') from None  # so does DuckDB\n"
        "except Interrupted as caught:\n"
        "    raise SystemExit(caught.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "interrupted\n")
    assert done.stderr == "Continue with: sdar run --resume r1 --store s\n"


def test_a_library_that_ends_the_process_leaves_a_failed_run() -> None:
    ends: list[str] = []

    class Run:
        def finish(self, status: str) -> None:
            ends.append(status)

    with pytest.raises(SystemExit), recorded(Run()):  # type: ignore[arg-type]
        raise SystemExit(1)  # so does rich where the reader of a pipe has gone
    assert ends == ["failed"]


def test_a_closed_terminal_is_ignored_under_nohup() -> None:
    code = (
        "import os, signal\n"
        "from sdar.flows.interrupts import interruptible\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with interruptible(lambda: None):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_a_hanging_end_is_cut_off_with_the_last_words() -> None:
    code = (
        "import os, signal, time\n"
        "from sdar.flows import interrupts\n"
        "interrupts.LIMIT_S = 0.2\n"
        "with interrupts.interruptible(lambda: print('resume line', flush=True)):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    finally:\n"
        "        time.sleep(30)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 143
    assert done.stdout == "resume line\n"


def test_closed_streams_get_the_null_device() -> None:
    """Else `main` fails at its end, and a file that is opened takes their numbers."""
    code = (
        "import os, sys\n"
        "from sdar.flows import cli\n"
        "cli.execute = lambda arguments: print('text') or 0\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    names = [os.readlink(f'/proc/self/fd/{number}') for number in range(3)]\n"
        "    os._exit(0 if names == [os.devnull] * 3 else 1)\n"
    )
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, check=False).returncode == 0


def test_light_commands_import_no_torch_and_no_prefect() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['sdar', 'config', 'check']\n"
        "from sdar.flows.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code, ended.code\n"
        "heavy = {'torch', 'prefect', 'duckdb', 'transformers', 'faiss', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def ended_without_reader(*arguments: object, errors: int | None = None) -> tuple[int, str]:
    """Return the exit code and the errors of a command whose reader has gone before it prints."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-W", "ignore", "-m", "sdar", *map(str, arguments)]
    done = subprocess.run(
        command, stdout=writer, stderr=errors or subprocess.PIPE, text=True, check=False, timeout=60
    )
    os.close(writer)
    return done.returncode, done.stderr or ""


@pytest.mark.parametrize("command", [["config", "schema"], ["methods", "--json"], ["--help"]])
def test_a_reader_that_has_seen_enough_is_no_failure(command: list[str]) -> None:
    assert ended_without_reader(*command) == (0, "")


@pytest.mark.parametrize("command", [["no-such-command"], ["runs", "--store", "/no/such/store"]])
def test_wrong_input_keeps_its_code_when_nobody_reads_of_it(command: list[str]) -> None:
    assert ended_without_reader(*command, errors=subprocess.STDOUT) == (2, "")
