"""Output for people: leaderboards, live progress, exports, predictions and the report of a study.

Folders and modules in order of imports: ``leaderboards``, ``live``, ``exports`` to other programs, predictions of
trained ``models``, the data of a report (``axes``, ``report_data``), its ``figures``, and the ``document`` in HTML or
Markdown.
"""
