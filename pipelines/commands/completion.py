"""``wayline completion``: the script by which a shell completes commands and options."""

from __future__ import annotations

import click

VARIABLE = "_WAYLINE_COMPLETE"
"""What the script sets when it asks; click's own name for a program called wayline."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the script for SHELL.

    \b
    bash: wayline completion bash > ~/.wayline-completion, and in ~/.bashrc: source ~/.wayline-completion
    zsh:  wayline completion zsh > ~/.wayline-completion, and in ~/.zshrc: source ~/.wayline-completion
    fish: wayline completion fish > ~/.config/fish/completions/wayline.fish
    """
    from click.shell_completion import get_completion_class

    from pipelines.cli import wayline

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(wayline, {}, "wayline", VARIABLE).source())
