"""Controllers: each a pure function from what is observed to what is to be done, and one shell that does it.

    reconcile(key, observed, now) -> Decision(actions, events, reads, requeue_after)

A reconciler knows no clock, no network and no chance. It may be called at any time, any number of times, with a view
that lags behind the store: what it decides must be right for the view it was given, and the shell sees to it that the
view has caught up with the reconciler's own writes before it is called for the same key again.

Source: the behaviour is that of Kubernetes' controllers as documented; design: docs/design/0016-controllers.md.
"""
