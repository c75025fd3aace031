"""Words of `fluyt kube` as kubectl takes them: flags in Go's forms, codes of mistakes, what the shell completes."""

from __future__ import annotations

from typing import Any

import pytest
from click.shell_completion import ShellComplete

from control.cli.kube.grammar import flags_of
from control.cli.kube.group import kube
from control.cli.kube.output import Format
from kvstore.cli.exits import CommandError
from kvstore.cli.main import cli, main


def parsed(*words: str) -> tuple[dict[str, Any], str]:
    """The values of a command's flags, and the namespace of the run."""
    group = kube.make_context("kube", list(words))
    with group:
        name, command, rest = kube.resolve_command(group, [*group._protected_args, *group.args])
        assert command is not None
        made = command.make_context(name, rest, parent=group)
    return made.params, flags_of(made).namespace


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["get", "cm", "-o=json"], "output", "json"),
        (["get", "cm", "-o=jsonpath={.a=1}"], "output", "jsonpath={.a=1}"),
        (["get", "cm", "-l=app=web"], "selector", "app=web"),
        (["get", "cm", "-Al=app=web"], "selector", "app=web"),
        (["get", "cm", "-l", "a=b"], "selector", "a=b"),
        (["label", "cm", "a", "-l=a=b", "x=y"], "selector", "a=b"),
        (["apply", "-f=web.yaml"], "files", ("web.yaml",)),
        (["logs", "web", "-c=main"], "container", "main"),
        (["logs", "web", "--follow=false"], "follow", False),
        (["get", "cm", "--watch=false"], "watch", False),
        (["get", "cm", "--no-headers=true"], "no_headers", True),
        (["get", "cm", "--all-namespaces=true"], "everywhere", True),
        (["get", "cm", "-A=true"], "everywhere", True),
        (["exec", "web", "-i=false", "--", "ls", "-l=x", "--all=true"], "stdin", False),
        (["exec", "web", "-i=false", "--", "ls", "-l=x", "--all=true"], "command", ("ls", "-l=x", "--all=true")),
    ],
)
def test_flags_in_gos_forms(words: list[str], name: str, value: Any) -> None:
    assert parsed(*words)[0][name] == value


@pytest.mark.parametrize("words", [["-n=kube-system", "get", "cm"], ["get", "cm", "-n=kube-system"]])
def test_flags_of_every_command_in_gos_forms(words: list[str]) -> None:
    assert parsed(*words)[1] == "kube-system"


@pytest.mark.parametrize("text", ["=json", "=", "=wide"])
def test_a_format_without_a_name_is_no_table(text: str) -> None:
    with pytest.raises(CommandError, match="unable to match a printer"):
        Format(text)


@pytest.mark.parametrize(
    "words", [["apply"], ["exec", "web"], ["create", "deployment", "web"], ["create", "cm"], ["get", "--nosuch"]]
)
def test_mistakes_end_with_kubectls_code(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["kube", *words])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith(("Error: ", "error: "))


@pytest.mark.parametrize("command", ["apply", "create", "delete", "describe", "label", "annotate", "scale", "wait"])
def test_the_shell_offers_files(command: str) -> None:
    shell = ShellComplete(cli, {}, "fluyt", "_FLUYT_COMPLETE")
    assert [item.type for item in shell.get_completions(["kube", command, "-f"], "web")] == ["file"]
