"""APScheduler, with its jobs in SQLite by way of SQLAlchemy."""

from __future__ import annotations

import datetime
import logging
import pickle
from pathlib import Path

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from benches.peers.contenders.contender import Contender
from benches.peers.contenders.functions import mark, nothing, tell_start


class Apscheduler(Contender):
    """Deletes a job as it hands it to its pool of threads."""

    def __init__(self, directory: Path, durability: str) -> None:
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self.store = SQLAlchemyJobStore(url=f"sqlite:///{directory / 'apscheduler.db'}")
        self.scheduler = BackgroundScheduler(
            jobstores={"default": self.store},
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"misfire_grace_time": None},  # else what is late is dropped
        )
        self.scheduler.start(paused=True)

    def submit(self, count: int) -> None:
        for number in range(count):
            self.scheduler.add_job(nothing, args=(number,))

    def submit_marks(self, path: str, count: int, takes_s: float) -> None:
        for number in range(count):
            self.scheduler.add_job(mark, args=(path, number, takes_s))

    def park(self, count: int) -> None:
        """By the rows that ``add_job`` would write, which one by one would take minutes."""
        when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
        job = self.scheduler.add_job(nothing, "date", run_date=when)
        state, due_s = pickle.dumps(job.__getstate__()), when.timestamp()
        table = self.store.jobs_t.name
        with self.store.engine.begin() as connection:
            connection.connection.cursor().executemany(
                f"INSERT INTO {table} (id, next_run_time, job_state) VALUES (?, ?, ?)",
                ((str(number), due_s, state) for number in range(count - 1)),
            )

    def tick(self) -> None:
        """What its thread does whenever it wakes up."""
        if self.scheduler.state != 1:
            self.scheduler.resume()
        assert self.scheduler._process_jobs() > 3600

    def listen(self) -> None:
        self.scheduler.resume()

    def post(self) -> None:
        self.scheduler.add_job(tell_start)

    def left(self) -> int:
        return len(self.scheduler.get_jobs())
