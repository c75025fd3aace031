"""`fluyt completion`: the script that teaches a shell to complete fluyt's commands and flags."""

from __future__ import annotations

import click

from kvstore.cli.grammar import Command

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    cls=Command,
    examples="""
    source <(fluyt completion bash)                                   # in ~/.bashrc
    source <(fluyt completion zsh)                                    # in ~/.zshrc
    fluyt completion fish > ~/.config/fish/completions/fluyt.fish
    """,
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell: bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    root = context.find_root().command
    if maker is not None:
        click.echo(maker(root, {}, "fluyt", "_FLUYT_COMPLETE").source())
