"""Threads of numeric libraries: one a call in a service, as the user says in its jobs."""

from __future__ import annotations

import os

from search_api.threads import for_a_job, one_thread_each


def test_what_the_user_has_not_said_is_one(monkeypatch):
    before = {"OPENBLAS_NUM_THREADS": "3", "PATH": "/bin"}
    monkeypatch.setattr(os, "environ", dict(before))
    one_thread_each()
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    assert for_a_job(os.environ) == before


def test_an_environment_without_the_mark_stays():
    assert for_a_job({"OMP_NUM_THREADS": "2"}) == {"OMP_NUM_THREADS": "2"}
