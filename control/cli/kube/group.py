"""The commands of `fluyt kube`."""

from __future__ import annotations

from control.cli.kube.grammar import KubeGroup

_HERE = "control.cli.kube"

COMMANDS = {
    "get": (f"{_HERE}.get:get", "List objects, or show some."),
    "describe": (f"{_HERE}.describe:describe", "Show objects with all that is known of them, and their events."),
    "apply": (f"{_HERE}.apply:apply", "Make objects be as files say (server-side apply)."),
    "create": (f"{_HERE}.create:create", "Create objects from files, or simple ones from flags."),
    "delete": (f"{_HERE}.delete:delete", "Delete objects."),
    "scale": (f"{_HERE}.scale:scale", "Set the number of replicas."),
    "label": (f"{_HERE}.label:label", "Set and remove labels."),
    "annotate": (f"{_HERE}.label:annotate", "Set and remove annotations."),
    "rollout": (f"{_HERE}.rollout:rollout", "Follow or restart a rollout."),
    "wait": (f"{_HERE}.wait:wait", "Wait until objects are in some condition, or gone."),
    "logs": (f"{_HERE}.logs:logs", "Print what containers have written."),
    "exec": (f"{_HERE}.exec:exec_", "Run a command in a container."),
    "api-resources": (f"{_HERE}.api_resources:api_resources", "List the kinds of resources the server has."),
}

kube = KubeGroup(
    "kube",
    lazy=COMMANDS,
    aliases={"log": "logs"},
    short_help="The everyday part of kubectl.",
    help="""The everyday part of kubectl, with its grammar and flags, for machines without it.

    \b
      fluyt kube get pods -A -o wide
      fluyt kube apply -f web.yaml
      fluyt kube rollout status deployment/web
      fluyt kube logs -f deployment/web
    """,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
