"""The durable store: one SQLite file that holds tasks, items to sync and the history of usage.

``database`` opens the file and runs transactions; every other module holds the SQL of one subject.
Nothing here knows what a task does or when it may run.
"""
