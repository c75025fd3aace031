"""Container runtimes behind one interface (interface.py): process, docker, cri, simulated."""
