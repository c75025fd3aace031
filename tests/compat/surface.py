"""All of etcd's surface that programs see, as a list, and what is known to be different here, in words.

What is *there* is asked of real servers and programs (test_compatibility_table.py); only how and why something differs
is written down here, and each such line must name something that exists.
"""

from __future__ import annotations

SERVICES = {
    "etcdserverpb.KV": "Range Put DeleteRange Txn Compact RangeStream",
    "etcdserverpb.Watch": "Watch",
    "etcdserverpb.Lease": "LeaseGrant LeaseRevoke LeaseKeepAlive LeaseTimeToLive LeaseLeases",
    "etcdserverpb.Cluster": "MemberAdd MemberRemove MemberUpdate MemberList MemberPromote",
    "etcdserverpb.Maintenance": "Alarm Status Defragment Hash HashKV Snapshot MoveLeader Downgrade",
    "etcdserverpb.Auth": (
        "AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete UserChangePassword"
        " UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete RoleGrantPermission RoleRevokePermission"
    ),
    "v3lockpb.Lock": "Lock Unlock",
    "v3electionpb.Election": "Campaign Proclaim Leader Observe Resign",
    "grpc.health.v1.Health": "Check Watch",
}
RPCS = [f"/{service}/{name}" for service, names in SERVICES.items() for name in names.split()]

# RPC → how it differs, or why it is not there.
RPC_NOTES = {
    "/etcdserverpb.KV/RangeStream": "etcd has it from 3.7 on",
    "/etcdserverpb.Maintenance/Downgrade": "there is one storage version; etcd goes on with a snapshot of ours",
    "/etcdserverpb.Maintenance/Hash": "the hash of this store's file; only members of the same release compare",
    "/etcdserverpb.Maintenance/Snapshot": "a bbolt file as etcd's; written for the call, so its first byte comes later",
}

# etcdctl's words → the arguments that make it do something on a store of one member. {…}: from what came before.
COMMANDS = {
    "put": "a 1",
    "get": "a",
    "del": "a",
    "txn": "",
    "compaction": "{revision}",
    "watch": "",
    "lease grant": "60",
    "lease list": "",
    "lease timetolive": "{lease}",
    "lease keep-alive": "--once {lease}",
    "lease revoke": "{lease}",
    "lock": "door true",
    "elect": "",
    "endpoint health": "",
    "endpoint status": "",
    "endpoint hashkv": "",
    "member list": "",
    "member add": "learner --learner --peer-urls=http://127.0.0.1:1",
    "member update": "{learner} --peer-urls=http://127.0.0.1:2",
    "member promote": "{learner}",
    "member remove": "{learner}",
    "move-leader": "{member}",
    "alarm list": "",
    "alarm disarm": "",
    "defrag": "",
    "snapshot save": "{folder}/snapshot.db",
    "snapshot status": "{folder}/snapshot.db",
    "snapshot restore": "{folder}/snapshot.db --data-dir {folder}/restored",
    "make-mirror": "--dest-insecure-transport=true",
    "check perf": "--help",
    "check datascale": "--help",
    "role add": "reader",
    "role list": "",
    "role grant-permission": "reader read a",
    "role get": "reader",
    "role revoke-permission": "reader a",
    "user add": "ann --no-password",
    "user list": "",
    "user grant-role": "ann reader",
    "user get": "ann",
    "user revoke-role": "ann reader",
    "user passwd": "ann --interactive=false",
    "user delete": "ann",
    "role delete": "reader",
    "auth status": "",
    "auth enable": "",
    "auth disable": "--user root:secret",
    "completion": "bash",
    "version": "",
}
# etcdctl's commands whose outcome above is a refusal, by etcd as by us: the words both say.
REFUSED = {
    "member promote": "can only promote a learner member which is in sync with leader",
    "move-leader": "bad leader transferee",
    "auth enable": "root user does not exist",
    "auth disable": "authentication is not enabled",
    "txn": "",
}
# Command → how ours differs from etcdctl's; why it is not there.
COMMAND_NOTES = {
    "check datascale": "measures etcd's memory per key through /metrics; `fluyt check perf` and scripts/bench are here",
    "snapshot restore": "fluyt's writes a data directory of ours, etcdctl's one of etcd's, from the same file",
}

# Path → method and body. Those of the JSON gateway are made from its table.
PATHS = {
    "/version": "",
    "/health": "",
    "/health?serializable=true": "",
    "/livez": "",
    "/readyz": "",
    "/metrics": "",
    "/debug/vars": "",
    "/debug/pprof/": "",
    "/v2/keys": "",
    "/v3/kv/put": '{"key":"YQ==","value":"MQ=="}',
    "/v3/kv/range": '{"key":"YQ=="}',
    "/v3/kv/deleterange": '{"key":"YQ=="}',
    "/v3/kv/txn": "{}",
    "/v3/kv/compaction": '{"revision":"1"}',
    "/v3/lease/grant": '{"TTL":"60","ID":"77"}',
    "/v3/lease/timetolive": '{"ID":"77"}',
    "/v3/lease/leases": "{}",
    "/v3/lease/keepalive": '{"ID":"77"}',
    "/v3/lease/revoke": '{"ID":"77"}',
    "/v3/cluster/member/list": "{}",
    "/v3/cluster/member/add": '{"peerURLs":["http://127.0.0.1:1"],"isLearner":true}',
    "/v3/cluster/member/update": '{"ID":"1","peerURLs":["http://127.0.0.1:1"]}',
    "/v3/cluster/member/promote": '{"ID":"1"}',
    "/v3/cluster/member/remove": '{"ID":"1"}',
    "/v3/maintenance/alarm": "{}",
    "/v3/maintenance/status": "{}",
    "/v3/maintenance/defragment": "{}",
    "/v3/maintenance/hash": "{}",
    "/v3/maintenance/snapshot": "{}",
    "/v3/maintenance/transfer-leadership": '{"targetID":"1"}',
    "/v3/auth/status": "{}",
    "/v3/auth/enable": "{}",
    "/v3/auth/disable": "{}",
    "/v3/auth/authenticate": '{"name":"nobody","password":"x"}',
    "/v3/auth/user/add": '{"name":"ann","options":{"no_password":true}}',
    "/v3/auth/user/get": '{"name":"ann"}',
    "/v3/auth/user/list": "{}",
    "/v3/auth/role/add": '{"name":"reader"}',
    "/v3/auth/role/get": '{"role":"reader"}',
    "/v3/auth/role/list": "{}",
    "/v3/auth/role/grant": '{"name":"reader","perm":{"key":"YQ=="}}',
    "/v3/auth/user/grant": '{"user":"ann","role":"reader"}',
    "/v3/auth/user/revoke": '{"name":"ann","role":"reader"}',
    "/v3/auth/role/revoke": '{"role":"reader","key":"YQ=="}',
    "/v3/auth/user/changepw": '{"name":"ann","password":"x"}',
    "/v3/auth/user/delete": '{"name":"ann"}',
    "/v3/auth/role/delete": '{"role":"reader"}',
    "/v3/lock/lock": '{"name":"cHJpbnRlcg=="}',
    "/v3/lock/unlock": '{"key":"bm9uZQ=="}',
    "/v3/election/campaign": '{"name":"Ym9zcw==","value":"bWU="}',
    "/v3/election/leader": '{"name":"bm9ib2R5"}',
    "/v3/election/resign": "{}",
}
PATH_NOTES = {
    "/livez": "etcd has it from 3.5.11 on",
    "/readyz": "etcd has it from 3.5.11 on",
    "/debug/vars": "there is no Go runtime; /metrics has what it says",
    "/debug/pprof/": "there is no Go runtime; py-spy looks at a running member",
    "/v2/keys": "etcd's v2 API is gone, here as in etcd 3.6",
}
