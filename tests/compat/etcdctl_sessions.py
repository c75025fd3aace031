"""Sessions of etcdctl: name → commands. Every command line is run against both servers and must print the same.

`{lease0}` stands for the first lease granted in the session, `{revision+2}` for the second revision of the session.
"""

from __future__ import annotations

# A command is its words; a tuple (words, stdin) feeds it.
Command = str | tuple[str, str]

_FILL = [f"put k{n} v{n}" for n in range(5)]

SESSIONS: dict[str, list[Command]] = {
    "put and get": ["put a 1", "get a", "get a --print-value-only", "get a -w json", "get a -w fields", "get missing"],
    "put from stdin": [("put a", "from stdin"), "get a"],
    "put with prev_kv": ["put a 1", "put a 2 --prev-kv", "put a 3 --prev-kv -w json", "put a 4 --prev-kv -w fields"],
    "put ignoring": ["put a 1", "put a --ignore-value", "put b --ignore-value", "put a 2 --ignore-lease", "get a"],
    "put with a lease": ["lease grant 600", "put a 1 --lease={lease0}", "get a -w json", "put a 1 --lease=77"],
    "get ranges": [
        *_FILL,
        "get k --prefix",
        "get k --prefix --limit 2",
        "get k1 k3",
        "get k3 --from-key",
        "get k --prefix --keys-only",
        "get k --prefix --count-only",
        "get k --prefix --count-only -w fields",
        "get k --prefix --order DESCEND",
        "get k --prefix --sort-by VALUE --order DESCEND -w json",
        "get k --prefix --sort-by NONSENSE",
        "get k --prefix --rev {revision+2}",
        "get k --prefix --rev 99999999",
        "get '' --from-key --limit 1",
        "get k --prefix --consistency s",
        "get k --prefix --from-key",
    ],
    "get in every format": [
        "put a 1",
        "get a -w simple",
        "get a -w table",
        "get a -w protobuf",
        "get a --hex",
        "get a -w nonsense",
    ],
    "del": [
        *_FILL,
        "del k0",
        "del k0",
        "del k1 --prev-kv",
        "del k --prefix --prev-kv",
        "del k --prefix",
        "del k3 --from-key -w json",
    ],
    "txn": [
        "put a 1",
        ("txn", 'value("a") = "1"\n\nput a 2\nget a\n\nput a 3\n\n'),
        ("txn", 'value("a") = "1"\n\nput a 2\n\nget a\ndel a\n\n'),
        ("txn", 'mod("nothing") = "0"\ncreate("nothing") = "0"\nver("nothing") = "0"\n\nput nothing something\n\n\n'),
        ("txn -w json", 'lease("nothing") = "0"\n\nget nothing\n\n\n'),
        ("txn", "nonsense\n\n\n\n"),
        ("txn", "\n\nput a 1\nput a 2\n\n\n"),
    ],
    "compaction": [
        *_FILL,
        "compaction {revision+3}",
        "compaction {revision+3}",
        "compaction 99999999",
        "get k --prefix --rev {revision+2}",
        "compaction {revision+4} --physical",
        "compaction nonsense",
    ],
    "lease": [
        "lease grant 600",
        "lease grant 700 -w fields",
        "lease grant nonsense",
        "lease grant 99999999999",
        "lease timetolive {lease0}",
        "put a 1 --lease={lease0}",
        "lease timetolive {lease0} --keys",
        "lease list",
        "lease keep-alive {lease0} --once",
        "lease revoke {lease0}",
        "lease revoke {lease0}",
        "lease timetolive {lease0}",
        "lease keep-alive {lease0} --once",
        "get a",
    ],
    "lock with a command": ["lock room echo locked", "lock room false"],
    "member list": ["member list", "member list -w table", "member list -w json", "member list -w fields"],
    "endpoint health": ["endpoint health", "endpoint health --cluster", "endpoint health -w json"],
    "endpoint status": [
        "endpoint status",
        "endpoint status -w json",
        "endpoint status -w fields",
        "endpoint status -w table --cluster",
    ],
    "endpoint hashkv": ["endpoint hashkv", "endpoint hashkv -w json", "endpoint hashkv --rev 99999999"],
    "alarm": ["alarm list", "alarm disarm", "alarm list -w json"],
    "defrag": ["defrag", "defrag --cluster"],
    "check perf": ["check perf --load=nonsense"],
    "unknown command": ["nonsense", "get", "put a", "lease"],
    "version": ["version"],
}

# What is about the cluster, and so worth asking three members too.
OF_THE_CLUSTER = [
    "put and get",
    "txn",
    "lease",
    "member list",
    "endpoint health",
    "endpoint status",
    "endpoint hashkv",
    "alarm",
    "defrag",
]
