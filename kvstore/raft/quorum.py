"""Majorities, simple and joint (Raft dissertation, 4.3): what both halves of a joint configuration agree on.

An empty half agrees to everything, so a simple configuration is a joint one whose outgoing half is empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum


class Vote(Enum):
    """How a vote stands."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority_index(reached: Collection[int]) -> int | None:
    """The highest index that a majority has reached, of voters that have reached these; None if there are no voters."""
    return sorted(reached)[(len(reached) - 1) // 2] if reached else None


def joint_index(voters: Collection[int], outgoing: Collection[int]) -> int:
    """The highest index that a majority of each half has reached; 0 if there is no voter at all.

    voters, outgoing: what each of the half has reached.
    """
    if not outgoing:  # nearly always, after every answer
        return sorted(voters)[(len(voters) - 1) // 2] if voters else 0
    first, second = majority_index(voters), majority_index(outgoing)
    if first is None or second is None:
        return first or second or 0
    return min(first, second)


def majority_vote(voters: Collection[int], votes: Mapping[int, bool]) -> Vote:
    """How a vote among the voters stands; who is not in `votes` has not answered."""
    needed = len(voters) // 2 + 1
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if not voters or granted >= needed:
        return Vote.WON
    return Vote.LOST if len(voters) - refused < needed else Vote.PENDING


def joint_vote(voters: Collection[int], outgoing: Collection[int], votes: Mapping[int, bool]) -> Vote:
    """Won if both halves are won, lost as soon as one is."""
    both = (majority_vote(voters, votes), majority_vote(outgoing, votes))
    if Vote.LOST in both:
        return Vote.LOST
    return Vote.WON if both == (Vote.WON, Vote.WON) else Vote.PENDING
