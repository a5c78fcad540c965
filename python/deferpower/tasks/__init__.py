"""Durable background tasks: `BackgroundTaskManager` and what it gives back.

``manager`` is the face, ``queue`` holds tasks, ``worker`` decides which run next, ``runner`` runs
them, ``service`` is the quiet thread that waits.
"""
