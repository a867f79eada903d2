"""What people read, from the store and from trained models.

Each folder may use those before it: ``leaderboards``, ``exports`` to other programs, ``drawing``, trained ``models``
at work, the ``contents`` of a report, its ``figures``, and the ``page`` that shows both.
"""
