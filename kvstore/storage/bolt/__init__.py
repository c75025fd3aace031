"""bbolt files: the format of etcd's database and snapshots, written bottom-up and read with checks."""

from kvstore.storage.bolt.format import BoltDamaged
from kvstore.storage.bolt.reader import BoltFile
from kvstore.storage.bolt.writer import BoltWriter

__all__ = ["BoltDamaged", "BoltFile", "BoltWriter"]
