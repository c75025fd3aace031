"""Generated from proto/cri.proto by scripts/gen-proto."""
