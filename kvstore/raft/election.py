"""Elections (Raft paper, 5.2 and 5.4.1), with pre-vote and leader stickiness (dissertation, 9.6 and 4.2.3).

Two things go beyond the paper, both only about pre-votes, which promise nothing, so neither can harm safety:

* A follower whose connection to its leader broke asks for pre-votes at once (peer_lost). Who still hears the leader
  ignores them, so one broken link disturbs nobody; when the leader died, everybody lost it and a new one is there
  within two round trips.
* Everybody notices such a death at the same moment. Members that campaign at the same moment would split the vote
  and lose a whole timeout, so for a heartbeat or two everybody has a favourite: the best candidate that has asked so
  far, by log and then by id, perhaps itself. It refuses pre-votes to worse ones, and steps back for a better one. The
  order is total, so the best of them gets everybody's. After that time whoever still has no leader lets others try:
  the favourite may not be able to hear the answers.

One more thing is about what a candidate may have forgotten. A commit index alone is not written to the log, so a
voter that starts again may no longer know that a change of membership was committed which had made others learners:
it asks them, they have more entries and refuse, and learners do not campaign. So who refuses says how far it knows
the log to be committed, index and term; the candidate, whose entry there is the same, knows it too from then on.

Who asks for a pre-vote has just lost its leader. If it did not answer our own request, because it still had one then,
it is asked again. And should all of this fail, whose leader's connection broke does not wait for a whole timeout: it
tries again after three heartbeats or four, then after six to eleven (`haste`), with pre-votes as ever.
"""

from __future__ import annotations

from kvstore.raft import membership, replication
from kvstore.raft.quorum import Vote
from kvstore.raft.state import HASTY_CAMPAIGNS, Raft
from kvstore.raft.types import EntryKind, HardState, Message, MessageKind, Role

# Context of a campaign that the leader itself asked for: it is not refused for the leader's sake.
TRANSFER = b"transfer"
# For so many heartbeats at most, and one less at least, the best candidate that has asked is everybody's favourite.
FAVOUR_HEARTBEATS = 2


def campaign(r: Raft, *, transfer: bool = False) -> bool:
    """Start a campaign. False if this member must not."""
    if r.role is Role.LEADER or not r.promotable or membership.unapplied_change(r):
        return False
    if r.config.pre_vote and not transfer:
        _pre_campaign(r)
    else:
        _real_campaign(r, TRANSFER if transfer else b"")
    return True


def _pre_campaign(r: Raft) -> None:
    r.become_pre_candidate()
    _favour(r, (r.log.last_term, r.log.last_index, r.id))
    for peer in _other_voters(r):
        _ask_pre_vote(r, peer)
    # A pre-vote promises nothing, so one's own counts without waiting for the disk.
    _poll(r, r.id, True)


def _ask_pre_vote(r: Raft, peer: int) -> None:
    log = r.log
    r.send(Message(MessageKind.PRE_VOTE, to=peer, term=r.term + 1, log_term=log.last_term, index=log.last_index))


def _real_campaign(r: Raft, context: bytes) -> None:
    r.become_candidate()
    for peer in _other_voters(r):
        _ask_vote(r, peer, context)


def _ask_vote(r: Raft, peer: int, context: bytes) -> None:
    log = r.log
    r.send(Message(MessageKind.VOTE, to=peer, log_term=log.last_term, index=log.last_index, context=context))


def _other_voters(r: Raft) -> list[int]:
    return [voter for voter in sorted(r.tracker.membership.all_voters) if voter != r.id]


def own_vote_saved(r: Raft, hard: HardState) -> None:
    """A candidate's term and vote are on disk: its vote for itself counts from now on."""
    if hard.term == r.term and hard.vote == r.id and r.id not in r.tracker.votes:
        _poll(r, r.id, True)


def on_vote_request(r: Raft, m: Message) -> None:
    """VOTE or PRE_VOTE in our term, or a PRE_VOTE for a later one."""
    pre = m.kind is MessageKind.PRE_VOTE
    free = r.vote == m.from_ or (r.vote == 0 and r.leader == 0) or (pre and m.term > r.term)
    if free and r.log.up_to_date(m.index, m.log_term) and not (pre and _better_is_there(r, m)):
        _grant(r, m)
        return
    _refuse(r, m)
    if pre:
        _ask_again(r, m)


def _better_is_there(r: Raft, m: Message) -> bool:
    """Whether a better candidate than the one that asks for a pre-vote has asked just now, or we are one ourselves."""
    known = m.term == r.term + 1 and m.from_ in r.tracker.membership.all_voters
    return known and r.favourite is not None and _rank(m) < r.favourite


def _rank(m: Message) -> tuple[int, int, int]:
    return m.log_term, m.index, m.from_


def _favour(r: Raft, rank: tuple[int, int, int]) -> None:
    r.favourite, r.favourite_ticks = rank, FAVOUR_HEARTBEATS * r.config.heartbeat_ticks


def forget_favourite(r: Raft) -> None:
    """A tick has passed: the favourite has had its time, sooner or later."""
    r.favourite_ticks -= 1
    if r.favourite_ticks <= 0:
        r.favourite = None


def _ask_again(r: Raft, m: Message) -> None:
    """Who asks for a pre-vote has no leader any more; when we asked it, it may still have had one."""
    if m.from_ in r.tracker.votes or m.from_ not in r.tracker.membership.all_voters:
        return
    if r.role is Role.PRE_CANDIDATE and m.term == r.term + 1:
        _ask_pre_vote(r, m.from_)
    elif r.role is Role.CANDIDATE and m.term == r.term:
        _ask_vote(r, m.from_, b"")


def _reply_kind(m: Message) -> MessageKind:
    return MessageKind.PRE_VOTE_REPLY if m.kind is MessageKind.PRE_VOTE else MessageKind.VOTE_REPLY


def _grant(r: Raft, m: Message) -> None:
    # A pre-vote is granted in the term it asks for, which may be ahead of ours.
    r.send(Message(_reply_kind(m), to=m.from_, term=m.term))
    if m.kind is MessageKind.VOTE:
        r.election_elapsed = 0
        r.vote = m.from_
    elif m.from_ in r.tracker.membership.all_voters:
        _favour(r, _rank(m))
        if r.role is Role.PRE_CANDIDATE:
            r.stand_back()


def _refuse(r: Raft, m: Message) -> None:
    known = r.log.committed
    r.send(Message(_reply_kind(m), to=m.from_, term=r.term, reject=True, commit=known, log_term=r.log.term(known)))


def on_vote_reply(r: Raft, m: Message) -> None:
    """An answer to the campaign under way; answers to another are ignored."""
    expected = MessageKind.PRE_VOTE_REPLY if r.role is Role.PRE_CANDIDATE else MessageKind.VOTE_REPLY
    if m.kind is not expected:
        return
    if m.reject and r.log.matches(m.commit, m.log_term):
        r.log.commit_to(m.commit)
    _poll(r, m.from_, not m.reject)


def _poll(r: Raft, voter: int, granted: bool) -> None:
    r.tracker.votes.setdefault(voter, granted)
    result = r.tracker.vote_result()
    if result is Vote.LOST:
        r.become_follower(r.term, 0)
    elif result is Vote.WON and r.role is Role.PRE_CANDIDATE:
        _real_campaign(r, b"")
    elif result is Vote.WON:
        become_leader(r)


def become_leader(r: Raft) -> None:
    """Lead the term, and begin it with an empty entry: that commits what earlier terms left (5.4.2)."""
    r.reset(r.term)
    r.role = Role.LEADER
    r.leader = r.id
    r.calm_down()
    own = r.tracker.progress[r.id]
    own.become_replicate()
    own.recent_active = True
    own.accepted(r.log.saved)
    # There may be a change of membership in the part of the log that is not applied yet; wait for all of it.
    r.pending_conf_index = r.log.last_index
    r.first_own = replication.append(r, EntryKind.NORMAL, b"")


def on_timeout_now(r: Raft) -> None:
    """The leader wants this member to take over: campaign now, or once the known changes of membership are applied."""
    if not campaign(r, transfer=True):
        r.campaign_postponed = r.promotable and r.role is not Role.LEADER


def on_peer_lost(r: Raft, peer: int) -> None:
    """The connection to a peer broke. If it was our leader, there is none now, and a voter asks for pre-votes."""
    if r.role is Role.LEADER:
        replication.on_unreachable(r, peer)
    elif r.config.pre_vote and peer == r.leader:
        r.leader = 0
        r.haste = HASTY_CAMPAIGNS
        campaign(r)
