"""A thousand tasks in an event loop, which wake each other."""

import asyncio

LOOP = asyncio.new_event_loop()


async def task(number: int) -> int:
    total = 0
    for _ in range(3):
        await asyncio.sleep(0)
        total += sum(range(number % 50))
    return total


async def all_tasks() -> int:
    return sum(await asyncio.gather(*(task(number) for number in range(1000))))


def work() -> None:
    LOOP.run_until_complete(all_tasks())
