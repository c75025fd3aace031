"""The segmented write-ahead log. format.py says what its bytes are, replay.py what is done with damaged ones."""

from kvstore.storage.log.log import Log

__all__ = ["Log"]
