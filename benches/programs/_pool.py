"""Threads that live for the whole program and work when they are told to."""

import queue
import threading


def busy(rounds: int) -> int:
    total = 0
    for number in range(rounds):
        total += number * number
    return total


class Pool:
    """``workers`` threads that do a share of each ``work()``, and ``idlers`` that wait for ever."""

    def __init__(self, workers: int, idlers: int) -> None:
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._workers = workers
        self._forever = threading.Event()
        for _ in range(workers):
            threading.Thread(target=self._serve, daemon=True).start()
        self.idlers = [threading.Thread(target=self._forever.wait, daemon=True) for _ in range(idlers)]
        for idler in self.idlers:
            idler.start()

    def _serve(self) -> None:
        while True:
            self._done.put(busy(self._asked.get()))

    def work(self) -> None:
        for _ in range(self._workers):
            self._asked.put(80_000 // self._workers)
        for _ in range(self._workers):
            self._done.get()
