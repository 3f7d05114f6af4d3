"""The command line: instant help, one message an error, documented exit codes, telemetry off."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from contracts.errors import EXIT_CODES, ConfigurationError, WaylineError
from pipelines import telemetry
from pipelines.cli import COMMANDS, main, wayline

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from pipelines.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted(set(sys.modules) & {'apache_beam', 'pandas', 'sklearn', 'numpy', 'duckdb', 'pyarrow'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_in_the_group(name: str) -> None:
    result = CliRunner().invoke(wayline, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_exit_codes_are_documented() -> None:
    text = (ROOT / "docs" / "exit_codes.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| ")][1:] == [
        f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()
    ]


def test_every_error_has_a_documented_exit_code() -> None:
    kinds = [WaylineError, *WaylineError.__subclasses__()]
    assert {kind.exit_code for kind in kinds} <= set(EXIT_CODES)


def test_an_error_is_one_message_with_its_remedy_and_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConfigurationError("journey.yaml", 7, "stage 'x' twice", hint="rename one")

    monkeypatch.setattr(wayline, "main", fail)
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 3
    assert capsys.readouterr().err == "error: journey.yaml:7: stage 'x' twice\n  fix: rename one\n"


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    done = call("trian")
    assert done.returncode == 2
    assert "Did you mean 'train'?" in done.stderr


def test_telemetry_is_off_unless_the_user_said_otherwise() -> None:
    environment = {"DO_NOT_TRACK": "0"}
    telemetry.disable(environment)
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert environment["GX_ANALYTICS_ENABLED"] == "false"
    assert environment["DO_NOT_TRACK"] == "0"


def test_the_demo_makes_the_same_keys_each_time_and_others_for_another_seed(tmp_path: Path) -> None:
    from pipelines.commands.demo import _make_keys
    from transforms.keys import read_key_file

    keys = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        _make_keys(tmp_path / name, seed)
        files = [tmp_path / name / "keys" / f"{kind}.key" for kind in ("pseudonym", "dead_letter")]
        assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
        keys.append([read_key_file(file) for file in files])
    assert keys[0] == keys[1] != keys[2]
    assert keys[0][0] != keys[0][1]


def test_help_answers_at_once() -> None:
    call("--help")
    started = time.perf_counter()
    assert call("--help").returncode == 0
    assert time.perf_counter() - started < 2.0, "0.5 s on a quiet machine; this bound only catches a heavy import"
