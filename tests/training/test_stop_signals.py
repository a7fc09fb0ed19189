"""Signals: the first is a request, the second an end; the status says whether to continue."""

import os
import signal
import subprocess
import sys
import time

import pytest

from dailymae_hf.training.stop_signals import EXIT_PREEMPTED, StopSignals

RUN = """
import sys, time
from dailymae_hf.training.stop_signals import Preempted, StopSignals
print("ready", flush=True)
with StopSignals() as signals:
    print("listening", flush=True)
    while signals.requested is None:
        time.sleep(0.01)
    print(signals.requested, flush=True)
    time.sleep(float(sys.argv[1]))
raise Preempted("stopped")
"""


def started(seconds=0.0):
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "listening\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_is_a_request_and_the_status_says_continue_me(number):
    process = started()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (EXIT_PREEMPTED, f"{number.name}\n")
    assert "stopping after this step" in err
    assert "Traceback" not in err


def test_what_a_launcher_passes_on_at_once_is_the_same_request():
    process = started(1)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "SIGTERM\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == EXIT_PREEMPTED


def test_a_second_ctrl_c_ends_it_at_once():
    process = started(60)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "SIGINT\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert time.monotonic() - start < 20
    assert process.returncode not in (0, EXIT_PREEMPTED)


def test_a_second_signal_of_a_service_ends_it_at_once(monkeypatch):
    ended = []
    signals = StopSignals()
    with signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.requested == "SIGTERM"
        signals._since -= 6
        monkeypatch.setattr(os, "kill", lambda pid, number: ended.append(number))
        signals._heard(signal.SIGTERM, None)
    assert ended == [signal.SIGTERM]


def test_handlers_are_given_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == before
