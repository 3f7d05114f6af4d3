"""``wayline schema check`` as CI runs it."""

from __future__ import annotations

from click.testing import CliRunner

from pipelines.commands.schema import command


def test_the_committed_schemas_pass() -> None:
    result = CliRunner().invoke(command, ["check"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "compatible" in result.output
