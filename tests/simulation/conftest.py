"""Assertions in the simulation's own modules show their values as those of tests do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("sim_checks", "sim_world")
