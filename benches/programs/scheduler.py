"""Objects that hand packets to each other through queues: classes, methods and attributes."""

from collections import deque


class Packet:
    __slots__ = ("hops", "payload")

    def __init__(self, payload: int) -> None:
        self.payload = payload
        self.hops = 0


class Task:
    def __init__(self, name: str) -> None:
        self.name = name
        self.inbox: deque[Packet] = deque()
        self.handled = 0
        self.next: Task = self

    def receive(self, packet: Packet) -> None:
        self.inbox.append(packet)

    def step(self) -> bool:
        if not self.inbox:
            return False
        packet = self.inbox.popleft()
        self.handled += 1
        self.transform(packet)
        if packet.hops < 40:
            self.next.receive(packet)
        return True

    def transform(self, packet: Packet) -> None:
        packet.hops += 1


class Adder(Task):
    def transform(self, packet: Packet) -> None:
        super().transform(packet)
        packet.payload += 1


class Mixer(Task):
    def transform(self, packet: Packet) -> None:
        super().transform(packet)
        packet.payload = (packet.payload * 1_103_515_245 + 12_345) % 2_147_483_648


def work() -> None:
    tasks = [kind(f"task {number}") for number, kind in enumerate((Task, Adder, Mixer, Adder, Task))]
    for number, task in enumerate(tasks):
        task.next = tasks[(number + 1) % len(tasks)]
        task.receive(Packet(number))
        task.receive(Packet(number + 100))
    while sum(task.step() for task in tasks) > 0:
        pass
