"""`fluyt apiserver`: run one API server, with kube-apiserver's flags."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click

BOOL = {"type": click.BOOL, "is_flag": False, "flag_value": "true"}

# (flag, option settings, help); names and defaults are kube-apiserver's where the meaning is the same.
FLAGS: list[tuple[str, dict[str, Any], str]] = [
    ("etcd-servers", {"default": "http://127.0.0.1:2379"}, "URLs of the store's members, comma-separated."),
    ("etcd-cafile", {"default": ""}, "Whom to trust as the store (PEM)."),
    ("etcd-certfile", {"default": ""}, "Our certificate for the store."),
    ("etcd-keyfile", {"default": ""}, "Key of --etcd-certfile."),
    ("store-timeout", {"default": "5s"}, "Time for one call to the store, before the client hears 503 or 504."),
    ("bind-address", {"default": "0.0.0.0"}, "Address to listen on."),
    ("secure-port", {"default": 6443, "type": click.IntRange(0, 65535)}, "Port of HTTPS; 0: any free one."),
    ("advertise-address", {"default": ""}, "Address that others reach this server at.  [default: the machine's]"),
    ("tls-cert-file", {"default": ""}, "Certificate of the server (PEM)."),
    ("tls-private-key-file", {"default": ""}, "Key of --tls-cert-file."),
    ("client-ca-file", {"default": ""}, "Authority of client certificates, which say who a client is."),
    ("kubelet-client-certificate", {"default": ""}, "Our certificate for the node agents."),
    ("kubelet-client-key", {"default": ""}, "Key of --kubelet-client-certificate."),
    ("kubelet-certificate-authority", {"default": ""}, "Whom to trust as a node agent.  [default: --client-ca-file]"),
    ("service-cluster-ip-range", {"default": "10.96.0.0/12"}, "Addresses of Services."),
    ("service-node-port-range", {"default": "30000-32767"}, "Node ports of Services."),
    ("token-auth-file", {"default": ""}, 'Static tokens: a CSV file of token,user,uid,"group1,group2".'),
    ("service-account-key-file", {"multiple": True}, "Keys that service-account tokens are checked with."),
    ("service-account-signing-key-file", {"default": ""}, "Key that service-account tokens are signed with."),
    (
        "service-account-issuer",
        {"default": "https://kubernetes.default.svc.cluster.local"},
        "Issuer of service-account tokens.",
    ),
    ("api-audiences", {"default": ""}, "Audiences that tokens are for, comma-separated.  [default: the issuer]"),
    ("authorization-mode", {"default": "Node,RBAC"}, "Who decides: Node, RBAC, AlwaysAllow, AlwaysDeny."),
    ("anonymous-auth", {**BOOL, "default": "true"}, "Serve requests without credentials as system:anonymous."),
    ("requestheader-client-ca-file", {"default": ""}, "Authority of front proxies that say who the user is."),
    ("requestheader-allowed-names", {"default": ""}, "Common names of front proxies, comma-separated."),
    ("enable-admission-plugins", {"default": ""}, "Plugins to run besides the default ones, comma-separated."),
    ("disable-admission-plugins", {"default": ""}, "Plugins not to run, comma-separated."),
    ("encryption-provider-config", {"default": ""}, "EncryptionConfiguration: how objects are encrypted in the store."),
    ("audit-log-path", {"default": ""}, "Write the audit log to this file; - is standard output."),
    ("audit-policy-file", {"default": ""}, "What the audit log holds."),
    ("audit-log-maxage", {"default": 0, "type": int}, "Days to keep old audit logs; 0: for ever."),
    ("audit-log-maxbackup", {"default": 0, "type": int}, "Old audit logs to keep; 0: all."),
    ("audit-log-maxsize", {"default": 100, "type": int}, "Megabytes after which a new audit log is begun."),
    ("max-requests-inflight", {"default": 400, "type": int}, "Reading requests served at a time."),
    ("max-mutating-requests-inflight", {"default": 200, "type": int}, "Writing requests served at a time."),
    ("request-timeout", {"default": "1m0s"}, "Time for one request that is no watch."),
    ("event-ttl", {"default": "1h0m0s"}, "How long Events are kept."),
    ("cause-ttl", {"default": "3h0m0s"}, "How long the causes of writes are kept."),
    ("shutdown-grace-period", {"default": "10s"}, "Time that requests under way get when the server is asked to end."),
    ("v", {"default": 0, "type": int}, "Verbosity of the log: 4 and more also tell of every request's problems."),
]


@click.command("apiserver", context_settings={"auto_envvar_prefix": "FLUYT_APISERVER"})
@click.pass_context
def apiserver(ctx: click.Context, /, **flags: Any) -> None:
    """Run one API server on the store; any number of them may run side by side.

    \b
    With the certificates that `fluyt up` or a cluster's first master made:
      fluyt apiserver --etcd-servers http://127.0.0.1:2379 \\
        --tls-cert-file pki/apiserver.crt --tls-private-key-file pki/apiserver.key \\
        --client-ca-file pki/ca.crt --service-account-signing-key-file pki/sa.key
    """
    from control.cli.apiserver_settings import FlagError, settings_of

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if flags["v"] >= 4 else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
    )
    try:
        settings = settings_of(flags)
    except FlagError as problem:
        click.echo(f"fluyt apiserver: {problem}", err=True)
        sys.exit(2)
    import uvloop

    sys.exit(uvloop.run(_run(settings)))


async def _run(settings: Any) -> int:
    from control.api.status import StatusError
    from control.apiserver.process import ApiServer
    from kvstore.cli.signals import Stop
    from kvstore.client import ClientError

    server = ApiServer(settings)
    async with Stop() as stop:
        try:
            if await stop.unless(_started(server)) is None:
                await server.stop()
                return 0
        except (OSError, ValueError, StatusError, ClientError) as problem:
            click.echo(f"fluyt apiserver: {problem}", err=True)
            return 1
        await stop.wait()
        await server.stop()
    return 0


async def _started(server: Any) -> bool:
    await server.start()
    # Whoever started us waits for this line.
    logging.getLogger("fluyt.apiserver").info("ready: serving at %s", server.url)
    return True


for _flag, _settings, _help in reversed(FLAGS):
    apiserver = click.option(f"--{_flag}", help=_help, show_default=bool(_settings.get("default")), **_settings)(
        apiserver
    )
